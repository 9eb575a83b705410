"""Many changes in one request, all or none: `operations`, `reading` them, a `run` of them, and their `answers`.

`waves` says which operations are done together; `task_changes` does those on tasks with a few `queries`, and `alone`
all others, each by itself: those `on_lists` and `on_labels`. All of it is in one `transaction`. `options` says whether
it is a dry run, and how the answer looks; `by_uid` puts ids in place of UUIDs; `in_lists` looks at the lists that tasks
are put into, and `labels` finds an operation with one too many.
"""
