"""The history of a task: `controller` has the routes, `queries` the SQL, and `diff` tells two states apart.

`parameters` says which changes are asked for. `kept` reads the states of a list or a label, and tells what led to each.
"""
