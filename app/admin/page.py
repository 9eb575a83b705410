"""What the admin's page runs: Piccolo's script as it is served, mended, and a script of ours before it.

Each mend is one replacement in Piccolo's minified script, by names that minifying leaves alone. A version in which one
of them finds something else than it expects is not served at all.
"""

import hashlib
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

OURS = Path(__file__).with_name("page.js")

# Pattern, replacement, and how often it is found.
MENDS = [
    # Our policy forbids to evaluate strings, and browsers log each attempt.
    (r'Function\("return this"\)\(\)', "globalThis", 2),
    # Ids go into URLs as they are: `ada#2` means `ada` there.
    (r"(tables/\$\{(\w+)\.tableName\}/)\$\{\2\.rowID\}/", r"\1${tasksAdmin.rowKey(\2.rowID)}/", 3),
    # A form sends every field, whether it was changed or not, and as the browser shows it.
    (
        r"new FormData\((\w+)\.target\)(,\w+=\{\};for\(const \w+ of \w+\.entries\(\)\)\{[^{}]*\{[^{}]*\}\)\}"
        r"const \w+=\{tableName:this\.tableName,rowID:this\.rowID,data:)",
        r"tasksAdmin.changed(\1.target)\2",
        1,
    ),
    # A row that was opened is saved as long as it is the same, and shown again then.
    (r'return (\w+)\.commit\("updateSelectedRow",(\w+)\.data\)', r"tasksAdmin.opened(\2);\g<0>", 1),
    (
        r"updateRow\((\w+),(\w+)\)\{return await (\w+)\.patch\((`[^`]+`),\2\.data\)\}",
        r"updateRow(\1,\2){const saved=await \3.patch(\4,\2.data,tasksAdmin.unlessChanged(\4));"
        r'if(tasksAdmin.isOpen(\4))await \1.dispatch("fetchSingleRow",\2);return saved}',
        1,
    ),
    # Of two answers to one list the one that was asked for last counts, and not the one that comes last.
    (
        r'async fetch(Rows|Count)\((\w)\)\{((?:(?!async ).)+?)(\2\.commit\("update(?:Rows|RowCount)",)',
        r"async fetch\1(\2){const asked=tasksAdmin.asked(`\1`);\3asked.isLatest()&&\4",
        2,
    ),
    # What is refused is refused with a sentence.
    (
        r'return (\w)==422\?typeof (\w)=="object"\?\2\.db_error\?',
        r"return tasksAdmin.sentence(\2)?[tasksAdmin.sentence(\2)]:"
        r'\1==422?typeof \2=="object"?\2.db_error?',
        1,
    ),
    (
        r"`Error - \$\{(\w+)\.response\.data\.detail\}`",
        r"`Error - ${tasksAdmin.sentence(\1.response.data)}`",
        1,
    ),
    (
        r'(catch\((\w+)\)\{console\.log\("Request failed"\),(?:(?!catch\().){1,600}?contents:)"Problem logging in"',
        r'\1tasksAdmin.sentence(\2.response?.data)??"Problem logging in"',
        1,
    ),
    # A key is no property of the schema, so a list cannot show one that is not its link.
    (r"(\w)==(\w)\.linkColumnName\?", r"\1==\2.linkColumnName||\1==\2.pkName?", 1),
    # There is no second factor here to set up.
    (
        r't0\("li",null,\[t0\("a",\{href:"\./api/mfa-setup/"(?:(?!t0\("li").)+?"MFA Setup"\)\),1\)\]\)\]\),',
        "",
        1,
    ),
    # A form that adds a row asks for everything, and one that changes many rows offers everything.
    (
        r"\{row:(\w+)\.defaults,schema:\1\.schema\}",
        r"{row:\1.defaults,schema:tasksAdmin.toAdd(\1.schema,\1.tableName)}",
        1,
    ),
    (
        r"(\w+)!=(\w+)\.schema\.extra\.primary_key_name&&(\w+)\.extra\.unique==!1\?",
        r"\1!=\2.schema.extra.primary_key_name&&\3.extra.unique==!1&&!tasksAdmin.isFixed(\2.tableName,\1)?",
        1,
    ),
    # Where one of many rows is refused, those before it are changed: the list is shown as it is now.
    (
        r'console\.log\((\w+)\);var (\w+)=\{contents:"Invalid column name or value",type:"error"\};'
        r'this\.\$store\.commit\("updateApiResponseMessage",\2\)',
        r'var \2={contents:tasksAdmin.sentence(\1.response?.data)??"Invalid column name or value",type:"error"};'
        r'this.$store.commit("updateApiResponseMessage",\2);this.$emit("close");'
        r'await this.$store.dispatch("fetchRows")',
        1,
    ),
    # Which table is shown decides what can be done to it.
    (r"updateCurrentTablename\((\w),(\w)\)\{", r"updateCurrentTablename(\1,\2){tasksAdmin.shows(\2);", 1),
    # The page of the row whose id is `add`.
    (r'path:"/:tableName/add/"', 'path:"/:tableName/add/row/"', 1),
]


def mended(script: str) -> str:
    """Return Piccolo's script as we serve it. Raises RuntimeError where it is one that we do not know."""
    for pattern, replacement, expected in MENDS:
        script, found = re.subn(pattern, replacement, script)
        if found != expected:
            raise RuntimeError(f"piccolo_admin has changed: {pattern} is there {found} times, not {expected}")
    return script


@cache
def _theirs(path: Path) -> bytes:
    return mended(path.read_text()).encode()


def scripts(admin_app: Any, tables: dict[str, Any]) -> dict[str, Callable[[], bytes]]:
    """Return both scripts by their paths, to which the page of an app of Piccolo's leads from now on.

    Their addresses change with what they are made of. Of each table ours is told what HTTP may do to it (`methods`),
    which columns nobody changes by hand (`fixed`), and which nobody fills in when a row is added (`set_by_service`).
    """
    from piccolo_admin.endpoints import ASSET_PATH

    [source] = re.findall(r'src="\./(assets/index-[^"]+\.js)"', admin_app.template)
    script = OURS.read_bytes().replace(b"const TABLES = {};", b"const TABLES = %s;" % json.dumps(tables).encode(), 1)
    version = hashlib.sha256(script + repr(MENDS).encode()).hexdigest()[:8]  # browsers keep them for a day
    admin_app.template = admin_app.template.replace(
        "<script", f'<script src="./assets/page.js?v={version}"></script>\n  <script', 1
    ).replace(source, f"{source}?v={version}")
    return {"/assets/page.js": lambda: script, f"/{source}": lambda: _theirs(Path(ASSET_PATH, source))}
