"""TODO tests/observability"""
