"""What a durable job function sees, and what an engine must do.

A job function is plain code: `def service_image(job: Job) -> JsonValue`. Everything with an effect
happens in `job.step(name, function, *arguments)`; a finished step is not done again after a crash,
an interrupted one is. Names of steps and what they return are an interface with runs that were
started by an older program: JSON only, identifiers instead of objects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from sqlalchemy.orm import Session

from wimsmith.jobs.models import JobRow, Level
from wimsmith.offline.progress import Event

T = TypeVar("T")

RecordStep = Callable[[str, Callable[[], Any]], Any]
"""Engine's half of a step: run the function, or return what it returned before the crash."""


class Job(Protocol):
    """A job that runs."""

    @property
    def id(self) -> str: ...

    @property
    def params(self) -> Mapping[str, Any]: ...

    @property
    def actor(self) -> str: ...

    def step(self, name: str, function: Callable[..., T], /, *arguments: Any) -> T:
        """Do one durable step; `name` is a registered step, or one with `/DETAIL` behind it.

        Raises:
            WimsmithError: whatever `function` raised, the same again when replayed.
            Interrupted: the service is stopping; the job goes on at this step after the restart.
        """
        ...

    def progress(self, event: Event) -> None:
        """Tell how far the step is. Raises Cancelled or Interrupted."""
        ...

    def say(self, text: str, level: Level = Level.INFO) -> None:
        """Add a message to the events of the job."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """A named step of a job kind. One that is not cancellable runs to its end once it has begun."""

    name: str
    cancellable: bool = True


def _nothing(_session: Session, _row: JobRow) -> None:
    """Most kinds leave nothing behind."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job: its function, and its steps in order, from which kill points are enumerated.

    `give_up` is called, in the transaction that ends the job, when a job ends without its own
    function having had the last word: cancelled while queued, or parked by the engine.
    """

    name: str
    steps: tuple[Step, ...]
    run: Callable[[Job], Any]
    give_up: Callable[[Session, JobRow], None] = field(default=_nothing)

    def step(self, name: str) -> Step:
        """The registered step that `name` (perhaps with a detail) belongs to."""
        base = name.partition("/")[0]
        for step in self.steps:
            if step.name == base:
                return step
        raise LookupError(f"job kind {self.name} has no step {base}")


class Engine(Protocol):
    """Runs jobs durably: two at most of one lane never run at the same time."""

    def start(self, run: Callable[[str, RecordStep], None]) -> None:
        """Begin to run jobs by calling `run(job id, record)`; interrupted ones go on."""
        ...

    def enqueue(self, job_id: str, lane: str) -> None:
        """Run a job when its lane is free; asking again changes nothing."""
        ...

    def lost(self, job_id: str) -> bool | None:
        """Whether a job that should be running has ended here; None if it never was here."""
        ...

    def stop(self) -> None:
        """Run and record nothing more. Steps that still work are told to stop after this."""
        ...

    def join(self, timeout_s: float) -> bool:
        """Wait until nothing runs any more; False if something still does."""
        ...
