"""Deleted tasks: `controller` has the routes, `queries` the SQL."""
