"""A log whose output has no room: nothing waits for it, nothing is out of order, and what is lost is counted."""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.observability import buffered_handler
from app.observability.buffered_handler import BUFFER_BYTES, FLUSH_SECONDS, BufferedHandler

LINES = [b"%06d %b\n" % (number, b"x" * 200) for number in range(3000)]


class Pipe:
    """A pipe, and a handler that writes into it."""

    def __init__(self) -> None:
        self.unread, ours = os.pipe()
        os.set_blocking(self.unread, False)
        self.stream = os.fdopen(ours, "w")
        self.handler = BufferedHandler(self.stream)

    def read(self) -> bytes:
        try:
            return os.read(self.unread, 1024 * 1024)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.stream.close()
        os.close(self.unread)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def record(message: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message})


async def test_lines_wait_for_each_other_for_milliseconds_and_are_written_together(pipe: Pipe) -> None:
    for line in LINES[:10]:
        pipe.handler.emit_soon(line)
    assert pipe.read() == b""
    await asyncio.sleep(5 * FLUSH_SECONDS)
    assert pipe.read() == b"".join(LINES[:10])
    pipe.handler.emit_soon(LINES[10])
    await asyncio.sleep(5 * FLUSH_SECONDS)
    assert pipe.read() == LINES[10]


async def test_an_ordinary_line_is_written_immediately_and_in_order(pipe: Pipe) -> None:
    pipe.handler.emit_soon(b"first\n")
    pipe.handler.handle(record("second"))
    assert pipe.read() == b"first\nsecond\n"


def test_a_record_that_cannot_be_formatted_is_reported_and_stops_nothing(
    pipe: Pipe, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe.handler.emit(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    pipe.handler.emit(record("the next"))
    assert pipe.read() == b"the next\n"
    assert "--- Logging error ---" in capsys.readouterr().err


def test_outside_of_an_event_loop_every_line_is_written_immediately(pipe: Pipe) -> None:
    pipe.handler.emit_soon(b"first\n")
    assert pipe.read() == b"first\n"


async def test_no_write_is_larger_than_what_a_pipe_takes_in_one_piece(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    write = os.write
    monkeypatch.setattr(buffered_handler.os, "write", lambda file, data: sizes.append(len(data)) or write(file, data))
    for line in [*LINES[:100], b"y" * 10_000 + b"\n", *LINES[100:200]]:
        pipe.handler.emit_soon(line)
    pipe.handler.flush()
    assert pipe.read() == b"".join(LINES[:100]) + b"y" * 10_000 + b"\n" + b"".join(LINES[100:200])
    assert sorted(sizes)[-2] <= 4096 < max(sizes) == 10_001
    assert len(sizes) < 20


async def test_what_finds_no_room_waits_and_what_is_more_is_counted_in_its_place(pipe: Pipe) -> None:
    for line in LINES:
        pipe.handler.emit_soon(line)
    said = b""
    while piece := pipe.read():
        said += piece
        await asyncio.sleep(5 * FLUSH_SECONDS)
    pipe.handler.emit_soon(b"last\n")
    pipe.handler.flush()
    *kept, lost, last = (said + pipe.read()).splitlines(keepends=True)
    assert kept == LINES[: len(kept)]
    assert len(b"".join(kept)) > BUFFER_BYTES - 1000
    assert lost == b"%d lines were lost here: nobody read them.\n" % (len(LINES) - len(kept))
    assert last == b"last\n"


async def test_a_full_disk_stops_nothing_and_no_line_is_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = 1000
    write = os.write

    def limited(file: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = write(file, data[:room])
        room -= written
        return written

    monkeypatch.setattr(buffered_handler.os, "write", limited)
    with (tmp_path / "log").open("w") as file:
        handler = BufferedHandler(file)
        for number in range(100):
            handler.emit_soon(LINES[number])
            handler.handle(record(f"{number}"))
        room = 10**9
        handler.flush()
    told = [b"%b%d\n" % (line, number) for number, line in enumerate(LINES[:100])]
    assert (tmp_path / "log").read_bytes() == b"".join(told)


@pytest.mark.slow
def test_the_last_lines_wait_for_room_for_a_moment(pipe: Pipe) -> None:
    for line in LINES[:2000]:
        pipe.handler.emit_soon(line)
    said: list[bytes] = []
    reading = threading.Timer(0.1, lambda: [said.append(pipe.read()) or time.sleep(0.02) for _ in range(20)])
    reading.start()
    pipe.handler.close()
    reading.join()
    assert b"".join(said) == b"".join(LINES[:2000])


async def test_lines_of_several_threads_stay_whole(pipe: Pipe) -> None:
    def write(name: str) -> None:
        for number in range(200):
            pipe.handler.handle(record(json.dumps([name, number])))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for number in range(200):
        pipe.handler.emit_soon(json.dumps(["loop", number]).encode() + b"\n")
        await asyncio.sleep(0)
    for thread in threads:
        thread.join()
    pipe.handler.flush()
    told: list[Any] = [json.loads(line) for line in pipe.read().splitlines()]
    assert len(told) == 1000
    for name in ("a", "b", "c", "d", "loop"):
        assert [number for who, number in told if who == name] == [*range(200)]
