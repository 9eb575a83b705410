"""TODO tests/tasks/trash"""
