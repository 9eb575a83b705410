"""TODO tests/openapi"""
