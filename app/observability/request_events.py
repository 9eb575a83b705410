"""Events of requests, one for each response, for metrics and traces where they are wanted."""

from collections.abc import Callable

from app.observability import logs

# Takes the method, the route's template, the status and the seconds.
Listener = Callable[[str, str | None, int, float], None]

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "_OTHER"  # OpenTelemetry's word for an unknown method

listeners: list[Listener] = []


def emit(method: str, route: str | None, status: int, seconds: float) -> None:
    """Call all listeners. Methods and routes are few, whatever a caller sends."""
    known = method if method in METHODS else OTHER
    for listener in listeners:
        listener(known, route, status, seconds)


def emit_refused(identifier: str, status: int) -> None:
    """Call all listeners, and log, for a request that was refused before its method and route were known."""
    logs.request_refused(identifier, status)
    emit(OTHER, None, status, 0)
