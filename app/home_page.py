"""The small page that a browser gets at `/`: static, with no script and nothing from elsewhere."""

import base64
import hashlib
import re

from app import __version__

STYLE = (
    "body{font:1rem/1.6 system-ui,sans-serif;margin:15vh auto;max-width:32rem;padding:0 1rem;color-scheme:light dark}"
)
# The links are relative: the service may be served under a path of its own.
PAGE = f"""<!doctype html>
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
HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
QUALITY = re.compile(r"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")  # RFC 9110, section 12.4.2


def is_preferred(accept: str) -> bool:
    """Tell whether an Accept header (RFC 9110, section 12.5.1) names HTML, and wants it more than JSON."""
    wanted: dict[str, float] = {}
    for each in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        wanted[kind] = float(quality) if QUALITY.fullmatch(quality) else 0
    json = next((wanted[kind] for kind in ("application/json", "application/*", "*/*") if kind in wanted), 0)
    return wanted.get("text/html", 0) > json
