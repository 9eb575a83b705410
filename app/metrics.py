"""What Prometheus is told of this worker: its requests, its pool, its event loop, its memory of tokens, its process.

Written into files of its own, which `exposition` reads. Imported only where METRICS_PORT is set: prometheus_client
looks once, when it is imported, for the folder of those files. No label has a value that a caller can choose.
"""

import asyncio

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from app.auth.authenticator import Authenticator
from app.database import database

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
SECONDS_BETWEEN_TICKS = 0.1
TICKS_BETWEEN_LOOKS = 10

POOL = {
    "tasks_pool_connections": "Connections to the database.",
    "tasks_pool_idle_connections": "Connections that nobody is using.",
    "tasks_pool_max_connections": "Connections that there may be at most.",
    "tasks_pool_waiting_requests": "Requests that wait for a connection.",
}
PROCESS = {
    "process_resident_memory_bytes": "Resident memory.",
    "process_virtual_memory_bytes": "Virtual memory.",
    "process_start_time_seconds": "When the process started, since the Unix epoch.",
    "process_open_fds": "Open file descriptors.",
    "process_max_fds": "File descriptors that there may be at most.",
}


class Metrics:
    """The metrics of one process. What happens is counted as it happens, what is there once a second."""

    def __init__(self, authenticator: Authenticator, registry: CollectorRegistry | None = None) -> None:
        """Begin at zero. In a registry of our own: the default one has gauges that know only one process."""
        own = registry or CollectorRegistry()
        self._requests = Counter(
            "tasks_http_requests", "Requests answered.", ("method", "route", "status"), registry=own
        )
        self._seconds = Histogram(
            "tasks_http_request_duration_seconds",
            "From a request's head to the end of its answer.",
            ("method", "route"),
            buckets=REQUEST_BUCKETS,
            registry=own,
        )
        self._lag = Histogram(
            "tasks_event_loop_lag_seconds",
            "How much later than asked for the event loop woke a timer.",
            buckets=LAG_BUCKETS,
            registry=own,
        )
        self._lookups = Counter(
            "tasks_token_cache_lookups", "Tokens looked for among the verified ones.", ("result",), registry=own
        )
        self._cpu = Counter("process_cpu_seconds", "User and system CPU time.", registry=own)
        self._gauges = {
            # One series for each worker that lives, by its process id.
            name: Gauge(name, told, multiprocess_mode="liveall", registry=own)
            for name, told in (POOL | PROCESS).items()
        }
        self._children: dict[tuple[str, str | None, int], tuple[Counter, Histogram]] = {}
        self._totals: dict[Counter, float] = {}  # as they were when last looked at
        self._authenticator = authenticator
        self._process = ProcessCollector(registry=None)

    def served(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count one answer."""
        key = method, route, status
        children = self._children.get(key)
        if children is None:
            names = method, route or "-"
            children = self._requests.labels(*names, str(status)), self._seconds.labels(*names)
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    async def run(self) -> None:
        """Look at what is no event, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.look()
            for _ in range(TICKS_BETWEEN_LOOKS):
                due = loop.time() + SECONDS_BETWEEN_TICKS
                await asyncio.sleep(SECONDS_BETWEEN_TICKS)
                self._lag.observe(max(loop.time() - due, 0))

    def look(self) -> None:
        """Write down how things are now."""
        if (pool := database.pool) is not None:
            sizes = pool.get_size(), pool.get_idle_size(), pool.get_max_size(), pool.get_waiting_size()
            for name, size in zip(POOL, sizes, strict=True):
                self._gauges[name].set(size)
        self._reach(self._lookups.labels("hit"), self._authenticator.hits)
        self._reach(self._lookups.labels("miss"), self._authenticator.misses)
        for family in self._process.collect():
            [sample] = family.samples
            if sample.name == "process_cpu_seconds_total":
                self._reach(self._cpu, sample.value)
            else:
                self._gauges[sample.name].set(sample.value)

    def _reach(self, counter: Counter, total: float) -> None:
        """Add what has come since the last look."""
        counter.inc(total - self._totals.get(counter, 0))
        self._totals[counter] = total
