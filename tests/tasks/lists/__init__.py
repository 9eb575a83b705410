"""Lists of tasks, and tasks in lists."""
