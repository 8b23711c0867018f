"""Engine for tests: runs a job in the thread that enqueues it, and remembers finished steps.

`crash_after` lets a test stop a job between two steps and enqueue it again, as a restart would.
"""

from collections.abc import Callable
from typing import Any

from wimsmith.jobs.port import RecordStep


class InlineEngine:
    """Runs at once, or when `run_pending` is called if it was made with `held=True`."""

    def __init__(self, *, held: bool = False) -> None:
        self.held = held
        self.executed: list[tuple[str, str]] = []
        self._run: Callable[[str, RecordStep], None] | None = None
        self._pending: list[str] = []
        self._recorded: dict[tuple[str, str], Any] = {}
        self._seen: set[str] = set()

    def start(self, run: Callable[[str, RecordStep], None]) -> None:
        self._run = run

    def enqueue(self, job_id: str, _lane: str) -> None:
        if job_id in self._seen:
            return
        self._seen.add(job_id)
        self._pending.append(job_id)
        if not self.held:
            self.run_pending()

    def run_pending(self) -> None:
        """Run what was enqueued, in order."""
        while self._pending:
            self.resume(self._pending.pop(0))

    def resume(self, job_id: str) -> None:
        """Run one job, without doing its recorded steps again."""
        assert self._run is not None
        self._run(job_id, lambda name, work: self._record(job_id, name, work))

    def lost(self, job_id: str) -> bool | None:
        return False if job_id in self._seen else None

    def stop(self) -> None:
        self._pending.clear()

    def join(self, _timeout_s: float) -> bool:
        return True

    def _record(self, job_id: str, name: str, work: Callable[[], Any]) -> Any:
        if (job_id, name) not in self._recorded:
            self.executed.append((job_id, name))
            self._recorded[job_id, name] = work()
        return self._recorded[job_id, name]
