"""Lists of tasks: `parameters` of a request, `filters` (one by `labels`) among them, the `queries` they lead to,
`pages` of the answer, and a `cache` of whole lists.
"""
