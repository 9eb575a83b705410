"""What the service says of itself: its name, that it is alive, and whether it can serve; to a browser, a small page.

The page is static, with no script and nothing from elsewhere.
"""

import base64
import hashlib
import re
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Request, Response, get

from app import __version__
from app.db.engine import database
from app.openapi.described import failure_responses
from app.shutdown import shutdown
from app.web.envelopes import Data
from app.web.failures import ShuttingDown, Unavailable
from app.web.headers import joined
from app.web.query import takes_none

STYLE = (
    "body{font:1rem/1.6 system-ui,sans-serif;margin:15vh auto;max-width:32rem;padding:0 1rem;color-scheme:light dark}"
)
# The links are relative: the service may be served under a path of its own.
HOME_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Tasks API</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<h1>Tasks API</h1>
<p>Version {__version__}. Every user's own tasks, over REST.</p>
<ul>
<li><a href="docs">Documentation, to read and to try</a></li>
<li><a href="openapi.json">The OpenAPI document</a></li>
<li><a href="admin/">Admin, for staff</a></li>
<li><a href="health/ready">Can it serve?</a></li>
</ul>
</body>
</html>
"""
PAGE_HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
QUALITY = re.compile(r"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")  # RFC 9110, section 12.4.2


class Health(msgspec.Struct, frozen=True):
    """How the service is."""

    status: Annotated[str, msgspec.Meta(examples=["ok"])]


class HealthData(Data[Health], frozen=True):
    """The service's health in its envelope."""


class Service(msgspec.Struct, frozen=True):
    """What answers here."""

    name: Annotated[str, msgspec.Meta(examples=["Tasks API"])]
    version: Annotated[str, msgspec.Meta(examples=[__version__])]
    docs: Annotated[str, msgspec.Meta(examples=["/docs"])]
    openapi: Annotated[str, msgspec.Meta(examples=["/openapi.json"])]


class ServiceData(Data[Service], frozen=True):
    """The service's name in its envelope."""


# Of each route: nobody needs a token, and no query parameter is known.
unprotected = partial(get, guards=[takes_none], needs_token=False, tags=["Service"])


@unprotected("/", operation_id="getService", summary="What answers here", responses=failure_responses())
async def service(request: Request[Any, Any, Any]) -> Response[ServiceData]:
    """Name, version, and where the docs are; for a browser, which asks for HTML, a small page."""
    if _prefers_html(joined(request.scope, b"accept").decode("latin-1")):
        page: Any = HOME_PAGE
        return Response(page, media_type=MediaType.HTML, headers={**PAGE_HEADERS, "vary": "Accept"})
    what = Service("Tasks API", __version__, "/docs", "/openapi.json")
    return Response(ServiceData(what), headers={"vary": "Accept"})


@unprotected("/health/live", operation_id="isLive", summary="Does the process run?", responses=failure_responses())
async def live() -> HealthData:
    """Touches nothing: 200 while the process runs."""
    return HealthData(Health("ok"))


@unprotected("/health/ready", operation_id="isReady", summary="Can it serve?", responses=failure_responses(503))
async def ready() -> HealthData:
    """Asks the database: 200 while it answers and is migrated, until the service is told to stop."""
    if shutdown.is_set():
        raise ShuttingDown
    if not await database.is_ready():
        raise Unavailable
    return HealthData(Health("ok"))


@unprotected("/api/health", operation_id="isHealthy", summary="Can it serve?", responses=failure_responses(503))
async def healthy() -> HealthData:
    """The same as `/health/ready`, for clients that know only `/api`."""
    return await ready.fn()


def _prefers_html(accept: str) -> bool:
    """Tell whether an Accept header (RFC 9110, section 12.5.1) names HTML, and wants it more than JSON."""
    wanted: dict[str, float] = {}
    for each in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        wanted[kind] = float(quality) if QUALITY.fullmatch(quality) else 0
    json = next((wanted[kind] for kind in ("application/json", "application/*", "*/*") if kind in wanted), 0)
    return wanted.get("text/html", 0) > json
