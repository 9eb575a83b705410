"""What the OpenAPI document tells of the routes of accounts: their failures, path parameters, headers and links."""

from app.accounts.failures import InvalidCredentials, NotForScripts
from app.auth import lockout
from app.openapi.described import IDEMPOTENT_REPLAYED, LINK, Described, links
from app.web.failures import Invalid, PayloadTooLarge, TooManyRequests

MAX_ACCOUNT_BODY_BYTES = 16 * 1024

# Failures of every route, beside those of a body and of a token.
TOO_LARGE = PayloadTooLarge(MAX_ACCOUNT_BODY_BYTES)
LOGIN = (400, TOO_LARGE, 415, 503)
MANAGE = (401, NotForScripts, TOO_LARGE, 415, 429, 503)
LOCKED = TooManyRequests(900, lockout.TOO_MANY)
WITH_PASSWORD = (400, 401, InvalidCredentials, NotForScripts, TOO_LARGE, 415, LOCKED, 503)
INVALID_EMAIL = Invalid("email", "Email is not a valid address")

SESSION_ID_IN_PATH = {"session_id": {"description": "The session's `id`.", "example": "Zk3v8wXq1mYt5RbL"}}
TOKEN_ID_IN_PATH = {"token_id": {"description": "The token's `id`.", "example": "Zk3v8wXq1mYt5RbL"}}
PAGED = Described(LINK)
CREATED_TOKEN = Described(IDEMPOTENT_REPLAYED, links("deleteToken", by="token_id", source="$response.body#/data/id"))
