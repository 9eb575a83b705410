"""TODO tests/db"""
