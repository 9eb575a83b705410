"""Numbers in bodies: JSON has one type of them, so 7.0 is the integer 7 (RFC 8259, section 6)."""

import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, cast

import msgspec

from app.web.failures import NotJSON

# What msgspec says of a number with a point where an integer belongs, which may be in objects within objects.
MISFIT = re.compile(r"Expected `int[^`]*`, got `(?:float|decimal)` - at `\$\.([^`\[]+)`")


def number(text: str) -> Decimal:
    """Return a number with a point or an exponent, of which no digit is lost. Raises NotJSON past every range."""
    if math.isinf(float(text)):
        raise NotJSON
    try:
        return Decimal(text)
    except InvalidOperation as error:  # nearer to 0 than any
        raise NotJSON from error


@cache
def decoder(kind: Any) -> Callable[[bytes | msgspec.Raw], Any]:
    """Return what decodes a kind from JSON. A number with a point that has no type keeps its digits."""
    return msgspec.json.Decoder(kind, float_hook=number).decode


def with_integers(body: bytes | msgspec.Raw, kind: Any, misfit: msgspec.ValidationError) -> Any:
    """Return the `kind` that a body is, which was not taken for `misfit`, with 7.0 read as 7 where it wants integers.

    Raises the misfit that is left, if it is about something else, and NotJSON where what follows is not JSON, or a
    number is past every range: msgspec stops at the first misfit.
    """
    try:
        fields = decoder(Any)(body)
    except msgspec.DecodeError as error:
        raise NotJSON from error
    while match := MISFIT.fullmatch(str(misfit)):
        *path, name = match[1].split(".")
        within = fields
        for each in path:
            within = within[each]
        value = cast("dict[str, Any]", within).get(name)
        if not isinstance(value, Decimal) or value != value.to_integral_value():
            break
        within[name] = int(value)
        try:
            return msgspec.convert(fields, kind)
        except msgspec.ValidationError as error:
            misfit = error
    raise misfit
