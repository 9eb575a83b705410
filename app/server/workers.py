"""Several processes on one socket: started, watched, replaced one by one (SIGHUP), and stopped together.

uvicorn's supervisor starts a new worker before it stops an old one. What it gets wrong is put right here. It handles
signals only between two rounds of health checks. While it stops, it keeps the socket, which no worker serves any more.
For a worker that dies during its health check, it waits as for a slow one. And two threads of a new worker may make a
server each: one runs, the other is asked whether it has started, and the worker never becomes ready.
"""

import logging
import signal
import threading
from socket import socket
from types import FrameType

from uvicorn import Config
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

logger = logging.getLogger(__name__)


class Workers(Multiprocess):
    """uvicorn's supervisor, which stops immediately, also while it replaces workers, and notices each that dies."""

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def restart_all(self) -> None:
        """Replace each worker when its successor is ready. Where one is not in time, keep the rest of them."""
        for place, old in enumerate(self.processes):
            new = Process(self.config, self.sockets)
            _ = new.server  # made before there are two threads
            new.start()
            if not new.wait_until_ready(self.config.timeout_worker_healthcheck, self.should_exit):
                new.kill()
                new.join()
                if not self.should_exit.is_set():
                    logger.error("The new worker %d was not ready in time. The others stay as they are.", new.pid)
                return
            old.terminate()
            old.join()
            self.processes[place] = new

    def keep_subprocess_alive(self) -> None:
        """Replace the workers that have died or fail their health check."""
        for worker in self.processes:
            worker.child_conn.close()  # the worker has the only other copy: when it dies, a wait for its answer ends
        super().keep_subprocess_alive()

    def terminate_all(self) -> None:
        """Stop all workers, and accept no connection that none of them will serve."""
        for each in self.sockets:
            each.close()
        super().terminate_all()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        # In a thread: what was interrupted here may hold the event's lock.
        threading.Thread(target=self.should_exit.set).start()
        for worker in self.processes:
            worker.process.terminate()
