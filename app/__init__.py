"""The Tasks API: every user's own tasks, over REST, kept in PostgreSQL.

A request meets the files in this order, and its answer goes back the same way:

    edge/protocol      bytes on a socket: deadlines (edge/clock), sizes (edge/head), one way to read it (edge/framing),
                       and an answer to what is none of it (edge/refusal); how it ends (edge/ending); and how many
                       bytes of answers are under way (edge/budget)
    edge/cycle         a request and its answer, as ASGI sees them
    edge/ring          request id, CORS, HEAD, the log line          (edge/headers: what every answer carries;
                       edge/served: who else is told)
    auth/middleware    Authorization header -> request.user
    auth/authenticator whose token it is: from memory, by its signature (auth/tokens, auth/keys) or from the
                       database (auth/queries, auth/opaque)
    limits             how many requests are left for the user, or for an address (addresses) where none is known
    bodies             bytes of a body -> a struct                   (integers: 7.0 is 7)
    tasks/structs      what came in, validated; what goes out
    tasks/conditions   If-Match, If-None-Match, and entity tags      (tasks/versions, tasks/failures)
    tasks/keys         Idempotency-Key: which requests are one       (tasks/once: and its change is made once;
                       tasks/states: what it has led to)
    tasks/controller   HTTP verb -> one query -> one envelope        (handlers: how Litestar calls it, and answers)
    tasks/queries      the owner's rows and no others                (tables, statements, database)
    tasks/kept_descriptions    changes beside a description that is longer than a new one may be
    tasks/operations   many changes in one body, validated
    tasks/batch        all of them or none, by a few statements      (tasks/bulk, steps; tasks/batch_answers)
    tasks/pages        lists of them, whole, in pages or streamed    (tasks/parameters: which; cursors: where one
                       goes on; tasks/remembered: what need not be read again)
    tasks/listing      the statements of lists                       (tasks/bounded: up to how many bytes;
                       tasks/search_queries: words, titles)
    tasks/indexing     their words (tasks/words) and the order of their titles (tasks/titles), worked out behind the
                       requests                                      (tasks/index_queries; tasks/folding: letters)
    tasks/costs        what a request costs beyond the 1 that it is counted as
    envelopes          {"data": ...}

and whatever any of them raises (`failures`) becomes {"error": ...} in `errors`, the one place that does so.

In the same room `tasks/trash` has what was deleted (`tasks/trash_list`: as a list), and `tasks/history` tells what each
change of a task was, as `tasks/changes` reads it out of the states.

For people without an auth server there is another room beside tasks/:

    accounts/controller        sign up, log in, refresh, log out, leave
    accounts/access            look at one's logins and personal access tokens, and end them (accounts/paging: in pages)
    accounts/proof             is it really them? (accounts/passwords, accounts/limits, accounts/device_tokens)
    accounts/logins, accounts/personal_tokens, accounts/queries    what the database is asked
    accounts/structs, accounts/emails, accounts/failures           what came in, validated; what goes out

`owners` adds the row of a user whom only a token has named so far, and `user_table` knows whose the table of users is.
`texts` says what may be typed in, `query` what may be asked in a query string; `normalization` has Unicode's normal
forms.

Around them: `main` puts the parts together, and `server` starts them, as several `workers` if asked to; `leaving` knows
when they stop. `settings` reads the environment (`environment`: and `.env`), with `variables` for the single value and
`issuers` for those whose tokens are believed.
`database` is the database as the rest sees it (`as_staff`: as Piccolo does): `pool` makes its connections, `primary`
finds the server that takes changes, `search_path` the schema of DATABASE_SCHEMA, `lanes` hands connections out,
`steps` for whole transactions, `owner_queue` lets each owner have two statements in flight, `groups` sends changes
together that come at once, `pulse` asks whether it is there, `embedded` is the PostgreSQL that starts when no
DATABASE_URL is given (`server_user`: as whom), `connection_errors` says which database is used, or why it cannot be,
`migrations` knows whether the tables are there (`occupied`: or somebody else's), `upkeep` removes what is over, by
the steps of `removal`, and `piccolo_app` tells Piccolo's commands which tables are ours.
`admin` (with `staff`, who may log in to it, `admin_house`, which builds it, `admin_views`, `admin_tables`,
`admin_staff` and `admin_rows`, what they see there, `admin_failures`, how it refuses, and `admin_page`, what runs in
their browsers), `docs` (with `openapi` and its `schemas`, `wording` and `examples`) and `health` (with `home_page`) are
the other things served,
`logs` is how the service talks, and `__main__` is what the `just` recipes call. For those who watch it there are
`metrics`, which each worker counts and `exposition` shows on a port of its own, and `tracing`.
Migrating is done by `migrator`, a process of its own, which sees to what the `roles` of the service may do.
"""

__version__ = "0.1.0"
