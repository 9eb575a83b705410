"""Integers in bodies: JSON has one type of numbers, so 7.0 is the integer 7 (RFC 8259, section 6)."""

from typing import Any

import msgspec

from app.failures import NotJSON

MISFIT = "Expected `int`, got `float`"


def with_integers(body: bytes, kind: Any, misfit: msgspec.ValidationError) -> Any:
    """Return the `kind` that a body is, which was not taken for `misfit`, with 7.0 read as 7.

    Only the fields of the body itself are read so. Raises `misfit` if it is about something else, ValidationError if
    another one is left, and NotJSON where what follows is not JSON, or a number is past every range: msgspec stops at
    the first misfit.
    """
    try:
        fields = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise NotJSON from error
    if not isinstance(fields, dict) or not str(misfit).startswith(MISFIT):
        raise misfit
    return msgspec.convert({name: _integer(value) for name, value in fields.items()}, kind)


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
