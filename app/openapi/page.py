"""The page on which the document can be read and tried, with no internet."""

from importlib.metadata import distribution
from pathlib import Path

import msgspec
from litestar import MediaType, Response, get
from litestar.datastructures import CacheControlHeader, State
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import File

from app.openapi.document import document
from app.openapi.introduction import COMMON_FAILURES
from app.web.query import takes_none
from app.web.response_budget import LARGE_BYTES

HERE = Path(__file__).parent
PAGE = (HERE / "page.html").read_text("utf-8")
START = (HERE / "start.js").read_text("utf-8").replace("$COMMON", f"{[failure.status for failure in COMMON_FAILURES]}")
# Swagger UI styles its elements inline; everything else comes from here.
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
ONE_DAY = CacheControlHeader(max_age=86_400, public=True)
ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


@get("/openapi.json", guards=[takes_none], include_in_schema=False, needs_token=False)
async def openapi(state: State) -> Response[bytes]:
    """The document itself, made when it is first asked for. Raises Unavailable while nobody knows what is in it."""
    has_accounts = state.authenticator.has_accounts()
    documents: dict[bool, bytes] = state.setdefault("openapi", {})
    if has_accounts not in documents:
        described = document(state.documented[has_accounts])
        described["servers"][0]["url"] = state.settings.root_path or "/"
        documents[has_accounts] = msgspec.json.encode(described)
    return Response(documents[has_accounts], media_type=MediaType.JSON)


@get("/docs", include_in_schema=False, needs_token=False)
async def docs(state: State) -> Response[str]:
    """The page, which reads the document and sends requests from the browser."""
    page = PAGE.replace("$ROOT", state.settings.root_path)
    return Response(page, media_type=MediaType.HTML, headers={"content-security-policy": POLICY})


@get("/docs/start.js", include_in_schema=False, needs_token=False)
async def start() -> Response[str]:
    """What the page runs; a file of its own, so that the page may forbid inline scripts."""
    return Response(START, media_type="text/javascript")


def assets() -> HTTPRouteHandler:
    """Serve Swagger UI from the package that brings it. To import that would bring FastAPI along."""
    folder = Path(str(distribution("fastapi-offline").locate_file("fastapi_offline/static")))

    @get("/docs/assets/{name:str}", cache_control=ONE_DAY, include_in_schema=False, needs_token=False)
    async def asset(name: FromPath[str]) -> File:
        if name not in ASSETS:
            raise NotFoundException
        return File(folder / name, media_type=ASSETS[name], content_disposition_type="inline", chunk_size=LARGE_BYTES)

    return asset
