"""How much somebody may ask: so many requests within a window of time, counted exactly over all workers of a service.

A request counts for one, and for more where it costs more. Whoever has anything left is let through; what their request
turns out to cost beyond that is charged, and delays what they may ask next.

The window slides, by twentieths of its length. Within any time as long as it, no more requests are let through than
the limit says, and who has spent them has them back 21 twentieths later at the latest. (Around the edge of a window
that stands still it would be twice as many, and so it would be where a bucket is refilled from its first moment on.)

The counts are in memory that the workers share, so that no request goes to the database for them. It is of one size,
whoever asks: where it gets narrow, those who have asked least are forgotten first, and nobody is refused for that.
"""

import fcntl
import math
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from app.edge.headers import RawHeaders
from app.variables import Rate

SHARED = "TASKS_LIMITS"  # the variable that tells workers the file that is their memory

PARTS = 20  # of a window; and one more, which is passing
PAST = struct.Struct(f">{PARTS}I")  # the requests in each, the oldest first
# Which part is passing, the oldest in which there are requests, all of the past ones', and those of the passing one.
NOW = struct.Struct(">2Q2I")
PASSING = struct.Struct(">I")
ROW_BYTES = NOW.size + PAST.size
DIGEST_BYTES = 8
WAYS = 8  # rows in a set, which those share whose digests end alike
SETS = 4096
HEAD_BYTES = WAYS * DIGEST_BYTES  # of a set: the digests, and then the rows
SET_BYTES = HEAD_BYTES + WAYS * ROW_BYTES
SECRET_BYTES = 16
SIZE = SECRET_BYTES + SETS * SET_BYTES  # 4 MB, for 32,768 users and addresses
SPAN = -(-SIZE // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY  # from one count in the file to the next
REQUESTS, SIGN_UPS = 0, 1  # what is counted, each in a part of the file
REMEMBERED = 4096  # names whose digest need not be made again

TRIES = 200  # to have the lock: the others do not wait for a worker that was stopped while it had it


class Limiter:
    """Counts requests by the names of those who ask."""

    def __init__(self, rate: Rate, path: str | None = None, what: int = REQUESTS) -> None:
        """Count together with all that have this file, and count the same; with none, alone."""
        self._limit = rate.requests
        self._step = rate.seconds / PARTS
        self._policy = (b"ratelimit-policy", b'"default";q=%d;w=%d' % rate)
        self._file = -1 if path is None else os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._memory = mmap.mmap(self._file, SIZE, offset=0 if path is None else what * SPAN)
        if path is None:
            self._memory[:SECRET_BYTES] = os.urandom(SECRET_BYTES)
        self._secret = self._memory[:SECRET_BYTES]
        self._place = lru_cache(REMEMBERED)(self._place_of)

    def charge(self, name: str, cost: int) -> RawHeaders:
        """Count what a request costs beyond what was taken when it came, also where that much is not left.

        Returns headers that tell what is left.
        """
        return self.take(name, cost, is_let=True)[0]

    def take(self, name: str, cost: int = 1, *, is_let: bool = False) -> tuple[RawHeaders, int]:
        """Count a request of this cost, unless nothing is left and it is not let through all the same.

        Returns headers that tell what is left, and the seconds to wait: 0 but for one too many.
        """
        digest, start = self._place(name)
        if self._file < 0:
            return self._take(digest, start, cost, is_let)
        self._lock()
        try:
            return self._take(digest, start, cost, is_let)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def give_back(self, name: str) -> None:
        """Uncount the last request of those that were counted."""
        digest, start = self._place(name)
        if self._file < 0:
            return self._give_back(digest, start)
        self._lock()
        try:
            return self._give_back(digest, start)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _give_back(self, digest: bytes, start: int) -> None:
        part = int(time.monotonic() / self._step)
        way, astray = divmod(self._memory.find(digest, start, start + HEAD_BYTES) - start, DIGEST_BYTES)
        at = start + HEAD_BYTES + way * ROW_BYTES
        if way < 0 or astray:
            return  # forgotten meanwhile
        oldest, _, passing = self._row(at, part)
        counts = [*PAST.unpack_from(self._memory, at + NOW.size), passing]
        last = max((place for place, count in enumerate(counts) if count), default=PARTS)
        counts[last] = max(counts[last] - 1, 0)
        *past, passing = counts
        self._memory[at : at + ROW_BYTES] = NOW.pack(part, oldest, sum(past), passing) + PAST.pack(*past)

    def _take(self, digest: bytes, start: int, cost: int, is_let: bool) -> tuple[RawHeaders, int]:
        now = time.monotonic()  # all processes of a machine have it in common
        part = int(now / self._step)
        found = self._memory.find(digest, start, start + HEAD_BYTES)
        way, astray = divmod(found - start, DIGEST_BYTES)
        if found < 0 or astray:
            way = self._make_room(digest, start, part)
        at = start + HEAD_BYTES + way * ROW_BYTES
        oldest, past, passing = self._row(at, part)
        left = self._limit - past - passing
        if left <= 0 and not is_let:
            seconds = self._seconds(self._part_that_frees(at, part, 1 - left), now)
            return [self._policy, (b"ratelimit", b'"default";r=0;t=%d' % seconds)], seconds
        PASSING.pack_into(self._memory, at + NOW.size - PASSING.size, passing + cost)
        if (left := left - cost) < 0:
            left, oldest = 0, self._part_that_frees(at, part, 1 - left)
        return [self._policy, (b"ratelimit", b'"default";r=%d;t=%d' % (left, self._seconds(oldest, now)))], 0

    def _seconds(self, part: int, now: float) -> int:
        """Return how long what was asked in a part still counts."""
        return math.ceil((part + PARTS + 1) * self._step - now) or 1

    def _part_that_frees(self, at: int, part: int, wanted: int) -> int:
        """Return the part with which so much has become free, the oldest first."""
        for place, spent in enumerate(PAST.unpack_from(self._memory, at + NOW.size)):
            wanted -= spent
            if wanted <= 0:
                return part - PARTS + place
        return part

    def _place_of(self, name: str) -> tuple[bytes, int]:
        """Return what stands for a name, and where its set is. Nobody outside can tell whose sets are the same."""
        digest = blake2b(name.encode(), key=self._secret, digest_size=DIGEST_BYTES).digest()
        return digest, SECRET_BYTES + int.from_bytes(digest) % SETS * SET_BYTES

    def _row(self, at: int, part: int) -> tuple[int, int, int]:
        """Return the oldest part in a row, the requests of the past ones, and those of this one, which is passing."""
        newest, oldest, past, passing = NOW.unpack_from(self._memory, at)
        if newest < part:
            row = self._memory[at + NOW.size : at + ROW_BYTES] + PASSING.pack(passing)
            row = row[4 * (part - newest) :].ljust(PAST.size, b"\0")
            oldest = part - len(row.lstrip(b"\0") + b"\0\0\0") // 4
            past, passing = sum(PAST.unpack(row)), 0
            self._memory[at : at + ROW_BYTES] = NOW.pack(part, oldest, past, passing) + row
        return oldest, past, passing

    def _make_room(self, digest: bytes, start: int, part: int) -> int:
        """Give the digest the row of a set in which there are fewest requests."""
        rows = [start + HEAD_BYTES + way * ROW_BYTES for way in range(WAYS)]
        requests = [sum(self._row(at, part)[1:]) for at in rows]
        way = requests.index(min(requests))
        at = start + way * DIGEST_BYTES
        self._memory[at : at + DIGEST_BYTES] = digest
        self._memory[rows[way] : rows[way] + ROW_BYTES] = NOW.pack(part, part, 0, 0).ljust(ROW_BYTES, b"\0")
        return way

    def _lock(self) -> None:
        """Have the memory alone. Without it, after so many tries, one of two requests at once may go uncounted."""
        for _ in range(TRIES):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0)  # whoever has it goes first
            else:
                return


@contextmanager
def shared() -> Generator[None]:
    """Have the processes that are started meanwhile count together."""
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


def limiter(rate: Rate | None, what: int = REQUESTS) -> Limiter | None:
    """Return what counts in this process, if there is a limit."""
    return Limiter(rate, os.environ.get(SHARED), what) if rate else None
