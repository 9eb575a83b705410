"""What can people do with their tasks?"""
