"""TODO tests/admin"""
