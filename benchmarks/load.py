"""The load: wrk for services, pgbench for the database alone. Both tell how much was done, and how fast."""

import json
import math
import os
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import NamedTuple

from benchmarks.data import Population
from benchmarks.toolbox import find
from benchmarks.workloads import KEY, WORKLOADS, Asking, scripts

# Picks requests that are written out beforehand: what a request costs the load, it costs the database too,
# with which it shares a core. A request that takes a key comes in two parts, and a new key goes between them.
LUA = """
local requests = {{
{requests}
}}
local count, random = #requests, math.random
local prefix, number = nil, 0

function init(arguments)
    math.randomseed({seed})
    prefix = arguments[1]
end

function request()
    local chosen = requests[random(count)]
    if type(chosen) == 'string' then
        return chosen
    end
    number = number + 1
    return chosen[1] .. prefix .. number .. chosen[2]
end

function done(summary, latency)
    local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
    io.write(string.format('{{"requests": %d, "microseconds": %d, "failed": %d, "refused": %d, "p50": %d, "p99": %d}}',
        summary.requests, summary.duration, failed, summary.errors.status,
        latency:percentile(50), latency:percentile(99)))
end
"""


class Load(NamedTuple):
    """What came of one go: requests answered in so many seconds; the latencies are in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    trouble: str = ""  # why it does not count


class Wrk:
    """wrk, with a script for each workload in `folder`."""

    def __init__(self, folder: Path, population: Population) -> None:
        """Write no script yet."""
        self._folder = folder
        self._asking = Asking(population)

    def run(self, workload: str, port: int, seconds: float, connections: int) -> Load:
        """Ask the service on this port for so many seconds, which may be a fraction of one."""
        script = self._script(workload)
        whole = math.ceil(seconds)
        size = ("--threads=1", f"--connections={connections}", f"--duration={whole}s")
        process = subprocess.Popen(  # noqa: S603
            [str(find("wrk")), *size, "--latency", f"--script={script}", f"http://127.0.0.1:{port}", "--", _prefix()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            output, _ = process.communicate(timeout=whole + 10 if whole == seconds else seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it stops, and tells what it has
            output, _ = process.communicate(timeout=10)
        try:
            told = json.loads(output[output.rindex("{") :])
        except ValueError:
            return Load(0, seconds, 0, 0, f"wrk said: {output.strip()[-200:]}")
        return Load(
            told["requests"],
            told["microseconds"] / 1e6,
            told["p50"] / 1000,
            told["p99"] / 1000,
            _trouble(workload, told),
        )

    def _script(self, workload: str) -> Path:
        path = self._folder / f"{workload}.lua"
        if not path.exists():
            self._folder.mkdir(exist_ok=True)
            lines = [f"    {_in_lua(each.decode())}," for each in self._asking.requests(workload)]
            path.write_text(LUA.format(requests="\n".join(lines), seed=7))
        return path


def _in_lua(request: str) -> str:
    head, key, tail = request.partition(KEY)
    return f"{{{json.dumps(head)}, {json.dumps(tail)}}}" if key else json.dumps(request)


def _prefix() -> str:
    """What the keys of one go begin with: no other go's do. With the number they are as long as a UUID."""
    return f"{uuid.uuid4()}"[:-6]


def _trouble(workload: str, told: dict[str, int]) -> str:
    if told["failed"]:
        return f"{told['failed']} connections failed"
    if not told["requests"]:
        return "nothing was answered"
    refused = told["refused"]
    if WORKLOADS[workload].status == 401 and refused != told["requests"]:
        return f"{told['requests'] - refused} of {told['requests']} were not refused"
    if WORKLOADS[workload].status != 401 and refused:
        return f"{refused} of {told['requests']} were refused"
    return ""


def pgbench(workload: str, url: str, seconds: float, connections: int, population: Population) -> Load:
    """Ask the database alone: the same statements, prepared, on as many connections as the services have."""
    with tempfile.TemporaryDirectory(prefix="tasks-pgbench-") as folder:
        files = []
        for number, (text, weight) in enumerate(scripts(workload, population)):
            path = Path(folder) / f"{number}.sql"
            path.write_text(text)
            files.append(f"--file={path}@{weight}")
        texts = ("--define=title=Something new, to be done", "--define=description=Something to be kept")
        size = (f"--client={connections}", "--jobs=1", f"--time={math.ceil(seconds)}")
        done = subprocess.run(  # noqa: S603
            [str(find("pgbench")), "--protocol=prepared", "--no-vacuum", "--log", *size, *texts, *files, url],
            cwd=folder,
            env={**os.environ, "PGOPTIONS": "-c plan_cache_mode=force_generic_plan"},  # as the limit has it
            capture_output=True,
            text=True,
            check=False,
        )
        logs = [line.split() for path in Path(folder).glob("pgbench_log.*") for line in path.read_text().splitlines()]
    if done.returncode or not logs:
        return Load(0, seconds, 0, 0, f"pgbench said: {done.stderr.strip()[-200:]}")
    waits = sorted(int(line[2]) / 1000 for line in logs)
    return Load(len(waits), math.ceil(seconds), waits[len(waits) // 2], waits[len(waits) * 99 // 100])
