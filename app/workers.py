"""Several processes on one socket: started, watched, replaced one by one (SIGHUP), and stopped together.

uvicorn's supervisor brings a new worker into service before it retires an old one. But it hears a signal only between
two looks at its workers, and while it stops it keeps the socket, on which nobody answers any more. And a worker that
dies while it is asked for a sign of life it waits for as for one that is slow. And two threads of a new worker may make
a server each, of which one runs, and the other is asked whether it does: then it is never ready.
"""

import signal
import threading
from types import FrameType
from typing import Any

from uvicorn.supervisors import Multiprocess, multiprocess


class Worker(multiprocess.Process):
    """A worker that tells of the server that it runs."""

    def target(self, sockets: Any = None) -> None:
        """Make the server before another thread asks for it, and run it."""
        _ = self.server
        super().target(sockets)


multiprocess.Process = Worker  # the name by which the supervisor makes its workers


class Workers(Multiprocess):
    """uvicorn's supervisor, which stops at once, also in the middle of replacing its workers, and misses no death."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what uvicorn's takes, and hear what stops it."""
        super().__init__(*args, **kwargs)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def keep_subprocess_alive(self) -> None:
        """Replace those that have died or do not answer in time."""
        for worker in self.processes:
            worker.child_conn.close()  # held by the worker alone, it ends with the worker, and so does a wait for it
        super().keep_subprocess_alive()

    def terminate_all(self) -> None:
        """Stop all, and hold nobody in a queue that nobody serves."""
        for socket in self.sockets:
            socket.close()
        super().terminate_all()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        # In a thread: what was interrupted here may hold the event's lock.
        threading.Thread(target=self.should_exit.set).start()
        for worker in self.processes:
            worker.process.terminate()
