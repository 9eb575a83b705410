"""Lists of tasks: `controller` has the routes and `routes` what they share, `structs` the JSON, `queries` the SQL.

`changes` makes each change in one transaction, `moving` takes the tasks of a list along, and `purging` removes lists
for good. `history` tells what was done to a list. `failures` has what can go wrong, and `described` what the OpenAPI
document tells of it.
"""
