"""TODO tests/config"""
