"""The command that services one image of a file, without a site."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from wimsmith import logs
from wimsmith.cli.output import (
    note,
    options,
    print_json,
    print_line,
    print_table,
    progress_bar,
)
from wimsmith.cli.updates.common import Roots, TestRoots, policy_of, workspace
from wimsmith.cli.wim.consent import CONSENT
from wimsmith.errors import AlreadyExists, ConsentNeeded, InvalidInput, NotFound, PathUnreachable
from wimsmith.offline.backends.native import NativeBackend
from wimsmith.offline.backends.run import SENTENCES, Report, Request, Row, judge, service_file
from wimsmith.offline.backends.sentences import outcome_word, tell_beginning
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.filetime import from_datetime
from wimsmith.offline.verdicts import Verdict, status
from wimsmith.offline.wim.writing.making import check_target

Flag = Annotated[bool, Parameter(negative="")]
Many = Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)]
Files = Annotated[tuple[Path, ...], Parameter(negative="", consume_multiple=True)]
_SUFFIXES = frozenset([".cab", ".msu"])


def service(
    file: Path,
    index: int,
    *,
    add: Files = (),
    remove: Many = (),
    enable_feature: Many = (),
    disable_feature: Many = (),
    cleanup: Flag = False,
    reset_base: Flag = False,
    export: Flag = False,
    output: Annotated[Path | None, Parameter(alias=["-o", "--target"])] = None,
    in_place: Flag = False,
    dry_run: Flag = False,
    continue_on_error: Flag = False,
    allow_not_generalised: Flag = False,
    experimental: Flag = False,
    log: Path | None = None,
    root: Roots = (),
    test_root: TestRoots = (),
) -> None:
    """Install updates into an image of a WIM file, remove them, switch features, clean up.

    What DISM does with /Add-Package, /Remove-Package, /Enable-Feature, /Disable-Feature and
    /Cleanup-Image, without mounting: packages are removed first, then updates are added, features
    switched, and the component store is cleaned up. All of it becomes one new file, which is
    written beside its target, read back, and renamed; an error or Ctrl-C leaves nothing behind.

    Before anything is changed, the image must be healthy, and its component store must follow the
    rules by which this program writes; else it is refused by name. What an update needs that this
    program cannot do is refused by name as well, and does not stop the other updates.

    This is experimental and needs --experimental, except for --dry-run, which writes nothing.

    Exit codes: 0 if all that was asked for is so now, or has no business in this image; 74 if
    nothing was done that should have been; 75 if only some of it was; 69 if something failed, so
    that nothing was written; 77 if the clean-up failed, so that nothing was written; 76 without
    --experimental. With --dry-run they are 0, 74, 75 and 77.

    Example: wimsmith wim service install.wim 1 --add updates/ --cleanup --output new.wim
    --experimental

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        add: Update files (.cab, .msu), or folders of them.
        remove: Installed packages to remove: identity, as `wimsmith wim packages` shows it, or KB
            number.
        enable_feature: Names of features to switch on; `wimsmith wim features` lists them.
        disable_feature: Names of features to switch off.
        cleanup: Remove superseded packages and components; only in files with one image.
        reset_base: The same, and make what is installed permanent: it cannot be removed later.
        export: Copy the result once more, to drop what no image needs; needs --output.
        output: New WIM file to write; FILE is only read.
        in_place: Replace FILE in one step, after its successor was written and read back.
        dry_run: Only say what would become of everything that is asked for; write nothing.
        continue_on_error: Keep what worked when an update fails.
        allow_not_generalised: Accept an image that was not generalised with Sysprep.
        experimental: Consent to an experimental engine; try the result before you deploy it.
        log: File for the log, as OfflineServicingMgr.log (CMTrace); without it, its sentences
            stand on stderr.
        root: Certificate (PEM, DER) to trust besides those of Microsoft; may be repeated.
        test_root: The same for updates that `wimsmith practice` has generated.
    """
    features = _features(enable_feature, disable_feature)
    request = Request(
        image=file,
        index=index,
        target=output,
        remove=remove,
        updates=tuple(_update_files(add)),
        features=features,
        clean_up=cleanup,
        reset_base=reset_base,
        export=export,
        continue_on_error=continue_on_error,
        dry_run=dry_run,
    )
    _check(request, in_place=in_place, experimental=experimental)
    now = datetime.now(UTC)
    apply_options = ApplyOptions(
        trust=policy_of(root, test_root),
        now=from_datetime(now),
        allow_not_generalised=allow_not_generalised,
    )
    with _logged(log), workspace() as work, progress_bar() as progress:
        report = service_file(NativeBackend(), request, apply_options, work, progress)
    if options.json:
        print_json(_document(request, report))
    else:
        _print(request, report)
    judge(report)


def _check(request: Request, *, in_place: bool, experimental: bool) -> None:
    """Refuse what makes no sense before anything is opened."""
    work = (
        request.remove,
        request.updates,
        request.features,
        request.clean_up or request.reset_base,
    )
    if not any(work):
        raise InvalidInput(
            "nothing to do",
            hint="Say --add, --remove, --enable-feature, --disable-feature or --cleanup.",
        )
    if request.dry_run:
        return
    if in_place == (request.target is not None):
        raise InvalidInput(
            "exactly one of --output and --in-place is needed",
            hint=f"--output NEW.wim leaves {request.image} as it is; --in-place replaces it.",
        )
    if request.export and in_place:
        raise InvalidInput("--export makes a new file", hint="Name it with --output.")
    if request.target is not None:
        _check_output(request.target, request.image)
    if not experimental:
        raise ConsentNeeded(CONSENT)


def _check_output(target: Path, image: Path) -> None:
    """Refuse a target that cannot be made, before hours of work for it."""
    if target.is_file() and not target.samefile(image):
        raise AlreadyExists(target, hint="Name another file; nothing is overwritten.")
    check_target(target, [image], overwrite=False)
    if not target.parent.is_dir():
        raise PathUnreachable(f"there is no folder {target.parent}", hint="Make it first.")


def _features(on: Sequence[str], off: Sequence[str]) -> Mapping[str, bool]:
    both = {name.lower() for name in on} & {name.lower() for name in off}
    if both:
        raise InvalidInput(f"the feature {min(both)} cannot be switched on and off")
    return dict.fromkeys(on, True) | dict.fromkeys(off, False)


def _update_files(places: Sequence[Path]) -> Iterator[Path]:
    """The files that are named, and those in folders that are, sorted by name."""
    for place in places:
        if not place.is_dir():
            if not place.exists():
                raise NotFound(place)
            yield place
            continue
        found = sorted(one for one in place.iterdir() if one.suffix.lower() in _SUFFIXES)
        if not found:
            raise NotFound(f"update files (.cab, .msu) in {place}")
        yield from found


class _ToNotes(logging.Handler):
    """Puts the sentences of a run on stderr, and none of what else is logged.

    What begins is told by the progress.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == SENTENCES and record.funcName != tell_beginning.__name__:
            note(logs.one_line(record.getMessage()))


