"""The schemas of the OpenAPI document: msgspec's own, of the structs that encode and decode, as generators take them.

They say the same in another way. OpenAPI allows all of what is changed here; generators of clients do not compile it.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, cast

import msgspec

from app.web.envelopes import Error
from app.web.failures import Failure

REF = "#/components/schemas/{name}"
MENTIONED = re.compile(r'"#/components/schemas/(\w+)"')
T = TypeVar("T")
OF_A_STRING = ("format", "maxLength", "minLength", "pattern")


def schemas(names: Iterable[str]) -> dict[str, Any]:
    """Return the schemas of the structs with these names, and of all that they mention, by name."""
    structs = {struct.__name__: struct for struct in _below(msgspec.Struct)}
    wanted = {name for name in names if name in structs}
    found: dict[str, Any] = {}
    while wanted - {*found}:
        wanted |= {*found}
        _, found = msgspec.json.schema_components([structs[name] for name in wanted], ref_template=REF)
        wanted |= {name for name in MENTIONED.findall(msgspec.json.encode(found).decode()) if name in structs}
    for name, schema in found.items():
        schema |= getattr(structs[name], "extra_schema", {})
        # The first paragraph of a docstring is for everybody.
        schema["description"] = schema["description"].partition("\n\n")[0]
        for each in _objects(schema):
            _make_plain(each)
    errors = [name for name in found if issubclass(structs.get(name, msgspec.Struct), Error)]
    for name in errors:
        found[name]["properties"]["code"] = {"$ref": REF.format(name="ErrorCode")}
    if errors:
        found["ErrorCode"] = {
            "title": "ErrorCode",
            "description": "What went wrong, for programs. A code never changes; later versions may have more.",
            "type": "string",
            "enum": sorted({Failure.code, *(failure.code for failure in _below(Failure))}),
            "examples": ["VALIDATION_ERROR"],
        }
    return dict(sorted(found.items()))


def _below(base: type[T]) -> Iterator[type[T]]:
    for each in base.__subclasses__():
        yield each
        yield from _below(each)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects in a value, each behind those that are in it."""
    if isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _objects(each)
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        for each in found.values():
            yield from _objects(each)
        yield found


def _make_plain(schema: dict[str, Any]) -> None:
    """Change a schema, but not its meaning."""
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
