"""The command that proves update files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from wimsmith.cli.output import note, options, print_json, print_line, print_table, progress_bar
from wimsmith.cli.updates.common import Roots, TestRoots, base_texts_of, policy_of, workspace
from wimsmith.cli.updates.stages import BASE_OPTIONS, State, common_name, stages_of
from wimsmith.cli.wimfile import printable
from wimsmith.errors import NotSupported, Untrusted
from wimsmith.offline.packages.containers.kinds import check_file
from wimsmith.offline.packages.contents import base_for
from wimsmith.offline.packages.factsdata import as_data
from wimsmith.offline.packages.package import expand_all
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.report import (
    BrokenLink,
    TrustReport,
    TrustVerdict,
    examine,
    examine_file,
)
from wimsmith.offline.progress import Progress
from wimsmith.offline.wim.format.container import naming


@dataclass(frozen=True, slots=True)
class Proved:
    """The chain of one package, which has so many manifests.

    `refused` is why what is inside was not followed; `manifests` is None then.
    """

    package: str
    report: TrustReport
    manifests: int | None = None
    refused: BrokenLink | None = None


def verify(
    file: Path,
    *,
    root: Roots = (),
    test_root: TestRoots = (),
    image: Path | None = None,
    index: int | None = None,
    base: Path | None = None,
    links: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Prove an update file link by link.

    Args:
        file: Update file (.cab, .msu).
        root: Certificate (PEM, DER) to trust besides those of Microsoft; may be repeated.
        test_root: The same for updates that `wimsmith practice` has generated: for them the
            rules on SHA-1 do not count.
        image: WIM file of the Windows that the update is for. Compressed manifests can be read
            only with a text from it.
        index: Number of the image in that file; 1 if not given.
        base: File with that text, or the wcp.dll that holds it, instead of an image.
        links: Show every link, not only the stages.
    """
    policy, bases = policy_of(root, test_root), base_texts_of(image, index, base)
    with naming(file), workspace() as work, progress_bar() as progress:
        proved = _prove(file, work, policy, bases, progress)
    if options.json:
        print_json([_row(one) for one in proved])
    else:
        for one in proved:
            _tell(file, one, every_link=links)
    return 0 if all(_holds(one) for one in proved) else Untrusted.exit


def _prove(
    file: Path, work: Path, policy: TrustPolicy, bases: tuple[bytes, ...], progress: Progress
) -> list[Proved]:
    check_file(file)
    try:
        packages = expand_all(file, work, progress=progress)
    except NotSupported as refusal:
        reason = BrokenLink(refusal.reason, str(refusal.args[1]))
        return [Proved("", examine_file(file, policy), refused=reason)]
    return [
        Proved(
            package.top.name,
            examine(package, policy, base_manifest=base_for(package, bases), progress=progress),
            len(package.manifests),
        )
        for package in packages
    ]


def _holds(one: Proved) -> bool:
    return one.refused is None and one.report.verdict is TrustVerdict.TRUSTED


def _row(one: Proved) -> dict[str, Any]:
    """A chain as data: verdict, stages, and every link."""
    report = one.report
    return {
        "package": one.package,
        "verdict": report.verdict.value,
        "refused": as_data(one.refused),
        "broken": as_data(report.broken),
        "stages": as_data(stages_of(report, one.manifests)),
        "links": as_data(report.links),
        "unchecked": as_data(report.unchecked),
        "file_signed": report.file_signed,
        "test_root": report.test_root,
        "revocation": report.revocation,
    }


def _tell(file: Path, one: Proved, *, every_link: bool) -> None:
    report = one.report
    print_line(printable(f"{file.name}: {one.package}" if one.package else file.name))
    rows = stages_of(report, one.manifests)
    print_table(
        ("link", "state", "hold", "what"),
        [(row.name, row.state, row.held, printable(row.text)) for row in rows],
    )
    if every_link:
        print_line()
        _print_links(report)
    if one.refused is not None:
        note(f"error: what is inside was not followed: {one.refused.text} ({one.refused.code})")
    elif report.broken is not None:
        note(f"error: the chain is broken: {printable(report.broken.text)} ({report.broken.code})")
        if report.broken.code.endswith("-chain"):
            note("hint: --root names a further root, --test-root one of `wimsmith practice`.")
    elif report.verdict is TrustVerdict.INCOMPLETE:
        count = len(report.unchecked)
        what = "1 manifest is" if count == 1 else f"{count} manifests are"
        note(f"error: {what} stored compressed and could not be read")
        note(f"hint: That needs a text from the image the update is for: {BASE_OPTIONS}.")
    else:
        whose = "trusted by a test root" if report.test_root else "trusted"
        print_line(f"{whose}: every link holds; revocation {report.revocation}")


def _print_links(report: TrustReport) -> None:
    rows: list[tuple[str, State, str, str]] = [
        (one.link, State.OK, one.subject, common_name(one.text)) for one in report.links
    ]
    if report.broken is not None:
        code = report.broken.code.partition(":")[2]
        rows.append((code, State.FAILED, "", report.broken.text))
    rows += [
        ("manifest", State.NOT_CHECKED, name, "stored compressed") for name in report.unchecked
    ]
    print_table(
        ("link", "state", "about", "what"),
        [(link, state, printable(about), printable(what)) for link, state, about, what in rows],
    )
