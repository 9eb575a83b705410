"""Labels of an owner, and of a task: `controller` has the routes, `paths` the names in them, `structs` the JSON.

`queries` lists labels, and changes one with all tasks that have it; `of_task` adds one to a task, or takes it away.
"""
