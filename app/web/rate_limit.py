"""The rate limit: a sliding window counter for each client, in memory that all workers of a service share.

Within any time as long as the window, no more requests pass than the limit says. The window slides by twentieths of its
length, so a client that has spent all has it back 21 twentieths later at the latest. (A fixed window, a token bucket
and GCRA let up to twice the limit pass within one window.)

A request counts as 1, and as more where it costs more. A client with anything left is let through; what the request
turns out to cost beyond that is charged, and delays the next ones.

The memory is a hash table of one size. Where a set of it is full, the client with the fewest requests is forgotten, and
no request is refused for that.
"""

import fcntl
import math
import mmap
import os
import struct
import tempfile
import time
from bisect import bisect_left
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path

from app.config.parsing import Rate
from app.web.headers import RawHeaders

SHARED = "TASKS_LIMITS"  # the variable that tells workers the file that is their memory

BUCKETS = 20  # of a window, each with the requests of a twentieth of it; the current bucket is one more
# A client's row begins with its state: the numbers of the current bucket, and of the oldest one with requests; the
# requests of all past buckets, and of the current one. Then come those of each past bucket, the oldest first.
STATE = struct.Struct(">2Q2I")
COUNTER = struct.Struct(f"{STATE.format}{BUCKETS}I")
CURRENT = struct.Struct(">I")
CURRENT_AT = STATE.size - CURRENT.size
DIGEST_BYTES = 8  # of a client's name
WAYS = 8  # rows in a set, which those share whose digests end alike
SETS = 4096
DIGESTS_BYTES = WAYS * DIGEST_BYTES  # of a set, before its rows
SET_BYTES = DIGESTS_BYTES + WAYS * COUNTER.size
SECRET_BYTES = 16
SIZE = SECRET_BYTES + SETS * SET_BYTES  # 4 MB, for 32,768 users and addresses
SPAN = -(-SIZE // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY  # from one table in the file to the next
REQUESTS, SIGN_UPS = 0, 1  # what is counted, each in a table of its own
CACHED_DIGESTS = 4096
LOCK_ATTEMPTS = 200


class FileLock:
    """The kernel's lock on a file. It ends with the process that holds it.

    A worker that was stopped while it held the lock delays nobody: after `LOCK_ATTEMPTS` the others go on without, and
    one of two concurrent requests may go uncounted.
    """

    def __init__(self, file: int) -> None:
        self._file = file

    def __enter__(self) -> None:
        for _ in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0)  # the process that has it goes first
            else:
                return

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)


