"""The history of a task: `controller` has the routes, `queries` the SQL, and `diff` tells two states apart."""
