"""TODO tests/tasks/search"""
