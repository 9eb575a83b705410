"""TODO tests/tasks/batch"""
