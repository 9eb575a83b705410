"""The server process: `serve` starts it, and `workers` starts, watches and replaces several. `http1` is the
protocol.
"""
