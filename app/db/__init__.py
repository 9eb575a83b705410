"""PostgreSQL: connections, statements, tables and migrations.

`engine` is what the rest of the service uses. Below it: `connect` makes connections, `primary` finds the server that
takes changes, `pool` leases them (`pooled_connection`: one of them and its prepared statements; `waiters`: the tasks
that wait for one), `owner_queue` limits the statements of one owner, `transaction` runs several in one transaction,
`group_commit` sends concurrent changes in one transaction, and `readiness` asks whether the server is there.
`statements` compiles SQL once.

`tables` has the Piccolo tables, `history_tables` those of the histories of lists and labels, and `user_table` what is
special about the table of users; `piccolo_engine` runs Piccolo's own queries, for the admin and migrations, and
`piccolo_app` is for Piccolo's commands. `migrations` knows which migrations are missing, and `migrator` applies them;
`roles` declares the rights of the service's roles.
`search_path` is where names are looked up (DATABASE_SCHEMA), and `occupied` finds tables of ours that somebody else has
made. `embedded` is the PostgreSQL that starts without a DATABASE_URL (`server_user`: its programs, and the system user
that it runs as). `errors` has what is raised where a database cannot be used, and explains why.
"""
