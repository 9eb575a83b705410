"""piccolo-admin: the staff's web UI, with its own login, at `/admin/`. Here are its route and guards alone.

Piccolo and the admin are imported, in a thread, when somebody first asks for them: they take as long as all of our own
modules together, and 6 MB.
"""

import asyncio
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeAlias

from litestar import asgi
from litestar.connection import ASGIConnection
from litestar.exceptions import NotFoundException
from litestar.handlers import ASGIRouteHandler, BaseRouteHandler
from litestar.types import Receive, Send

from app.web.body import check_body_headers
from app.web.failures import Forbidden

# Returns the columns to store, from those that staff set and the row as it is, which a new one has not. Raises Invalid.
TaskCheck: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]

OWN_PAGES = "The admin takes requests from its own pages alone."
SAFE_METHODS = ("GET", "OPTIONS")  # HEAD has become GET by now


def admin(check_task: TaskCheck) -> ASGIRouteHandler:
    """Return the route that leads to the admin, where `check_task` has the rules of a task's columns."""

    async def serve(scope: Any, receive: Receive, send: Send) -> None:
        requests = await asyncio.to_thread(import_module, "app.admin.requests")
        await requests.serve(scope, receive, send, check_task)

    guards = [check_path, check_body_headers, check_sender]
    return asgi("/admin", is_mount=True, copy_scope=True, guards=guards, needs_token=False)(serve)


async def check_path(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: `/administrator` is routed here too. Raises NotFoundException."""
    if connection.scope["raw_path"].split(b"/")[:2] != [b"", b"admin"]:
        raise NotFoundException


async def check_sender(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: a page of another origin may not change anything here. Raises Forbidden.

    A browser tells whose page it is (Fetch, section 3.2), and what is no browser holds nobody else's cookies. Over
    https it also says `Sec-Fetch-Site`, which no page can set: so a proxy may pass `Host` without its port.
    """
    scope, headers = connection.scope, connection.headers
    if scope["type"] != "http" or scope["method"] in SAFE_METHODS or "origin" not in headers:
        return
    origin, host = headers["origin"].partition("://")[2], headers.get("host", "")
    if origin == host or headers.get("sec-fetch-site") == "same-origin":
        return
    if origin.rpartition(":")[0] == host:
        raise Forbidden(f"{OWN_PAGES} Behind a proxy, let it pass Host with its port (nginx: $http_host).")
    raise Forbidden(OWN_PAGES)