@contextmanager
def _logged(path: Path | None) -> Iterator[None]:
    """Send the log to a file, all of it; or only its sentences to stderr."""
    handler: logging.Handler = _ToNotes() if path is None else logs.AppendingHandler(path)
    handler.setFormatter(logs.CMTraceFormatter())
    logger = logging.getLogger(logs.ROOT)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()


def _print(request: Request, report: Report) -> None:
    for finding in report.gate.findings:
        print_line(f"index {request.index} is not serviced: {finding.text} ({finding.code})")
    if report.rows:
        columns = ("what", "name", "reason", "result")
        cells = ([row.kind, row.name, _reason(row), _result(row, request)] for row in report.rows)
        print_table(columns, cells)
    cleaned = report.clean_up
    if cleaned is not None:
        print_line(f"clean-up: {cleaned.text}; {cleaned.packed_bytes} packed bytes not needed")
        for warning in cleaned.warnings:
            print_line(f"warning: {warning}")
    if report.commit is None:
        print_line("nothing was written")
        return
    before, after = report.before_bytes, report.after_bytes
    change = "freed" if after <= before else "more"
    print_line(
        f"{request.target or request.image}: {before} bytes before, {after} bytes after,"
        f" {abs(before - after)} bytes {change}"
    )


def _reason(row: Row) -> str:
    """The code of what was in the way, if anything was."""
    return "" if row.verdict is Verdict.APPLIED else row.code


def _result(row: Row, request: Request) -> str:
    """The word of a verdict, with its text unless the word says it already."""
    said = _word(row, request)
    return said if not row.text or row.text in said else f"{said}: {row.text}"


def _word(row: Row, request: Request) -> str:
    return outcome_word(row.verdict, row.text, row.kind, dry_run=request.dry_run)


def _document(request: Request, report: Report) -> dict[str, Any]:
    return {
        "file": request.image,
        "index": request.index,
        "target": request.target or request.image if report.commit else None,
        "dry_run": request.dry_run,
        "backend": report.backend,
        "gate": report.gate,
        "results": [_row(row, request) for row in report.rows],
        "failed": report.failed,
        "clean_up": report.clean_up,
        "sha256": report.sha256,
        "before_bytes": report.before_bytes,
        "committed_bytes": report.committed_bytes,
        "after_bytes": report.after_bytes,
        "freed_bytes": report.freed_bytes,
    }


def _row(row: Row, request: Request) -> dict[str, Any]:
    return {
        "what": row.kind,
        "name": row.name,
        "outcome": row.verdict,
        "status": int(status(row.verdict, row.code)),
        "word": _word(row, request),
        "code": row.code,
        "text": row.text,
        "packages": row.packages,
        "findings": row.findings,
    }
