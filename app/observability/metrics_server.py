"""Answers GET /metrics with what all workers have written down, on a port of its own, in Prometheus' formats.

On threads of the process that starts the workers, so that it answers while they are busy, stuck or down.
"""

import logging
import os
import platform
import sys
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from http.server import ThreadingHTTPServer
from pathlib import Path
from socket import socket as Socket  # noqa: N812 # a class by another name
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Info, Metric
from prometheus_client.exposition import MetricsHandler
from prometheus_client.multiprocess import (
    MultiProcessCollector,
    mark_process_dead,  # pyright: ignore[reportUnknownVariableType] # prometheus_client has types in part
)

from app import __version__

logger = logging.getLogger(__name__)

SCRAPE_SECONDS = 5  # for which a scraper may say nothing


@contextmanager
def exposed(socket: Socket, folder: str) -> Generator[None]:
    """Answer on the socket with what is in the folder, for as long as the context lasts."""
    registry = CollectorRegistry()
    WorkerMetrics(registry, folder)
    Info("tasks_build", "What runs here.", registry=registry).info(
        {"version": __version__, "python": platform.python_version()}
    )
    server = Server(socket.getsockname()[:2], Scrape.factory(registry), bind_and_activate=False)
    server.socket.close()
    server.socket = socket
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()


class WorkerMetrics(MultiProcessCollector):
    """The sum of the workers. What was counted stays when one ends; how things are with it does not."""

    def __init__(self, registry: CollectorRegistry, folder: str) -> None:
        super().__init__(registry, folder)  # pyright: ignore[reportUnknownMemberType]
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Leave those out that have ended."""
        for pid in {int(path.stem.rpartition("_")[2]) for path in Path(self._folder).glob("gauge_live*.db")}:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                with suppress(FileNotFoundError):  # somebody else's scrape was first
                    mark_process_dead(pid, self._folder)
        return super().collect()  # pyright: ignore[reportUnknownVariableType]


class Scrape(MetricsHandler):
    """GET /metrics, and nothing else."""

    timeout = SCRAPE_SECONDS
    server_version, sys_version = "tasks-api", ""

    def do_GET(self) -> None:  # noqa: N802 # the library's
        """Answer with the metrics, or with 404."""
        if urlsplit(self.path).path == "/metrics":
            super().do_GET()
        else:
            self.send_error(404)


class Server(ThreadingHTTPServer):
    """A thread for each scrape."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log it like everything else; the default prints to stderr."""
        logger.warning("A scrape was not answered (%s).", type(sys.exception()).__name__)
