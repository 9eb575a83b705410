"""What Prometheus is told, read by Prometheus' own parser off the port of a running service."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as families

from app import __version__
from tests.conftest import token
from tests.live.conftest import Served, free_port

pytestmark = pytest.mark.slow

MINE = {"authorization": f"Bearer {token('ada')}"}


class Watched:
    """A service with metrics, and what they say."""

    def __init__(self, serve: Callable[..., Served], workers: int = 1, **env: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/metrics"
        self.service = serve(env={"METRICS_PORT": str(port), **env}, workers=workers)

    def series(self, name: str) -> dict[tuple[str, ...], float]:
        """The values under a name, by the values of their labels in the order of the labels' names."""
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in families(httpx.get(self.url).text)
            for sample in family.samples
            if sample.name == name
        }

    def total(self, name: str) -> float:
        return sum(self.series(name).values())

    def wait(self, is_so: Callable[[], bool]) -> None:
        """Wait for what is looked at once a second, or ends by and by."""
        deadline = time.monotonic() + 15
        while not is_so():
            assert time.monotonic() < deadline, httpx.get(self.url).text
            time.sleep(0.1)


@pytest.fixture(scope="module", params=(1, 2), ids=("one worker", "two workers"))
def watched(request: pytest.FixtureRequest, serve_for_module: Callable[..., Served]) -> Iterator[Watched]:
    watched = Watched(serve_for_module, request.param)
    yield watched
    assert watched.service.stop() == 0


def test_requests_are_counted_and_timed_by_method_route_and_status(watched: Watched) -> None:
    before, timed = watched.series("tasks_http_requests_total"), "tasks_http_request_duration_seconds"
    counts = watched.series(f"{timed}_count")
    for _ in range(20):  # each on a connection of its own, for all workers to have some
        made = httpx.post(f"{watched.service.url}/api/tasks", json={"title": "x"}, headers=MINE).json()["data"]
        httpx.get(f"{watched.service.url}/api/tasks/{made['id']}", headers=MINE)
        httpx.get(f"{watched.service.url}/api/tasks/{made['id']}?q=1")
    httpx.head(f"{watched.service.url}/api/tasks/0/", headers=MINE)

    after = watched.series("tasks_http_requests_total")
    added = {labels: after[labels] - before.get(labels, 0) for labels in after if after[labels] != before.get(labels)}
    assert added == {
        ("POST", "/api/tasks", "201"): 20,
        ("GET", "/api/tasks/{task_id}", "200"): 20,
        ("GET", "-", "401"): 20,  # decided before the route
        ("HEAD", "/api/tasks/{task_id}", "404"): 1,
    }
    since = watched.series(f"{timed}_count")
    assert since["POST", "/api/tasks"] - counts.get(("POST", "/api/tasks"), 0) == 20
    buckets = watched.series(f"{timed}_bucket")
    assert buckets["+Inf", "POST", "/api/tasks"] == since["POST", "/api/tasks"]
    assert watched.series(f"{timed}_sum")["POST", "/api/tasks"] > 0


