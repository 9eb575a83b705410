"""HTTP/1.1 on a socket, as a protocol for uvicorn.

`connection` is one client's, and answers 408 when a head or a body is late. It has a `deadline`, a `flow_control` and
a `reader`, which reads each request's `head` and body within the sizes of a message and in one unambiguous `framing`.
`exchange` is one request and its response, as ASGI sees them; `refusal` answers what is not valid; and `limits` has
all deadlines and sizes.
"""
