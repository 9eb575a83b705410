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
from app.examples import COMMON
from app.openapi import document
from app.query import takes_none

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tasks API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="$ROOT/docs/assets/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="$ROOT/docs/assets/swagger-ui-bundle.js"></script>
<script src="$ROOT/docs/start.js"></script>
</body>
</html>
"""
START = """\
// The last login on this page: its token, the one to refresh it with, and until when (ms) it is good. It is kept
// beside what Swagger UI keeps itself, in this browser alone, until somebody logs out.
const LOGIN = "tasks-login";
const REFRESH = location.pathname.replace(/\\/docs\\/?$/, "/api/auth/refresh");
// Failures that nearly every request can have: the text above the operations tells them once.
const COMMON = $COMMON;

function keep({token, refresh_token, expires_in}) {
  localStorage.setItem(LOGIN, JSON.stringify({token, refresh_token, until: Date.now() + (expires_in - 60) * 1000}));
  authorize(token);
  return token;
}

function authorize(token) {
  const schema = {type: "http", scheme: "bearer", bearerFormat: "JWT"};
  ui.authActions.authorizeWithPersistOption({bearer: {name: "bearer", schema, value: token}});
}

function forget() {
  localStorage.removeItem(LOGIN);
  ui.authActions.logoutWithPersistOption(["bearer"]);
}

// Refreshes a login that is about to end. A user who has logged out here, or pasted another token, has none.
async function refresh() {
  const login = JSON.parse(localStorage.getItem(LOGIN));
  if (login && login.token !== ui.authSelectors.authorized().getIn(["bearer", "value"])) localStorage.removeItem(LOGIN);
  else if (login && Date.now() > login.until) {
    const body = JSON.stringify({refresh_token: login.refresh_token});
    const answer = await fetch(REFRESH, {method: "POST", headers: {"Content-Type": "application/json"}, body});
    if (answer.ok) return keep((await answer.json()).data);
    if (answer.status === 401) forget();
  }
}

// Another tab has the next pair, or has logged out.
addEventListener("storage", ({key, newValue}) => {
  if (key === LOGIN) newValue ? authorize(JSON.parse(newValue).token) : forget();
});

const ui = SwaggerUIBundle({
  url: location.pathname.replace(/\\/docs\\/?$/, "/openapi.json"),
  dom_id: "#docs",
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  onComplete: () => refresh(),
  async requestInterceptor(request) {
    const token = request.loadSpec ? null : await refresh();
    if (token && request.headers.Authorization) request.headers.Authorization = `Bearer ${token}`;
    return request;
  },
  responseInterceptor(response) {
    if (response.ok && response.url.endsWith("/openapi.json")) {
      response.text = JSON.stringify(withoutCommon(JSON.parse(response.text)));
    } else if (response.ok && /\\/api\\/auth\\/(signup|login|refresh)\\/?$/.test(response.url)) {
      keep(JSON.parse(response.text).data);
    } else if (response.status === 204 && /\\/api\\/auth\\/(logout|logout-all|me)\\/?$/.test(response.url)) {
      forget();
    }
    return response;
  },
});

function withoutCommon(spec) {
  for (const operation of Object.values(spec.paths).flatMap(Object.values)) {
    for (const status of COMMON) {
      if (operation.tags[0] !== "Service" || status !== 503) delete operation.responses[status];
    }
  }
  return spec;
}
""".replace("$COMMON", f"{[failure.status for failure in COMMON]}")
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
        described = document(state.documented[has_accounts])
        described["servers"][0]["url"] = state.settings.root_path or "/"
        state.openapi[has_accounts] = msgspec.json.encode(described)
    return Response(state.openapi[has_accounts], media_type=MediaType.JSON)


@get("/docs", include_in_schema=False)
async def docs(state: State) -> Response[str]:
    """The page, which reads the document and sends requests from the browser."""
    page = PAGE.replace("$ROOT", state.settings.root_path)
    return Response(page, media_type=MediaType.HTML, headers={"content-security-policy": POLICY})


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
