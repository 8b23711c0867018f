"""Several worker processes on one list of pieces, with one progress and one end.

Each worker has a thread here that does nothing but wait for it. The caller's thread alone calls
`progress`, and what that raises ends all workers at once.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from wimsmith.errors import Cancelled
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.wim.format.container import Wim
from wimsmith.offline.wim.workers import _frames, budget
from wimsmith.offline.wim.workers.child import Beat, Worker
from wimsmith.process import Limits

_WATCH_S = 0.1

Hire = Callable[[Beat], Worker]
"""Starts a worker that calls the given beat while one waits for it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A request to whichever worker is free.

    Pieces of one phase are done in any order, and before those of the next phase. `size` is in
    the unit that progress tells of this phase.
    """

    phase: str
    header: _frames.Header
    size: int
    payload: bytes = b""
    unit: str = "bytes"


@dataclass(slots=True)
class _State:
    next_piece: int = 0
    finished: int = 0
    phase: str = ""
    done: Counter[str] = field(default_factory=Counter)
    current: dict[int, int] = field(default_factory=dict)
    answers: dict[int, tuple[_frames.Header, bytes]] = field(default_factory=dict)
    failure: BaseException | None = None


class Crew:
    """Workers that do `pieces`, beginning at once. A context manager.

    Args:
        pieces: requests, those of one phase together; begun in this order.
        workers: how many at most.
        hire: starts one worker.
        progress: may raise to cancel; called by `watch` and `finish` only.
    """

    def __init__(
        self, pieces: Sequence[Piece], *, workers: int, hire: Hire, progress: Progress
    ) -> None:
        self._pieces = pieces
        self._hire = hire
        self._progress = progress
        self._units = {piece.phase: piece.unit for piece in pieces}
        self._totals: Counter[str] = Counter()
        self._begins: dict[str, int] = {}
        for number, piece in enumerate(pieces):
            self._totals[piece.phase] += piece.size
            self._begins.setdefault(piece.phase, number)
        self._state = _State(phase=pieces[0].phase if pieces else "")
        self._change = threading.Condition()
        self._stopped = threading.Event()
        count = min(workers, len(pieces))
        self._threads = [threading.Thread(target=self._work, args=(one,)) for one in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        with self._change:
            self._stopped.set()
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def watch(self) -> None:
        """Tell progress; raises what it raises, and what a worker failed with."""
        with self._change:
            state = self._state
            failure, phase = state.failure, state.phase
            done = state.done[phase] + sum(state.current.values())
        if failure is not None:
            raise failure
        if phase:
            self._progress(Event(phase, done, self._totals[phase], self._units[phase]))

    def finish(self) -> list[tuple[_frames.Header, bytes]]:
        """Wait for all pieces, and return the answer to each. Raises as `watch` does."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(_WATCH_S)
                self.watch()
        self.watch()
        return [self._state.answers[number] for number in range(len(self._pieces))]

    def _work(self, mine: int) -> None:
        try:
            with self._hire(self._beat) as worker:
                for number, piece in self._taken():
                    with self._counted(mine, piece) as tell:
                        header, payload = worker.ask(piece.header, [piece.payload], progress=tell)
                    self._finished(number, (header, bytes(payload)))
        except BaseException as error:  # noqa: BLE001 - the caller's thread must hear of everything
            with self._change:
                if self._state.failure is None:
                    self._state.failure = error
                self._stopped.set()
                self._change.notify_all()

    def _taken(self) -> Iterator[tuple[int, Piece]]:
        while (number := self._next()) is not None:
            yield number, self._pieces[number]

    def _next(self) -> int | None:
        """Number of the piece to do now, when all of the phases before it are finished."""
        state = self._state
        with self._change:
            while not self._stopped.is_set() and state.next_piece < len(self._pieces):
                number = state.next_piece
                phase = self._pieces[number].phase
                if state.finished >= self._begins[phase]:
                    state.next_piece += 1
                    state.phase = phase
                    return number
                self._change.wait()
        return None

    def _finished(self, number: int, answer: tuple[_frames.Header, bytes]) -> None:
        with self._change:
            self._state.answers[number] = answer
            self._state.finished += 1
            self._change.notify_all()

    @contextmanager
    def _counted(self, mine: int, piece: Piece) -> Iterator[Progress]:
        def tell(event: Event) -> None:
            with self._change:
                self._state.current[mine] = min(event.done, piece.size)

        yield tell
        with self._change:
            self._state.current[mine] = 0
            self._state.done[piece.phase] += piece.size

    def _beat(self) -> None:
        if self._stopped.is_set():
            raise Cancelled("its caller stopped")


def hire_reader(
    wim: Wim,
    beat: Beat,
    *,
    limits: Limits | None = None,
    writable: Sequence[Path] = (),
    keep_open: Sequence[int] = (),
) -> Worker:
    """A worker that has the files of a WIM open and reads what they hold.

    It writes below `writable` only, and nowhere by default. One that writes nowhere gives up root
    when it has opened them.
    """
    worker = Worker(
        opens_files=True,
        limits=limits or budget.reading_limits(len(wim.files)),
        writable=writable,
        links=bool(writable),
        keep_open=keep_open,
        beat=beat,
        grace_s=0,
    )
    paths = [os.fspath(one.path.absolute()) for one in wim.files]
    worker.ask({"do": "open", "files": paths, "drop_root": not writable})
    return worker
