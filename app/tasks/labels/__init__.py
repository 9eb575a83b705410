"""Labels of an owner, and of a task: `controller` has the routes, `paths` the names in them, `structs` the JSON.

`queries` lists labels, and changes one with all tasks that have it; `one` reads one, and `history` tells what was done
to it. `of_task` adds one to a task, or takes it away. `failures` has what can go wrong.
"""
