"""Which options of Litestar's a fast handler honours; `routing` registers none that has others."""

import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.enums import MediaType, RequestEncodingType
from litestar.handlers import HTTPRouteHandler
from litestar.types import Empty
from litestar.typing import FieldDefinition
from litestar.utils.predicates import is_async_callable

from app.web.body import JSONRequest
from app.web.errors import respond

# What a fast handler and the layers around it may say; the last line is for the document.
HONOURED = {
    *("path", "http_method", "name", "opt", "guards", "dependencies", "request_class", "request_max_body_size"),
    *("status_code", "media_type", "signature_namespace", "signature_types", "websocket_class"),
    *("description", "include_in_schema", "operation_id", "responses", "summary", "tags"),
}
# What the application may say besides: it happens at the start or the end, around the router, or for other handlers.
# `exception_handlers` has to be `respond`, as `web.middleware` answers a failure in the same way.
HONOURED_OF_APP = HONOURED | {
    *("route_handlers", "before_send", "event_emitter_backend", "exception_handlers", "lifespan", "listeners"),
    *("logging_config", "multipart_form_part_limit", "on_app_init", "on_shutdown", "on_startup", "openapi_config"),
    *("plugins", "response_cache_config", "state", "static_files_config", "stores", "template_config"),
    "experimental_features",
}


def ignored(handler: Any) -> Iterator[str]:
    """Yield what a handler, or a layer around it, says and would not get. It has to be registered."""
    for layer in handler.ownership_layers:
        yield from (f"{option} of {type(layer).__name__}" for option in _ignored_options(layer))
    if not is_async_callable(handler.fn):
        yield "that its function is not async"
    if handler.media_type not in (MediaType.JSON, MediaType.JSON.value, ""):
        yield f"the media type {handler.media_type}"
    if handler.resolve_request_max_body_size() is None:
        yield "that a body may have any size"
    parameters = handler.parsed_fn_signature.parameters
    if "data" in parameters and not issubclass(handler.resolve_request_class(), JSONRequest):
        yield "the request class, which decodes no data"
    yield from (f"how {name} is declared" for name, field in parameters.items() if _is_checked(field))


def _ignored_options(layer: Any) -> Iterator[str]:
    """Yield the options of a handler, or of a layer around it, that are set and would have no effect."""
    kind = next((each for each in (Litestar, HTTPRouteHandler) if isinstance(layer, each)), Router)
    for name, default in _not_honoured(kind).items():
        if (value := getattr(layer, name, None)) and value not in (Empty, default):
            yield name
    handlers: dict[object, Callable[..., object]] = getattr(layer, "exception_handlers", {})
    if kind is Litestar and {each for each in handlers.values() if not _is_litestars(each)} - {respond}:
        yield "exception_handlers"


@cache
def _not_honoured(kind: type[Any]) -> dict[str, Any]:
    """Return the options that a handler or layer has and a fast handler does not honour, with their defaults.

    They are the parameters of its constructor, so that an option of a later version of Litestar is among them.
    """
    honoured = HONOURED_OF_APP if kind is Litestar else HONOURED
    parameters = inspect.signature(kind).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name not in honoured}


def _is_litestars(function: Callable[..., object]) -> bool:
    return function.__module__.startswith("litestar.")


def _is_checked(field: FieldDefinition) -> bool:
    """Tell whether Litestar would check or decode an argument in a way that a fast handler does not."""
    kwarg: Any = field.kwarg_definition
    is_json = getattr(kwarg, "media_type", RequestEncodingType.JSON) == RequestEncodingType.JSON
    return kwarg is not None and (kwarg.is_constrained or kwarg.const is not None or not is_json)


def function_of(provide: Provide, what: str) -> Callable[..., Any]:
    """Return the function of a dependency. Raises TypeError for one that takes more than the request, or is async."""
    is_generator = provide.has_sync_generator_dependency or provide.has_async_generator_dependency
    is_plain = provide.has_sync_callable and not is_generator and not provide.use_cache
    if not is_plain or [*provide.parsed_fn_signature.parameters] != ["request"]:
        raise TypeError(f"{what} depends on more than the request, or is not a plain function")
    return provide.dependency
