"""The schemas of the OpenAPI document: msgspec's own, of the structs that encode and decode, as generators take them.

They say the same in another way. OpenAPI allows all of what is changed here; generators of clients do not compile it.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from app.examples import ERROR_CODES

REF = "#/components/schemas/{name}"
MENTIONED = re.compile(r'"#/components/schemas/(\w+)"')
OF_A_STRING = ("format", "maxLength", "minLength", "pattern")


def schemas(names: Iterable[str]) -> dict[str, Any]:
    """Return the schemas of the structs with these names, and of all that they mention, by name."""
    structs = {struct.__name__: struct for struct in _structs(msgspec.Struct)}
    wanted = {name for name in names if name in structs}
    found: dict[str, Any] = {}
    while wanted - {*found}:
        wanted |= {*found}
        _, found = msgspec.json.schema_components([structs[name] for name in wanted], ref_template=REF)
        wanted |= {name for name in MENTIONED.findall(msgspec.json.encode(found).decode()) if name in structs}
    for schema in found.values():
        # The first paragraph of a docstring is for everybody.
        schema["description"] = schema["description"].partition("\n\n")[0]
        _make_plain(schema)
    if "TaskCompletion" in found:
        found["TaskCompletion"] |= {"if": {"minProperties": 1}, "then": {"required": ["completed"]}}
    if "Error" in found:
        found["Error"]["properties"]["code"] = {"$ref": REF.format(name="ErrorCode")}
        found["ErrorCode"] = {
            "title": "ErrorCode",
            "description": "What went wrong, for programs. A code never changes; later versions may have more.",
            "type": "string",
            "enum": [*ERROR_CODES],
            "examples": ["VALIDATION_ERROR"],
        }
    return dict(sorted(found.items()))


def _structs(base: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for struct in base.__subclasses__():
        yield struct
        yield from _structs(struct)


def _make_plain(schema: Any) -> None:
    """Change a schema and those in it, with the same meaning."""
    if isinstance(schema, list):
        for each in schema:
            _make_plain(each)
    if not isinstance(schema, dict):
        return
    for each in schema.values():
        _make_plain(each)
    if "default" in schema and schema["default"] is None:  # openapi-typescript takes such a property for required
        del schema["default"]
    if schema.get("required") == []:
        del schema["required"]
    if "enum" in schema:
        schema.setdefault("type", "string")
    if "anyOf" in schema:  # zod knows no rule that is beside it
        rules = {rule: schema.pop(rule) for rule in OF_A_STRING if rule in schema}
        if rules:
            [text] = [kind for kind in schema["anyOf"] if kind.get("type") == "string"]
            text |= rules
