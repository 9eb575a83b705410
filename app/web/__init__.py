"""HTTP above the socket, and below any subject: what every route has in common.

A request passes `middleware` (request id, CORS, HEAD and OPTIONS, the log line) and `routing` (fast handlers;
`handler_options` has which of Litestar's options they honour). `application` is Litestar's own, and `access` knows
which paths need a token; names at the end of a path may have `escaped_slashes`.
`body` has the guards of a body's headers, and decodes it; `query` makes a struct of the
query string and refuses unknown names; both use `text`, `normalization` and `integers`. `idempotency_key` reads the
header of a request that may be sent again.

An answer is wrapped by `envelopes` and has the `headers` of every answer; a handler adds its own by
`routing.JSONResponse`. `failures` are the errors that a client may see. `errors` says which of them an exception is
(a database in trouble: 503; an unknown one: 500) and makes its response. `rate_limit` counts requests (`addresses`:
by network), `response_budget` the bytes of answers under way; `cursors` seals the place of a page and links to the
next.
"""
