"""Progress and cancel for work in which several threads wait for the codec."""

import threading

from wimsmith.errors import Cancelled
from wimsmith.offline.progress import Event, Progress


class Watch:
    """Tells progress, and lets every thread of one operation end soon when it is cancelled.

    `progress` may raise to cancel, which stops the watch. Only the thread that made the watch calls
    it: from `tell`, and again with the latest event from `beat`, which whoever waits for the codec
    calls often.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._latest = Event("start")
        self._thread = threading.get_ident()
        self._stopped = threading.Event()

    def tell(self, event: Event) -> None:
        """Pass an event on; may raise what `progress` raises."""
        self._latest = event
        self._ask()

    def beat(self) -> None:
        """Give a chance to cancel, in any thread.

        Raises:
            Cancelled: in another thread, after `stop`.
        """
        if threading.get_ident() == self._thread:
            self._ask()
        elif self._stopped.is_set():
            raise Cancelled("its caller stopped")

    def _ask(self) -> None:
        try:
            self._progress(self._latest)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Let the other threads end at their next beat."""
        self._stopped.set()


class Counter:
    """Adds up the bytes of one phase, and tells how many there are."""

    def __init__(self, phase: str, total: int, watch: Watch) -> None:
        self._phase, self._total, self._watch, self._done = phase, total, watch, 0
        if total:  # the first chunk of a solid resource takes minutes
            self(0)

    def __call__(self, count: int) -> None:
        self._done += count
        self._watch.tell(Event(self._phase, self._done, self._total, "bytes"))
