"""What the admin refuses in its own way, in our envelope: the page goes on reading Piccolo's keys beside it.

Piccolo answers with a text, `{"error": "…"}`, `{"detail": …}` or `{"db_error": …}`.
"""

import re
from contextlib import suppress
from typing import Any

import msgspec

from app.web.envelopes import Error, ErrorBody, FieldError, encode
from app.web.failures import BadRequest, Failure, Forbidden, Invalid, MethodNotAllowed, NotFound, Unauthorized

NO_LOGIN = "This needs a login of staff."
CANNOT_BE_TAKEN = "One of the values cannot be taken"
FAILURE_OF: dict[int, Failure] = {
    failure.status: failure
    for failure in (Unauthorized(), Forbidden(), NotFound(), MethodNotAllowed(set()), Invalid("value", CANNOT_BE_TAKEN))
}
# What the database says, where it speaks English.
REFUSALS = {
    "unique constraint": "Another row has one of these values already",
    "foreign key constraint": "There is no such user",
    "not-null constraint": "A value is missing",
}
# Pydantic's text: the field, and what is wrong with it, each on a line.
OF_FIELD = re.compile(r"^(\w+)\n  (.+?)(?: \[type=.*)?$", re.MULTILINE)
MAX_TEXT = 200  # characters of a text of Piccolo's that is shown to people


def enveloped(status: int, body: bytes) -> bytes:
    """Return the body of a failure, with `error` as all have it. Raises Invalid for a text of the database's."""
    try:
        told = msgspec.json.decode(body)
    except ValueError:
        told = {"detail": body.decode(errors="replace")} if body else {}
    kept = msgspec.convert(told if isinstance(told, dict) else {"detail": told}, dict[str, Any])
    if "db_error" in kept:
        raise Invalid("value", _of_database(f"{kept['db_error']}"))
    failure = FAILURE_OF.get(status, BadRequest())
    field, message = _sentence(kept.get("detail"))
    message = message or (NO_LOGIN if status == 401 else failure.message)
    error = Error(failure.code, message)
    if status == Invalid.status:
        error = msgspec.structs.replace(error, fields=[FieldError(field, message)])
    return encode({**kept, **msgspec.to_builtins(ErrorBody(error))})


def _of_database(text: str) -> str:
    """Return a sentence for what the database says, which is none for people."""
    return next((sentence for constraint, sentence in REFUSALS.items() if constraint in text), CANNOT_BE_TAKEN)


def _sentence(detail: Any) -> tuple[str, str]:
    """Return which field a refusal is about, and what it says to people; nothing, where that is none for them."""
    with suppress(msgspec.ValidationError):  # FastAPI's is a list
        if found := msgspec.convert(detail, list[dict[str, Any]]):
            field = f"{(found[0].get('loc') or ['value'])[-1]}"
            return field, f"{field}: {found[0].get('msg', CANNOT_BE_TAKEN)}"
    text = detail if isinstance(detail, str) else ""
    if found := OF_FIELD.search(text):
        return found[1], f"{found[1]}: {found[2]}"
    return "value", text if 0 < len(text) <= MAX_TEXT and "\n" not in text else ""
