"""Who is told of each answer, besides the log: nobody, unless metrics or traces are wanted."""

from collections.abc import Callable

from app import logs

# Takes the method, the route's template, the status and the seconds.
Listener = Callable[[str, str | None, int, float], None]

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "_OTHER"  # as OpenTelemetry calls a method that nobody knows

listeners: list[Listener] = []


def tell(method: str, route: str | None, status: int, seconds: float) -> None:
    """Tell all who listen. Methods and routes are few, whatever a caller sends."""
    known = method if method in METHODS else OTHER
    for listener in listeners:
        listener(known, route, status, seconds)


def refused(identifier: str, status: int) -> None:
    """Tell all who listen, the log included, of what was refused before it was known what it asks for."""
    logs.request_refused(identifier, status)
    tell(OTHER, None, status, 0)
