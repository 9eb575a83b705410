"""Colors of lists and labels: `#rrggbb`, in lower case."""

import re

from app.web.failures import Invalid

COLOR_PATTERN = "^#[0-9A-Fa-f]{6}$"
COLOR = re.compile(COLOR_PATTERN)


def checked_color(color: str) -> str:
    """Return the color. Raises Invalid."""
    if not COLOR.fullmatch(color):
        raise Invalid("color", "Color must be #rrggbb, such as #1e90ff")
    return color.lower()