def test_no_label_takes_what_a_caller_makes_up(watched: Watched) -> None:
    def say(head: str) -> None:
        with socket.create_connection(("127.0.0.1", watched.service.port)) as connection:
            connection.sendall(head.encode())
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    for made_up in ("canary-1", "canary-2"):
        httpx.get(f"{watched.service.url}/{made_up}/{made_up}?{made_up}", headers={"x-request-id": made_up})
        httpx.get(f"{watched.service.url}/api/tasks/{made_up}", headers=MINE)
        httpx.get(f"{watched.service.url}/docs/assets/{made_up}")
        httpx.get(f"{watched.service.url}/admin/api/{made_up}")
        httpx.request(made_up.upper(), f"{watched.service.url}/", headers=MINE)
        say(f"PROPFIND /{made_up} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = httpx.get(watched.url).text
    assert "canary" not in text.lower()
    methods, routes, _ = (set(each) for each in zip(*watched.series("tasks_http_requests_total"), strict=True))
    assert {"_OTHER"} < methods <= {"GET", "HEAD", "POST", "_OTHER"}
    assert {"-", "/api/tasks/{task_id}"} < routes
    answered = watched.series("tasks_http_requests_total")
    assert answered["_OTHER", "-", "400"] >= 2  # refused before it was known what they ask for


def test_each_worker_tells_of_its_pool_and_its_process(watched: Watched) -> None:
    watched.wait(lambda: len(watched.series("tasks_pool_connections")) == watched.service.workers)
    workers = {(str(pid),) for pid in watched.service.pids()}
    if watched.service.workers == 1:
        assert workers == {(str(watched.service.process.pid),)}
    watched.wait(lambda: watched.total("tasks_pool_connections") >= watched.service.workers)
    assert watched.series("tasks_pool_connections").keys() == workers
    assert watched.series("tasks_pool_max_connections") == dict.fromkeys(workers, 10)
    assert watched.series("tasks_pool_waiting_requests") == dict.fromkeys(workers, 0)
    watched.wait(lambda: watched.series("tasks_pool_idle_connections") == watched.series("tasks_pool_connections"))
    assert all(20e6 < size < 500e6 for size in watched.series("process_resident_memory_bytes").values())
    assert all(size > 5 for size in watched.series("process_open_fds").values())
    assert all(abs(time.time() - began) < 600 for began in watched.series("process_start_time_seconds").values())
    assert watched.total("process_cpu_seconds_total") > 0.2
    [version] = [labels for labels in watched.series("tasks_build_info") if __version__ in labels]
    assert version == (".".join(map(str, sys.version_info[:3])), __version__)


def test_the_event_loop_is_seen_to_wake_in_time(watched: Watched) -> None:
    before = watched.total("tasks_event_loop_lag_seconds_count")
    watched.wait(lambda: watched.total("tasks_event_loop_lag_seconds_count") >= before + 20)
    assert watched.series("tasks_event_loop_lag_seconds_bucket")["+Inf",] >= 20


def test_looking_a_token_up_is_a_hit_or_a_miss(watched: Watched) -> None:
    before = watched.series("tasks_token_cache_lookups_total")
    mine = {"authorization": f"Bearer {token('somebody new')}"}
    with httpx.Client(headers=mine) as client:  # one connection, one worker
        for _ in range(5):
            client.get(f"{watched.service.url}/api/tasks")
    watched.wait(lambda: watched.series("tasks_token_cache_lookups_total")["hit",] >= before.get(("hit",), 0) + 4)
    watched.wait(lambda: watched.series("tasks_token_cache_lookups_total")["miss",] >= before.get(("miss",), 0) + 1)


def test_the_port_answers_a_get_of_metrics_and_nothing_else(watched: Watched) -> None:
    answer = httpx.get(watched.url)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    modern = httpx.get(watched.url, headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert "tasks_http_requests" in {family.name for family in openmetrics(modern.text)}
    for path in ("/", "/metrics/", "/metricsx", "/favicon.ico", "/api/tasks"):
        refused = httpx.get(watched.url.removesuffix("/metrics") + path)
        assert (refused.status_code, refused.headers["server"]) == (404, "tasks-api")
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
        assert httpx.request(method, watched.url).status_code == 501
    assert httpx.get(f"{watched.service.url}/metrics").status_code == 404


def test_silent_and_rude_scrapers_keep_nobody_waiting(watched: Watched) -> None:
    address = ("127.0.0.1", httpx.URL(watched.url).port)
    silent = [socket.create_connection(address) for _ in range(20)]
    for each in silent[:10]:
        each.sendall(b"GET /metrics HTTP/1.1\r\n")
    with socket.create_connection(address) as rude:
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with a reset
        rude.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    began = time.monotonic()
    with ThreadPoolExecutor(8) as several:
        answers = [*several.map(lambda _: httpx.get(watched.url).status_code, range(8))]
    assert answers == [200] * 8
    assert time.monotonic() - began < 3
    for each in silent:
        each.settimeout(10)
        assert each.recv(1) == b""
        each.close()
    for line in watched.service.log():
        json.loads(line)


def test_a_worker_that_is_killed_leaves_its_counts_and_nothing_else(serve: Callable[..., Served]) -> None:
    watched = Watched(serve, workers=2)
    for _ in range(20):
        httpx.get(f"{watched.service.url}/api/tasks", headers=MINE)
    watched.wait(lambda: len(watched.series("process_open_fds")) == 2)
    dead, alive = watched.service.pids()
    os.kill(dead, signal.SIGKILL)
    watched.wait(lambda: (str(dead),) not in watched.series("process_open_fds"))
    assert watched.series("tasks_http_requests_total")["GET", "/api/tasks", "200"] == 20
    watched.wait(lambda: len(watched.series("process_open_fds")) == 2)
    assert (str(alive),) in watched.series("process_open_fds")


async def test_requests_that_wait_for_a_connection_are_seen(
    serve: Callable[..., Served], sql: asyncpg.Connection
) -> None:
    watched = Watched(serve, DATABASE_POOL_MAX="1")
    async with httpx.AsyncClient(headers=MINE) as client:
        async with sql.transaction():
            await sql.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
            waiting = [asyncio.create_task(client.get(f"{watched.service.url}/api/tasks")) for _ in range(3)]
            await asyncio.to_thread(watched.wait, lambda: watched.total("tasks_pool_waiting_requests") == 2)
            assert watched.total("tasks_pool_connections") == watched.total("tasks_pool_max_connections") == 1
            assert watched.total("tasks_pool_idle_connections") == 0
        assert [(await each).status_code for each in waiting] == [200] * 3
    await asyncio.to_thread(watched.wait, lambda: watched.total("tasks_pool_waiting_requests") == 0)


def test_a_worker_that_stands_still_does_not_hide_it(serve: Callable[..., Served]) -> None:
    watched = Watched(serve, workers=2)
    watched.wait(lambda: len(watched.series("process_open_fds")) == 2)
    stuck = watched.service.pids()[0]

    def late() -> float:
        buckets = watched.series("tasks_event_loop_lag_seconds_bucket")
        return buckets["+Inf",] - buckets["0.5",]

    before = late()
    os.kill(stuck, signal.SIGSTOP)
    try:
        time.sleep(1)
        assert httpx.get(watched.url).status_code == 200
    finally:
        os.kill(stuck, signal.SIGCONT)
    watched.wait(lambda: late() == before + 1)


def test_nothing_is_left_behind_and_nothing_is_there_by_default(serve: Callable[..., Served], tmp_path: Path) -> None:
    port = free_port()
    watched = serve(env={"METRICS_PORT": str(port), "TMPDIR": str(tmp_path)}, workers=2)
    assert len([*tmp_path.glob("tasks-metrics-*/*.db")]) >= 2
    assert watched.stop() == 0
    assert [*tmp_path.glob("tasks-metrics-*")] == []
    assert serve(env={"TMPDIR": str(tmp_path)}).stop() == 0
    assert [*tmp_path.iterdir()] == []


def test_a_port_that_is_taken_stops_the_start(service: Served) -> None:
    env = {**os.environ, "PORT": str(free_port()), "METRICS_PORT": str(service.port)}
    done = subprocess.run([sys.executable, "-m", "app", "serve"], env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    told = f"METRICS_PORT {service.port} on HOST 127.0.0.1 is not available (Address already in use).\n"
    told += "Stop what listens there, or choose another port: METRICS_PORT in .env"
    assert done.stderr.splitlines()[-2:] == told.splitlines()
    assert not [*Path(tempfile.gettempdir()).glob(f"tasks-metrics-*/*_{service.process.pid}.db")]
