"""Accounts, for people without an auth server.

`controller` signs up, logs in, refreshes, logs out and deletes accounts; `sessions_controller` lists and ends
`sessions` and `personal_tokens` (`paging`: in pages). `reauthentication` asks for the password again; `device_tokens`
lets a known device log in while others guess. `queries` has the SQL, `structs` and `emails` what comes in and goes
out, `failures` what can go wrong, and `described` what the OpenAPI document tells of it.
"""
