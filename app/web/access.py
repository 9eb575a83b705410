"""Which paths need a token, as their handlers declare it; a handler that declares nothing is not registered.

`needs_token` in the `opt` of a handler, or of a layer around it, is True or False, and the closest declaration counts.
A layer that declares True protects its path and every path below it, also where there is no route: a caller without a
token learns nothing of routes and methods there. A handler that declares True protects its own path in the same way.
One that declares False opens exactly its path.

`needs_accounts` says that the path exists only where people can have accounts, `rate_limited` that requests to an open
path are counted by the caller's address.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from litestar.exceptions import ImproperlyConfiguredException
from litestar.handlers import ASGIRouteHandler
from litestar.plugins import ReceiveRoutePlugin
from litestar.routes import ASGIRoute, BaseRoute, HTTPRoute, WebSocketRoute
from litestar.utils.path import join_paths

Declared: TypeAlias = Mapping[str, Any]
Handler: TypeAlias = Any  # Litestar's, of any kind

NEEDS_TOKEN = "needs_token"  # noqa: S105 # the name of an option


class Access(ReceiveRoutePlugin):
    """The declarations of all routes of an application."""

    def __init__(self) -> None:
        self._open: dict[str, Declared] = {}  # by path
        self._open_below: list[str] = []  # paths of routes that lead to more than one path
        self._protected: list[tuple[str, Declared]] = []  # each path with all below it: a group of the pattern
        self._pattern = re.compile(r"(?!)")

    def of(self, path: str) -> Declared | None:
        """Return what is declared of a normalized path; None where no route is open and nothing is protected."""
        if (declared := self._open.get(path)) is not None:
            return declared
        match = self._pattern.match(path)
        return self._protected[(match.lastindex or 0) - 1][1] if match else None

    def receive_route(self, route: BaseRoute) -> None:
        """Learn of a route. Raises ImproperlyConfiguredException where it says nothing, or contradicts another one."""
        handlers = [handler for handler in _handlers(route) if not _is_for_options(handler)]
        declared = {handler.opt.get(NEEDS_TOKEN) for handler in handlers}
        if declared not in ({True}, {False}):
            raise ImproperlyConfiguredException(
                f"{route.path}: every handler has to declare needs_token (True or False), all of one path the same"
            )
        for handler in handlers:
            if handler.opt[NEEDS_TOKEN]:
                # Litestar finds a mount by the beginning of a path, also in the middle of a word.
                if not isinstance(route, HTTPRoute):
                    raise ImproperlyConfiguredException(f"{route.path}: only HTTP routes can be protected")
                self._protect(*_protected(handler, route))
            elif "{" in route.path or (isinstance(handler, ASGIRouteHandler) and handler.is_mount):
                self._open_below.append(route.path)
            else:
                self._open[route.path] = handler.opt
        for path in self._open_below:
            if self._pattern.match(path):
                raise ImproperlyConfiguredException(
                    f"{path} is open, for any parameter, below a path that is protected"
                )

    def _protect(self, path: str, declared: Declared) -> None:
        if not self._pattern.match(path):
            self._protected.append((path, declared))
            paths = (f"({_pattern(each)})" for each, _ in self._protected)
            self._pattern = re.compile(rf"(?:{'|'.join(paths)})(?:/|\Z)")


def _handlers(route: BaseRoute) -> list[Handler]:
    if isinstance(route, HTTPRoute):
        return [*route.route_handlers]
    return [route.route_handler] if isinstance(route, ASGIRoute | WebSocketRoute) else []


def _is_for_options(handler: Handler) -> bool:
    """Litestar adds one to each route; `web.middleware` answers OPTIONS before it."""
    return getattr(handler, "http_methods", None) == {"OPTIONS"}


def _protected(handler: Handler, route: BaseRoute) -> tuple[str, Declared]:
    """Return the path that a handler protects and what is declared of it: by the outermost layer that does so."""
    layers = handler.ownership_layers
    for place, layer in enumerate(layers[:-1], 1):
        if layer.opt.get(NEEDS_TOKEN):
            return join_paths(each.path for each in layers[:place]), layer.opt
    return route.path, handler.opt


def _pattern(path: str) -> str:
    """Return what matches a path with values for its parameters; one of the type `path` takes slashes too."""
    parts = re.split(r"\{[^/}]+:([^/}]+)\}", path.rstrip("/"))
    return "".join(
        (".+" if part == "path" else "[^/]+") if place % 2 else re.escape(part) for place, part in enumerate(parts)
    )
