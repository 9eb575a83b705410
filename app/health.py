"""Is it alive, and can it serve? Two questions with two answers."""

from typing import Annotated, Any

import msgspec
from litestar import MediaType, Request, Response, get

from app import __version__, home_page
from app.database import database
from app.edge.headers import joined
from app.envelopes import Data
from app.failures import Leaving, Unavailable
from app.leaving import departure
from app.openapi import failures
from app.query import takes_none


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


@get(
    "/",
    guards=[takes_none],
    operation_id="getService",
    summary="What answers here",
    tags=["Service"],
    responses=failures(),
)
async def service(request: Request[Any, Any, Any]) -> Response[ServiceData]:
    """Name, version, and where the docs are; for a browser, which asks for HTML, a small page."""
    if home_page.is_preferred(joined(request.scope, b"accept").decode("latin-1")):
        page: Any = home_page.PAGE
        return Response(page, media_type=MediaType.HTML, headers={**home_page.HEADERS, "vary": "Accept"})
    what = Service("Tasks API", __version__, "/docs", "/openapi.json")
    return Response(ServiceData(what), headers={"vary": "Accept"})


@get(
    "/health/live",
    guards=[takes_none],
    operation_id="isLive",
    summary="Does the process run?",
    tags=["Service"],
    responses=failures(),
)
async def live() -> HealthData:
    """Touches nothing: 200 while the process runs."""
    return HealthData(Health("ok"))


@get(
    "/health/ready",
    guards=[takes_none],
    operation_id="isReady",
    summary="Can it serve?",
    tags=["Service"],
    responses=failures(503),
)
async def ready() -> HealthData:
    """Asks the database: 200 while it answers and is migrated, until the service is told to stop."""
    if departure.is_near:
        raise Leaving
    if not await database.answers():
        raise Unavailable
    return HealthData(Health("ok"))


@get(
    "/api/health",
    guards=[takes_none],
    operation_id="isHealthy",
    summary="Can it serve?",
    tags=["Service"],
    responses=failures(503),
)
async def healthy() -> HealthData:
    """The same as `/health/ready`, for clients that know only `/api`."""
    return await ready.fn()
