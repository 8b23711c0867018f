"""Codec calls that run beside their caller, several at once, with their results in order."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from types import TracebackType
from typing import Generic, Self, TypeVar

from wimsmith.offline.wim.writing.watch import Watch

_BEAT_S = 0.2
_T = TypeVar("_T")


class Pipeline(Generic[_T]):
    """Runs calls in `workers` threads and gives each result to what was submitted with it.

    At most `workers` + 1 calls are begun and not yet taken, so that memory stays bounded while
    every worker has something to do. A context manager; if it is left by an error, calls that run
    are told to end by `watch.stop`.
    """

    def __init__(self, workers: int, watch: Watch) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="packing")
        self._watch = watch
        self._most = workers + 1
        self._pending: deque[tuple[Future[_T], Callable[[_T], None]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._watch.stop()
        self._executor.shutdown(cancel_futures=True)

    def submit(self, call: Callable[[], _T], take: Callable[[_T], None]) -> None:
        """Begin a call; `take` gets its result in this thread, in the order of submission."""
        while len(self._pending) >= self._most:
            self._take_first()
        self._pending.append((self._executor.submit(call), take))

    def drain(self) -> None:
        """Take the results of all calls."""
        while self._pending:
            self._take_first()

    def _take_first(self) -> None:
        future, take = self._pending.popleft()
        while True:
            try:
                result = future.result(_BEAT_S)
            except NotYet:
                if future.done():
                    raise
                self._watch.beat()
            else:
                break
        take(result)
