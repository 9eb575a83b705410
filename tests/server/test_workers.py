"""The supervisor of several workers, where a worker does not become ready. `tests/live/test_stop.py` has the rest."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.supervisors.multiprocess import Process

from app.server.workers import Workers


async def never_ready(scope: Any, receive: Any, send: Any) -> None:
    """An application that does not start."""
    await asyncio.sleep(60)


@pytest.fixture
def workers() -> Iterator[Workers]:
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    app = f"{__name__}:never_ready"
    config = uvicorn.Config(app, lifespan="on", workers=2, log_config=None, timeout_worker_healthcheck=1)
    yield Workers(config, sockets=[])
    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def test_a_worker_stays_where_its_successor_is_not_ready_in_time(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    old = Process(workers.config, workers.sockets)
    workers.processes = [old]
    with caplog.at_level(logging.ERROR, "app.server.workers"):
        workers.restart_all()
    assert workers.processes == [old]
    assert [record.message.split(" ", 4)[-1] for record in caplog.records] == [
        "was not ready in time. The others stay as they are."
    ]