class SlidingWindowLimiter:
    """Counts requests by the names of clients."""

    def __init__(self, rate: Rate, path: str | None = None, what: int = REQUESTS) -> None:
        """Count together with all that have this file, and count the same; without one, alone."""
        self._limit = rate.requests
        self._bucket_seconds = rate.seconds / BUCKETS
        self._policy = (b"ratelimit-policy", b'"default";q=%d;w=%d' % rate)
        file = -1 if path is None else os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._lock = nullcontext() if path is None else FileLock(file)
        self._memory = mmap.mmap(file, SIZE, offset=0 if path is None else what * SPAN)
        if path is None:
            self._memory[:SECRET_BYTES] = os.urandom(SECRET_BYTES)
        self._secret = self._memory[:SECRET_BYTES]
        self._place = lru_cache(CACHED_DIGESTS)(self._place_of)

    def charge(self, name: str, cost: int) -> RawHeaders:
        """Count what a request costs beyond what was taken when it came, also where that much is not left.

        Returns headers that tell what is left.
        """
        return self.take(name, cost, always=True)[0]

    def take(self, name: str, cost: int = 1, *, always: bool = False) -> tuple[RawHeaders, int]:
        """Count a request of this cost: `always`, or if anything is left.

        Returns the headers RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10), and the seconds to
        wait: 0 but for one too many.
        """
        digest, start = self._place(name)
        with self._lock:
            now = time.monotonic()  # all processes of a machine have it in common
            bucket = int(now / self._bucket_seconds)
            row = self._find(digest, start) or self._make_room(digest, start, bucket)
            oldest, past, current = self._state(row, bucket)
            left = self._limit - past - current
            is_refused = left <= 0 and not always
            if not is_refused:
                CURRENT.pack_into(self._memory, row + CURRENT_AT, current + cost)
                left -= cost
            if left < 0:  # until the end of the bucket by which enough of them count no more
                oldest = bucket - BUCKETS + bisect_left([*accumulate(self._counts(row))], 1 - left)
                left = 0
        seconds = math.ceil((oldest + BUCKETS + 1) * self._bucket_seconds - now) or 1
        limit = (b"ratelimit", b'"default";r=%d;t=%d' % (left, seconds))
        return [self._policy, limit], seconds if is_refused else 0

    def give_back(self, name: str) -> None:
        """Uncount the last request of those that were counted."""
        digest, start = self._place(name)
        with self._lock:
            bucket = int(time.monotonic() / self._bucket_seconds)
            if not (row := self._find(digest, start)):
                return  # forgotten meanwhile
            self._state(row, bucket)
            counts = self._counts(row)
            last = max((place for place, count in enumerate(counts) if count), default=BUCKETS)
            counts[last] = max(counts[last] - 1, 0)
            self._write(row, bucket, counts)

    def _place_of(self, name: str) -> tuple[bytes, int]:
        """Return a name's digest, and where its set is. Nobody outside can tell whose sets are the same."""
        digest = blake2b(name.encode(), key=self._secret, digest_size=DIGEST_BYTES).digest()
        return digest, SECRET_BYTES + int.from_bytes(digest) % SETS * SET_BYTES

    def _find(self, digest: bytes, start: int) -> int:
        """Return where the row of a digest is; 0 where its set has none."""
        way, misaligned = divmod(self._memory.find(digest, start, start + DIGESTS_BYTES) - start, DIGEST_BYTES)
        return 0 if way < 0 or misaligned else start + DIGESTS_BYTES + way * COUNTER.size

    def _state(self, row: int, bucket: int) -> tuple[int, int, int]:
        """Return the oldest bucket with requests, the requests of the past ones, and those of the current bucket."""
        newest, oldest, past, current = STATE.unpack_from(self._memory, row)
        if newest >= bucket:
            return oldest, past, current
        passed = min(bucket - newest, BUCKETS + 1)
        return self._write(row, bucket, self._counts(row)[passed:] + [0] * passed)

    def _counts(self, row: int) -> list[int]:
        """Return the requests of each bucket, the current one's last."""
        _, _, _, current, *past = COUNTER.unpack_from(self._memory, row)
        return [*past, current]

    def _write(self, row: int, bucket: int, counts: list[int]) -> tuple[int, int, int]:
        """Write a row, and return its state."""
        *past, current = counts
        oldest = bucket - BUCKETS + next((place for place, count in enumerate(past) if count), BUCKETS)
        COUNTER.pack_into(self._memory, row, bucket, oldest, sum(past), current, *past)
        return oldest, sum(past), current

    def _make_room(self, digest: bytes, start: int, bucket: int) -> int:
        """Give the digest the row of its set in which there are fewest requests."""
        rows = range(start + DIGESTS_BYTES, start + SET_BYTES, COUNTER.size)
        requests = [sum(self._state(row, bucket)[1:]) for row in rows]
        way = requests.index(min(requests))
        at = start + way * DIGEST_BYTES
        self._memory[at : at + DIGEST_BYTES] = digest
        self._memory[rows[way] : rows[way] + COUNTER.size] = bytes(COUNTER.size)
        return rows[way]


@contextmanager
def shared() -> Generator[None]:
    """Let the processes that are started within the context count together."""
    folder = tempfile.TemporaryDirectory(prefix="tasks-limits-", ignore_cleanup_errors=True)
    with folder as name, Path(name, "counts").open("wb") as file:
        for what in (REQUESTS, SIGN_UPS):
            file.seek(what * SPAN)
            file.write(os.urandom(SECRET_BYTES))
        file.truncate(SIGN_UPS * SPAN + SIZE)
        file.flush()
        still = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")  # is there when somebody has tidied the folder up
        os.environ[SHARED] = f"{still}" if still.exists() else file.name
        try:
            yield
        finally:
            del os.environ[SHARED]


def limiter(rate: Rate | None, what: int = REQUESTS) -> SlidingWindowLimiter | None:
    """Return the limiter of this process, if there is a limit."""
    return SlidingWindowLimiter(rate, os.environ.get(SHARED), what) if rate else None
