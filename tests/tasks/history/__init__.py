"""TODO tests/tasks/history"""
