"""Query strings: each parameter that a route knows, once if it is no list, and no other; what pages have in common.

The parameters of a route are one struct, each of whose fields is annotated with a Parameter: its parser, its message
and its documentation. A handler takes the struct as a dependency that is `Documented`.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar, get_args
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler

from app.web.failures import Invalid

S = TypeVar("S", bound=msgspec.Struct)

MAX_QUERY_BYTES = 8192  # of all parameters: a cursor may hold a title, whose characters may take 4 bytes each
MAX_PARAMETER_NAME = 50  # characters of an unknown parameter that are told back
MAX_LIMIT = 200  # items on a page
LIMIT_RULE = f"a whole number from 1 to {MAX_LIMIT}"

NOT_AN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a query string: how it is read, and what a refusal and the OpenAPI document say of it."""

    read: Callable[[str], Any]  # returns None for what it refuses
    rule: str  # what the parameter must be
    description: str
    schema: Mapping[str, Any]
    more: Mapping[str, Any] = {}  # of its Parameter Object (OpenAPI 3.1.0, section 4.8.12)
    is_list: bool = False  # of values with a separator between them: then it may be there more than once
    separator: str = ","  # another one than a comma is in no value

    def documented(self) -> dict[str, Any]:
        """Return its Parameter Object, but for the name."""
        return {"description": self.description, **self.more, "schema": self.schema}


class Documented(Provide):
    """A dependency that reads something of the request, and says in the OpenAPI document what."""

    def __init__(
        self,
        read: Callable[[Request[Any, Any, Any]], Any],
        *headers: dict[str, Any],
        query: type[msgspec.Struct] | None = None,
    ) -> None:
        """Take the function, the Parameter Objects of the headers that it reads, and the struct of the query."""
        super().__init__(read, sync_to_thread=False)
        of_query = documented(query) if query else {}
        self.parameters = [
            *({"name": name, "in": "query", "required": False, **each} for name, each in of_query.items()),
            *headers,
        ]


class InvalidCursor(Invalid):
    """A cursor that was not given out, or not for this list."""

    code = "INVALID_CURSOR"

    def __init__(self) -> None:
        super().__init__("cursor", "The cursor does not belong to this list. Begin again without one.")


def pairs(query_string: bytes, known: Collection[str], repeatable: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Return each parameter and its value. Raises Invalid for one that is not known, or comes twice and is no list.

    A `user_id` is not looked at: whose tasks they are, the token says, and no client gets anything by saying it too.
    """
    if len(query_string) > MAX_QUERY_BYTES:
        raise Invalid("query", f"The query must have {MAX_QUERY_BYTES} bytes at most")
    seen: set[str] = set()
    for piece in filter(None, query_string.split(b"&")):
        before, _, after = piece.partition(b"=")
        if (name := _decoded(before)) == "user_id":
            continue
        if name not in known:
            others = f", only {', '.join(known)}" if known else ""
            raise Invalid(name[:MAX_PARAMETER_NAME], f"There is no such parameter here{others}")
        if name in seen and name not in repeatable:
            raise Invalid(name, f"{name} must be there once")
        seen.add(name)
        yield name, _decoded(after)


def _decoded(text: bytes) -> str:
    try:
        if NOT_AN_ESCAPE.search(whole := text.decode()):
            raise ValueError
        return unquote_to_bytes(whole.replace("+", " ")).decode()
    except ValueError:
        raise Invalid("query", "The query must be UTF-8, percent-encoded") from None


def check_none(query_string: bytes) -> None:
    """Raises Invalid for a parameter, where a route knows none."""
    any(pairs(query_string, ()))


async def takes_none(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: the same, for a handler of Litestar's own. Raises Invalid."""
    check_none(connection.scope["query_string"])


@cache
def parameters_of(kind: type[msgspec.Struct]) -> dict[str, tuple[str, Parameter]]:
    """Return the parameters that a struct declares: the name of its field, and what is declared of it."""
    return {
        each.encode_name: (each.name, annotation)
        for each in msgspec.structs.fields(kind)
        for annotation in get_args(each.type)
        if isinstance(annotation, Parameter)
    }


def documented(kind: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    """Return what the OpenAPI document says of the parameters that a struct declares, by their names."""
    return {name: parameter.documented() for name, (_, parameter) in parameters_of(kind).items()}


def texts_in(query_string: bytes, kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the parameters of this struct that a query string has, as they were sent. Raises Invalid."""
    known = parameters_of(kind)
    lists = [name for name, (_, parameter) in known.items() if parameter.is_list]
    given: dict[str, str] = {}
    for name, value in pairs(query_string, known, lists):
        separator = known[name][1].separator
        sent = value if separator == "," else value.replace(separator, "\0")
        given[name] = f"{given[name]}{separator}{sent}" if name in given else sent
    return given


def values_in(texts: Mapping[str, str], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return what these parameters say, by the fields of the struct. Raises Invalid."""
    known = parameters_of(kind)
    values: dict[str, Any] = {}
    for name, text in texts.items():
        field, parameter = known[name]
        if (value := parameter.read(text)) is None:
            raise Invalid(name, f"{name} must be {parameter.rule}")
        values[field] = value
    return values


def read_query(request: Request[Any, Any, Any], kind: type[S]) -> S:
    """Return what the query of a request says, as this struct. Raises Invalid."""
    return kind(**values_in(texts_in(request.scope["query_string"], kind), kind))


def in_query(kind: type[msgspec.Struct]) -> Documented:
    """Return the dependency that is this struct, as the query says. Raises Invalid where it says anything else."""

    def read(request: Request[Any, Any, Any]) -> Any:
        return read_query(request, kind)

    return Documented(read, query=kind)


def whole_number(least: int, most: int, description: str, **schema: Any) -> Parameter:

    def read(text: str) -> int | None:
        return int(text) if WHOLE_NUMBER.fullmatch(text) and least <= int(text) <= most else None

    limits = {"type": "integer", "minimum": least, "maximum": most, **schema}
    return Parameter(read, f"a whole number from {least} to {most}", description, limits)


def choice(*values: str, description: str, **schema: Any) -> Parameter:
    allowed = {value: value for value in values}
    return Parameter(allowed.get, " or ".join(values), description, {"type": "string", "enum": [*values], **schema})


def switch(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text)


SWITCH_RULE = "true or false"


def page_cursor(description: str) -> Parameter:
    """Return the parameter for where a page begins, whose text is sealed (`cursors`)."""
    return Parameter(str, "", description, {"type": "string", "format": "cursor"})


class PageQuery(msgspec.Struct, frozen=True):
    """Which page of a list is asked for."""

    limit: Annotated[
        int | None,
        whole_number(
            1,
            MAX_LIMIT,
            "The maximum number of items on a page. Without a parameter, the answer has all items.",
            examples=[20],
        ),
    ] = None
    cursor: Annotated[
        str | None,
        page_cursor("Where the page begins: `page.next` of the one before. It keeps its page's `limit`."),
    ] = None


WantedPage: TypeAlias = NamedDependency[PageQuery]
