"""The Tasks API: every user's own tasks, over REST, kept in PostgreSQL.

A request meets the files in this order, each of them once:

    edge/protocol      bytes on a socket: deadlines, sizes, one Host
    edge/ring          request id, headers of every answer, CORS, the log line
    auth/middleware    Authorization header -> request.user      (auth/tokens reads the token)
    tasks/controller   HTTP verb -> one query -> one envelope
    tasks/structs      what came in, validated; what goes out
    tasks/queries      the owner's rows and no others            (tables, database)
    envelopes          {"data": ...}

and whatever any of them raises becomes {"error": ...} in `errors`, the one place that does so.

Around them: `main` puts the parts together, `settings` reads the environment, `database` keeps the
connections, `embedded` is the PostgreSQL that starts when no DATABASE_URL is given, `migrations` knows
whether the tables are there, `admin`, `docs` and `health` are the other things served, `logs` is how
the service talks, and `__main__` is what the `just` recipes call.
"""

__version__ = "0.1.0"
