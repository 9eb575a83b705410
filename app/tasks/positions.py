"""Positions: texts that sort bytewise, with room for another between any two, as npm's `fractional-indexing` has them.

A position is an integer, whose first letter tells how many digits it has, and digits behind the point, all in base 62.
An object without a position of its own has one that is derived from its id: so a new one comes behind all others, and
no row has to be read or stored for it.
"""

from app.web.failures import Invalid

BASE_62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MAX_POSITION_LENGTH = 255  # characters
SMALLEST = "A" + "0" * 26  # an integer that is no position: nothing could come before it
HEX_DIGITS = 14  # of an id below 2^53
DERIVED_HEAD = "p"  # of an integer with so many digits, and two for those that clients and moves put behind it
DERIVED_TAIL = "00"
MAX_DERIVED = 16**HEX_DIGITS - 1
NOT_A_POSITION = "Position must be an order key of up to 255 characters, as npm's fractional-indexing makes them"


def derived_position(number: int) -> str:
    """Return the position of an object that has none of its own, by its id."""
    return f"{DERIVED_HEAD}{number:0{HEX_DIGITS}x}{DERIVED_TAIL}"


def position_sql(row: str) -> str:
    """Return the SQL of the position of a row of this table, with the columns `id` and `position`."""
    digits = f"""lpad(to_hex("{row}"."id"), {HEX_DIGITS}, '0')"""
    return f"""coalesce("{row}"."position", '{DERIVED_HEAD}' || {digits} || '{DERIVED_TAIL}')"""


def last_id_at(position: str) -> int:
    """Return the highest id whose derived position is not behind this one; 0 where there is none."""
    if position[:1] != DERIVED_HEAD:
        return MAX_DERIVED if position > DERIVED_HEAD else 0
    digits = position[1 : 1 + HEX_DIGITS].ljust(HEX_DIGITS, "0")
    for place, digit in enumerate(digits):
        if digit not in "0123456789abcdef":
            below = max(each for each in "0123456789abcdef" if each < digit)
            return int(digits[:place] + below + "f" * (HEX_DIGITS - place - 1), 16)
    return int(digits, 16)


def is_position(text: str) -> bool:
    """Tell whether npm's `validateOrderKey` takes it, and it is in the alphabet and no longer than 255 characters."""
    if not text.isascii() or not text.isalnum() or not text[0].isalpha() or len(text) > MAX_POSITION_LENGTH:
        return False
    length = _integer_length(text[0])
    return text != SMALLEST and len(text) >= length and not text[length:].endswith("0")


def checked_position(position: str | None) -> str | None:
    """Return the position; None is the derived one. Raises Invalid."""
    if position is not None and not is_position(position):
        raise Invalid("position", NOT_A_POSITION)
    return position


def position_between(after: str | None, before: str | None) -> str:
    """Return a position behind one and before another: npm's `generateKeyBetween`. None is without an end.

    Raises ValueError where the first is not before the second. The result can be longer than 255 characters.
    """
    if after is not None and before is not None and after >= before:
        raise ValueError(f"{after} is not before {before}")
    if after is None:
        return _before(before) if before is not None else "a0"
    integer, fraction = _parts(after)
    if before is not None and before.startswith(integer):
        return integer + _midpoint(fraction, _parts(before)[1])
    following = _incremented(integer)
    if following is None or (before is not None and following >= before):
        return integer + _midpoint(fraction, None)
    return following


def positions_between(after: str | None, before: str | None, count: int) -> list[str]:
    """Return so many positions in order, as short as can be: npm's `generateNKeysBetween`. Raises ValueError."""
    if count == 0:
        return []
    if before is None or after is None:
        found: list[str] = []
        for _ in range(count):
            made = position_between(after, before)
            found.append(made)
            after, before = (made, None) if before is None else (None, made)
        return found if before is None else found[::-1]
    half, middle = count // 2, position_between(after, before)
    left = positions_between(after, middle, half)
    return [*left, middle, *positions_between(middle, before, count - half - 1)]


def _before(position: str) -> str:
    integer, fraction = _parts(position)
    if integer == SMALLEST:
        return integer + _midpoint("", fraction)
    if fraction:
        return integer
    smaller = _decremented(integer)
    return smaller + _midpoint("", None) if smaller == SMALLEST else smaller


def _integer_length(head: str) -> int:
    return ord(head) - ord("a") + 2 if head >= "a" else ord("Z") - ord(head) + 2


def _parts(position: str) -> tuple[str, str]:
    length = _integer_length(position[0])
    return position[:length], position[length:]


def _midpoint(low: str, high: str | None) -> str:
    """Return the digits behind the point of a number between two, which end in no zero; None is 1."""
    if high is not None:
        same = 0
        while (low[same] if same < len(low) else "0") == high[same]:
            same += 1
        if same:
            return high[:same] + _midpoint(low[same:], high[same:])
    first = BASE_62.index(low[0]) if low else 0
    last = BASE_62.index(high[0]) if high is not None else len(BASE_62)
    if last - first > 1:
        return BASE_62[(first + last + 1) // 2]
    if high is not None and len(high) > 1:
        return high[0]
    return BASE_62[first] + _midpoint(low[1:], None)


def _incremented(integer: str) -> str | None:
    """Return the next integer; None where there is none."""
    digits = integer[1:].rstrip("z")
    zeros = "0" * (len(integer) - 1 - len(digits))
    if digits:
        return integer[0] + digits[:-1] + BASE_62[BASE_62.index(digits[-1]) + 1] + zeros
    if integer[0] == "z":
        return None
    head = "a" if integer[0] == "Z" else chr(ord(integer[0]) + 1)
    return head + "0" * (_integer_length(head) - 1)


def _decremented(integer: str) -> str:
    """Return the integer before one that is not the smallest."""
    digits = integer[1:].rstrip("0")
    if digits:
        rest = "z" * (len(integer) - 1 - len(digits))
        return integer[0] + digits[:-1] + BASE_62[BASE_62.index(digits[-1]) - 1] + rest
    head = "Z" if integer[0] == "a" else chr(ord(integer[0]) - 1)
    return head + "z" * (_integer_length(head) - 1)
