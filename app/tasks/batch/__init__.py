"""Many changes in one request, all or none: `operations` validated, `run` with a few `queries`, and their `answers`.

`options` says whether it is a dry run, and how the answer looks; `by_uid` puts ids in place of UUIDs; `in_lists` looks
at the lists that tasks are put into, and `labels` finds an operation with one too many.
"""
