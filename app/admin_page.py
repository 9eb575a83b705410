"""What the admin's page runs: Piccolo's script as it is served, mended, and a script of ours before it.

Each mend is one replacement in Piccolo's minified script, by names that minifying leaves alone. A version in which one
of them finds something else than it expects is not served at all.
"""

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

OURS = Path(__file__).with_name("admin_page.js")


# Pattern, replacement, and how often it is found.
MENDS = [
    # Our policy forbids to evaluate strings, and browsers log each attempt.
    (r'Function\("return this"\)\(\)', "globalThis", 2),
]


def mended(script: str) -> str:
    """Return Piccolo's script as we serve it. Raises RuntimeError where it is one that we do not know."""
    for pattern, replacement, expected in MENDS:
        script, found = re.subn(pattern, replacement, script)
        if found != expected:
            raise RuntimeError(f"piccolo_admin has changed: {pattern} is there {found} times, not {expected}")
    return script


@cache
def _theirs(path: Path) -> str:
    return mended(path.read_text())


def serve(house: Any) -> None:
    """Let an app of Piccolo's serve both scripts, from addresses that change with what they are made of."""
    from piccolo_admin.endpoints import ASSET_PATH
    from starlette.responses import FileResponse, Response
    from starlette.routing import Mount

    [source] = re.findall(r'src="\./(assets/index-[^"]+\.js)"', house.template)
    version = hashlib.sha256(OURS.read_bytes() + repr(MENDS).encode()).hexdigest()[:8]  # browsers keep them for a day

    async def ours(scope: Any, receive: Any, send: Any) -> None:
        await FileResponse(OURS)(scope, receive, send)

    async def theirs(scope: Any, receive: Any, send: Any) -> None:
        await Response(_theirs(Path(ASSET_PATH, source)), media_type="text/javascript")(scope, receive, send)

    house.template = house.template.replace(
        "<script", f'<script src="./assets/page.js?v={version}"></script>\n  <script', 1
    ).replace(source, f"{source}?v={version}")
    house.router.routes[:0] = [Mount("/assets/page.js", ours), Mount(f"/{source}", theirs)]
