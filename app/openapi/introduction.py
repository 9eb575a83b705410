"""What the document says of all requests, and the failures that nearly every one of them can end with."""

from app.web import failures as known
from app.web.failures import Failure

# The page tells them once.
COMMON_FAILURES: tuple[Failure, ...] = (
    known.NotJSON(),
    known.RequestTimeout(),
    known.PayloadTooLarge(),
    known.UnsupportedMediaType(),
    known.TooManyRequests.example(),
    known.HeadersTooLarge(),
    Failure(),
    known.Unavailable(),
)
ROWS = "\n".join(f"| {failure.status} | `{failure.code}` | {failure.message} |" for failure in COMMON_FAILURES)
DESCRIPTION = f"""\
Every user's own tasks. Everything under `/api/tasks` and `/api/trash` needs a token, and is 401 without one. Sign up
or log in below, if there are accounts here, and this page takes the token over. Or press **Authorize** and paste one:
`just token ada` prints one, and so does your auth server.

<details><summary>What all requests have in common, and the failures that nearly every one can end with</summary>

A success is `{{"data": …}}`, a failure `{{"error": {{"code", "message"}}}}`. `code` is for programs and never changes,
`message` is for people.

A path that is not here is 404. A method that is not here is 405, and `Allow` lists those that are. `HEAD` works
wherever `GET` does. Paths may end in a slash.

A task has a `version`, which is its `ETag` too. A change with `If-Match` is made to that version or not at all, and
with `If-None-Match` what is known already is an empty 304. A change with an `Idempotency-Key` may be sent again until
there is an answer, and is made once.

Every answer carries `X-Request-ID`, `X-Content-Type-Options: nosniff` and `Cache-Control`, which is `no-store`, or
`private, no-cache` where there is an `ETag` (both in a path with a label or a chosen `uid`). Where there is a
rate limit, `RateLimit` tells how much of it is left: for the user, or for your address where a token names none. A
request counts as 1; a batch as 1 for each 10 operations, a list without `limit` as 1 more for each 1,000 tasks, one
that counts, filters or sorts many tasks as 1 more for each 5,000, a search as 1 more for each 2,500 that it finds.

Nearly every request can end with one of these:

| status | code | message |
|---|---|---|
{ROWS}

</details>"""
