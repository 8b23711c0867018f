"""What servicing asks of whoever changes images: one interface for the site and for commands.

A backend answers questions about files, and opens *sessions*. A session is one run on one image:
whatever its steps change becomes one new file in one `commit`, or nothing. The result of each step
is a folder, named by the caller, that appears whole or not at all. A run that is taken up after a
crash opens a session with the folders of the steps that were done. What is in such a folder is the
backend's own affair: a change set here, the answer to a job elsewhere.

One backend does all of a run: `choosing.py` decides which. Two writers in one image would each
work on what the other has not seen.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from wimsmith.offline.commit import CommitReport
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.edits.kinds import Edit
from wimsmith.offline.facts import ImageFacts
from wimsmith.offline.packages.facts import UpdateFacts
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.verdicts import Finding, Verdict
from wimsmith.offline.wim.verbs.export import ExportReport

NOTHING_DONE: Mapping[int, Sequence[Path]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Probe:
    """One index: `facts` is None where there is no Windows; `health` is what stops every change."""

    index: int
    facts: ImageFacts | None
    health: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class PlannedUpdate:
    """An update at its place in a run; `finding` says why it is not applied, if that is known."""

    update: Path
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class GateReport:
    """Whether an index may be changed: `findings` say why not, `rules` what was tried, for JSON."""

    findings: tuple[Finding, ...]
    rules: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What became of one step on one index.

    Attributes:
        verdict: `APPLIED` if the index is now, or was already, as wanted.
        code, text: of the finding that decided.
        findings: all reasons, the one that decided first. Of a file with several packages that is
            applied: why some of them are not required.
        packages: names of the packages concerned, the top one first.
        folder: where the result of the step was saved; None if it changed nothing.
    """

    verdict: Verdict
    code: str
    text: str
    findings: tuple[Finding, ...] = ()
    packages: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def changed(self) -> bool:
        return self.folder is not None


@dataclass(frozen=True, slots=True)
class CleanUpReport:
    """What a clean-up did.

    Attributes:
        reset_base: whether what is installed was made permanent.
        text: one sentence for people.
        removed: names of packages, components and the like that went.
        emptied: names of components whose files went.
        counts: how many things of a `kind` had which `fate`, and for what `reason`.
        logical_bytes: size of the files that went, each counted once, before packing.
        packed_bytes: what the content that nobody needs any more took in the file.
        folder: where the result was saved; None if there was nothing to do.
        warnings: sentences about what was asked for and not done: Windows does not reset the base
            of an image that has switched this off, and no more does a backend.
    """

    reset_base: bool
    text: str
    removed: tuple[str, ...]
    emptied: tuple[str, ...]
    counts: tuple[Mapping[str, Any], ...]
    logical_bytes: int
    packed_bytes: int
    folder: Path | None
    warnings: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.folder is not None


class Session(Protocol):
    """One run on one image; `index` is the number of an index, `out` a folder that is not there.

    Steps see what the steps before them did. What is wrong with an update, a package or a feature
    is a verdict. Errors are raised for the image and for this machine: DamagedInput, OSError, and
    what the progress raises to cancel.
    """

    def gate(self, index: int) -> GateReport:
        """Whether an index may be changed at all; to be asked before its first change."""

    def plan(self, index: int, updates: Sequence[Path]) -> tuple[PlannedUpdate, ...]:
        """The order in which updates go into an index as it is now; nothing is changed."""

    def apply(self, index: int, update: Path, out: Path) -> StepOutcome:
        """Install an update file."""

    def remove(self, index: int, package: str, out: Path) -> StepOutcome:
        """Remove an installed package, named by its identity or by the KB number of an update."""

    def set_features(self, index: int, wanted: Mapping[str, bool], out: Path) -> StepOutcome:
        """Switch features on (True) and off."""

    def edit(self, index: int, edits: Sequence[Edit], out: Path) -> StepOutcome:
        """Carry out edits of files, of the registry and the like: all of them, or none."""

    def clean_up(self, index: int, out: Path, *, reset_base: bool) -> CleanUpReport:
        """Remove superseded components; with `reset_base` what is installed stays for good.

        Raises:
            CleanUpFailed: it cannot be done; nothing of the run may be committed then.
        """

    def commit(self, target: Path | None) -> CommitReport:
        """Write all that was done as the new file `target`, and prove it; ends the session.

        None replaces the image in one step, which the session must have been opened for.

        Raises:
            VerificationFailed: the new file is not what was planned; it has been removed.
            InvalidState: nothing was changed, or the session has ended.
        """

    def discard(self) -> None:
        """Forget all that was done; ends the session."""


class Backend(Protocol):
    """Somebody who can change images."""

    @property
    def name(self) -> str:
        """As runs and logs name it."""

    def probe(self, image: Path, index: int, progress: Progress = silent) -> Probe:
        """What an index is, what is installed in it, and what stops changes.

        Raises:
            NoSuchIndex, DamagedInput, OSError
        """

    def inspect(self, update: Path, work: Path, progress: Progress = silent) -> UpdateFacts:
        """What an update says of itself; its obstacles are why this backend refuses it.

        Args:
            update: the file.
            work: folder to expand it in, which the caller removes.
            progress: may raise to cancel.

        Raises:
            DamagedInput, LimitExceeded, OSError
        """

    def open(
        self,
        image: Path,
        work: Path,
        options: ApplyOptions,
        *,
        done: Mapping[int, Sequence[Path]] = NOTHING_DONE,
        passed: Collection[int] = (),
        replace: bool = False,
        progress: Progress = silent,
    ) -> AbstractContextManager[Session]:
        """Begin a run, or take it up.

        Args:
            image: the WIM; it is only read, unless it is to be replaced.
            work: folder for what the steps need meanwhile.
            options: time, trust and the like.
            done: folders of finished steps by index, in the order in which they were done.
            passed: indexes whose gate has let this run pass.
            replace: the commit will replace the image: lock it now, or say why not.
            progress: of all the steps; may raise to cancel.

        Raises:
            DamagedInput: the image or a folder cannot be read.
            InvalidState: somebody else is changing the image that is to be replaced.
        """

    def export(self, source: Path, target: Path, progress: Progress = silent) -> ExportReport:
        """Copy all images of a file to a new one that holds only what they need.

        Raises:
            AlreadyExists, NotEnoughSpace, DamagedInput, OSError
        """
