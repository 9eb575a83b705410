"""The configuration: read once, checked, and the same for the life of a process.

`variables` declares every setting with its default, and `settings` reads them: `parsing` the text of one variable,
`dotenv` the file `.env`, `issuers` the list of issuers whose tokens are accepted, and `jwt_secrets` our own secrets.
"""
