"""The Tasks API: every user's own tasks, over REST, kept in PostgreSQL.

`main` puts the parts together, and `__main__` is what the `just` recipes call. `docs/architecture.md` has the
picture: the packages, which of them may import which, and the way of a request. Each package's docstring says what
its modules do.
"""

__version__ = "0.1.0"
