"""The loop that does what is due: one thread, one task after the other, never two at a time."""

import logging
import threading
from collections.abc import Callable, Sequence

log = logging.getLogger("wimsmith.jobs")


class Scheduler:
    """Calls every task, waits `interval_s` or until woken, and again.

    A task that raises is logged and called again next time. Missed times are not made up for: a
    task looks at what is due now, so it does once what should have happened while we were away.
    """

    def __init__(self, tasks: Sequence[Callable[[], object]], interval_s: float) -> None:
        self._tasks = tuple(tasks)
        self._interval_s = interval_s
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="wimsmith-scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    def stop(self) -> None:
        """Finish the running task and end the thread."""
        self._stopped.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    def tick(self) -> None:
        """Call every task once."""
        for task in self._tasks:
            try:
                task()
            except Exception:
                log.exception("Scheduled task %s failed", getattr(task, "__name__", task))

    def _loop(self) -> None:
        while not self._stopped.is_set():
            self.tick()
            self._woken.wait(self._interval_s)
            self._woken.clear()
