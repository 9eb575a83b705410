"""TODO tests/web"""
