"""Tasks: what their owners can do with them.

`fields` declares what a client can set (each a `field`), `checks`, `extra` and `label_names` have its rules, and
`zones` the time zones; `columns` holds staff to them. `bodies` are as SQL reads them; `revisions` is how a change
raises its owner's. `controller` has the routes, `queries` the SQL and `structs` the JSON of one task, and `routes`
what all controllers share. `creation` stores new tasks; `uids` are the UUIDs of tasks, and `by_uid` finds the tasks
that have them. `in_list` puts tasks into lists, `colors` are those of lists and labels, and `positions` say in which
order clients have put things. A `change` says whose it is, for which versions, and under which key; `idempotency`
makes it once for its key. `etags` has conditional requests, `keyset` the pages and streams of lists. `past_versions`
reads tasks as they were, `costs` says what a request is charged, `bounded` ends rows by bytes, `failures` has what can
go wrong, and `described` what the OpenAPI document tells of it. `cleanup` removes expired rows in the background (the
trash after `TRASH_DAYS`), by the statements of `removal`.

`MAX_TASKS` is held where a revision is raised (`revisions`, `batch/queries`) and, for an owner's first task, by the
trigger function `tasks_begin`.
"""
