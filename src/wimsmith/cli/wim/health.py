"""`wimsmith wim health`: whether the component store of an image is closed and intact."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from wimsmith.cli.output import (
    counted,
    note,
    options,
    print_json,
    print_line,
    print_table,
    progress_bar,
)
from wimsmith.cli.wimfile import References, open_file, printable
from wimsmith.offline.components.verification.examine import examine
from wimsmith.offline.components.verification.report import HealthReport, Problem, Severity
from wimsmith.offline.image import open_view
from wimsmith.offline.wim.format.container import naming

ERRORS_EXIT = 1
_NOT_THEIRS = (
    "This is Wimsmith's own check of what the image says of itself, not the judgement of Windows."
)
_NO_STORE = "no component store: only hives, packages and the build were checked"


def health(
    file: Path,
    index: Annotated[int, Parameter(alias="-i")],
    *,
    content: bool = True,
    notes: Annotated[bool, Parameter(negative="")] = False,
    ref: References = (),
) -> int:
    """Check the component store of an image: packages, components, files, hives.

    Follows every reference: packages to their manifests, catalogs and owners; deployments to
    packages, catalogs and components; components to manifests and files; versions in use to the
    files in their places. Compares manifests and files with their digests, and reads every
    registry hive with two readers that share no code. Nothing is written. In spirit this is
    `dism /ScanHealth`, but it is not Windows' own judgement.

    Errors are broken references and content that is not what is stated: servicing would fail on
    them. Warnings may be meant; notes are seen in sound images. The exit code is 0 without
    errors, 1 with errors, and above that if the image could not be checked.

    Example: wimsmith wim health install.wim 1

    Args:
        file: WIM file; it is only read.
        index: Number of the image, from 1.
        content: Read all files of the store and compare their digests. Without, a check is
            quicker and finds what is missing, but not what was altered.
        notes: Show examples of notes, too.
        ref: WIM file with content that FILE lacks (delta, split set); may be repeated.
    """
    with progress_bar() as progress, open_file(file, ref) as wim, naming(file):
        report = examine(open_view(wim, index), progress, content=content)
    if options.json:
        print_json({"sound": report.is_sound} | asdict(report))
    else:
        _tell(report, notes=notes)
    return 0 if report.is_sound else ERRORS_EXIT


def _tell(report: HealthReport, *, notes: bool) -> None:
    columns = ("area", "checked", "errors", "warnings", "notes")
    print_table(
        columns,
        [
            (one.area.value, one.checked, one.errors, one.warnings, one.notes)
            for one in report.areas
        ],
    )
    for problem in report.problems:
        if problem.severity is not Severity.NOTE or notes:
            _tell_problem(problem)
    print_line()
    errors = sum(one.count for one in report.of(Severity.ERROR))
    print_line(counted(errors, "error") if errors else "no errors")
    if not report.has_store:
        note(_NO_STORE)
    elif not report.content_checked:
        note("content was not read: leave out --no-content to compare every file with its digest")
    if report.of(Severity.NOTE) and not notes:
        note("--notes shows examples of the notes")
    note(_NOT_THEIRS)


def _tell_problem(problem: Problem) -> None:
    print_line()
    print_line(f"{problem.severity} {problem.code} ({problem.count}): {problem.text}")
    for example in problem.examples:
        print_line(f"    {printable(example)}")
    if problem.count > len(problem.examples):
        print_line(f"    and {problem.count - len(problem.examples)} more")
    print_line(f"    -> {problem.advice}")
