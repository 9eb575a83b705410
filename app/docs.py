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

from app.edge.budget import LARGE_BYTES
from app.openapi import document
from app.query import takes_none

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tasks API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = """\
const ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  // Whoever signs up or logs in on this page goes on with the token that the answer brought.
  responseInterceptor(response) {
    if (response.ok && /\\/api\\/auth\\/(signup|login|refresh)\\/?$/.test(response.url)) {
      ui.preauthorizeApiKey("bearer", JSON.parse(response.text).data.token);
    }
    return response;
  },
});
"""
# Swagger UI styles its elements inline; everything else comes from here.
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
ONE_DAY = CacheControlHeader(max_age=86_400, public=True)
ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


@get("/openapi.json", guards=[takes_none], include_in_schema=False)
async def openapi(state: State) -> Response[bytes]:
    """The document itself, made when it is first asked for. Raises Unavailable while nobody knows what is in it."""
    has_accounts = state.authenticator.has_accounts()
    if "openapi" not in state:
        state.openapi = {}
    if has_accounts not in state.openapi:
        state.openapi[has_accounts] = msgspec.json.encode(document(state.documented[has_accounts]))
    return Response(state.openapi[has_accounts], media_type=MediaType.JSON)


@get("/docs", include_in_schema=False)
async def docs() -> Response[str]:
    """The page, which reads the document and sends requests from the browser."""
    return Response(PAGE, media_type=MediaType.HTML, headers={"content-security-policy": POLICY})


@get("/docs/start.js", include_in_schema=False)
async def start() -> Response[str]:
    """What the page runs; a file of its own, so that the page may forbid inline scripts."""
    return Response(START, media_type="text/javascript")


def assets() -> HTTPRouteHandler:
    """Serve Swagger UI from the package that brings it. To import that would bring FastAPI along."""
    folder = Path(str(distribution("fastapi-offline").locate_file("fastapi_offline/static")))

    @get("/docs/assets/{name:str}", cache_control=ONE_DAY, include_in_schema=False)
    async def asset(name: FromPath[str]) -> File:
        if name not in ASSETS:
            raise NotFoundException
        return File(folder / name, media_type=ASSETS[name], content_disposition_type="inline", chunk_size=LARGE_BYTES)

    return asset
