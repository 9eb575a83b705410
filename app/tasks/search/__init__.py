"""Search by words and sorting by title.

`indexing` keeps the two indexes of an owner's tasks up to date (`index_queries`: its SQL): `words` and `titles`, of
text that is `folding`-ed by Unicode's properties. `queries` asks them.
"""
