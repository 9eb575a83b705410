"""Authentication: a bearer token in, a user out.

`middleware` is the only reader of the Authorization header. `authenticator` verifies the token: by signature (`jwt`,
`jwks`), or in the database (`opaque_tokens`, `queries`). `provisioning` adds the row of a user whom only a token has
named so far, and `idempotency` makes a transaction once for its key. `passwords` hashes them, and `lockout` limits
failed attempts, for accounts and for staff.
"""
