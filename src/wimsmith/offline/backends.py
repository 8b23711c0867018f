"""Servicing as the site sees it: paths and numbers in, facts and verdicts out.

Each call stands alone, so that each can be one durable step: what one call made, the next finds
in the folders it is given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import DamagedInput, LimitExceeded, NotSupported, Untrusted
from wimsmith.offline import changes
from wimsmith.offline.commit import CommitReport, commit
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.components.outcome import Outcome, refused
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.packages.package import expand
from wimsmith.offline.packages.trust.following import verify_file
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.verdicts import Finding, Verdict
from wimsmith.offline.wim.workers.budget import codec_workers
from wimsmith.offline.wim.workers.worker import CodecPool
from wimsmith.offline.wim.writing.making import opened
from wimsmith.offline.wim.writing.watch import Watch


@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    """What became of one update on one index; `changed` tells whether a change set was saved."""

    verdict: Verdict
    code: str
    text: str
    findings: tuple[Finding, ...]
    packages: tuple[str, ...]
    changed: bool


class NativeBackend:
    """Servicing by Wimsmith's own engine."""

    name = "native"

    def apply_update(
        self,
        *,
        base: Path,
        index_number: int,
        update: Path,
        previous: Sequence[Path],
        out: Path,
        work: Path,
        options: ApplyOptions,
        progress: Progress = silent,
    ) -> UpdateOutcome:
        """Apply one update to one index, on top of what earlier updates changed.

        Nothing is written but the change set, which appears in the folder `out` whole or not at
        all. Whatever the update package holds, and whatever is wrong with it, ends as a verdict.

        Args:
            base: the WIM; it is only read.
            index_number: 1-based.
            update: the package file.
            previous: folders of the change sets to stack, in order.
            out: folder for the change set; it does not exist yet.
            work: an empty folder for the expanded package.
            options: time, trust and the like.
            progress: may raise to cancel.

        Raises:
            DamagedInput: the base image cannot be read.
            OSError: no space, for example.
        """
        stacked = [changes.load(folder) for folder in previous]
        watch = Watch(progress)
        watch.tell(Event("open image"))
        with opened(base, watch) as wim:
            view = open_view(wim, index_number, stacked)
            outcome = _outcome(update, view, work, options, watch.tell)
            if outcome.changes:
                watch.tell(Event("save changes"))
                changes.save(outcome.changes, out)
        return UpdateOutcome(
            verdict=outcome.verdict,
            code=outcome.code,
            text=outcome.text,
            findings=outcome.findings,
            packages=outcome.packages,
            changed=bool(outcome.changes),
        )

    def commit(
        self,
        *,
        base: Path,
        changed: Mapping[int, Sequence[Path]],
        target: Path,
        modified: int,
        progress: Progress = silent,
    ) -> CommitReport:
        """Write the new WIM `target` from the base and saved change sets, and prove it.

        Args:
            base: the WIM; it is only read.
            changed: folders of change sets by index number, in the order in which they apply.
            target: path of the new file; nothing stands there.
            modified: FILETIME that what changed carries.
            progress: may raise to cancel.

        Raises:
            VerificationFailed: the new file is not what was planned; it has been removed.
            DamagedInput: the base or a change set cannot be read.
            OSError: no space, for example.
        """
        sets = {
            number: [changes.load(folder) for folder in folders]
            for number, folders in changed.items()
        }
        watch = Watch(progress)
        watch.tell(Event("open image"))
        with (
            opened(base, watch) as wim,
            CodecPool(codec_workers(wim.compression, wim.chunk_size), beat=watch.beat) as codec,
        ):
            return commit(wim, sets, target, codec=codec, modified=modified, progress=watch.tell)


def _outcome(
    update: Path, view: ImageView, work: Path, options: ApplyOptions, progress: Progress
) -> Outcome:
    try:
        package = expand(update, work, progress=progress)
        verify_file(update, options.trust)
    except (NotSupported, Untrusted, DamagedInput, LimitExceeded) as error:
        return refused(update.name, error)
    return apply(package, view, options, progress)
