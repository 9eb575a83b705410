"""TODO tests/tasks/listing"""
