"""Litestar's application as this service uses it."""

from typing import Any

from litestar import Litestar
from litestar.events import BaseEventEmitterBackend
from litestar.exceptions import ImproperlyConfiguredException
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import ControllerRouterHandler

from app.web.access import Access


class App(Litestar):
    """Litestar whose handlers have to declare whether they need a token."""

    is_routed = False

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        # Private, as nothing public keeps Litestar from importing each library that it has a plugin for. Pydantic is
        # there, because the admin brings it along: 13 MB and 0.25 s of the start.
        return [*plugins, MsgspecDIPlugin(), Access()]

    def register(self, value: ControllerRouterHandler) -> None:  # type: ignore[override]
        """Register a handler. Raises ImproperlyConfiguredException once the routes are served by a FastRouter."""
        if self.is_routed:
            raise ImproperlyConfiguredException("The routes are being served: register handlers before")
        super().register(value)


class NoEvents(BaseEventEmitterBackend):
    """Litestar's own waits for events that we have no listeners for, with a library that takes 4 MB."""

    def emit(self, event_id: str, *args: Any, **kwargs: Any) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...
