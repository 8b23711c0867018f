"""Commands that read all of a WIM file: to prove it, or to take its files out."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from wimsmith.cli.output import counted, human_size, note, print_line, progress_bar, show
from wimsmith.cli.wimfile import References, printable
from wimsmith.offline.wim.verbs.extract import ExtractReport, extract_image
from wimsmith.offline.wim.verbs.verify import Damage, VerifyReport, verify_wim

_SHOWN_NAMES = 20
_SHOWN_DAMAGES = 20
_NOT_KEPT: Mapping[str, str] = {
    "security_descriptors": "security descriptors",
    "short_names": "short names",
    "attributes": "read-only, hidden or system attributes",
    "named_streams": "named streams",
    "reparse_points": "reparse points that are no links",
    "tagged_items": "object ids, extended attributes or Unix data",
}


def extract(
    file: Path, index: int, target: Path, *patterns: str, references: References = ()
) -> None:
    """Extract an image, or parts of it, into a new folder.

    The folder appears when it is complete and on the disk. Contents, names,
    times, hard links and links are extracted. What has no place in a folder of
    this system is counted; links that lead out of the image are left out and
    named.

    Args:
        file: WIM file to read, or the first part of a split set.
        index: Number of the image, from 1.
        target: Folder to make; an existing one must be empty.
        patterns: Paths in the image, with `?` and `*`; folders come whole. All if none is given.
        references: File with content that FILE names and does not hold: the base of a delta. May be
            given several times.
    """
    with progress_bar() as progress:
        report = extract_image(
            file, index, target, patterns=patterns, references=references, progress=progress
        )
    for one in report.left_out[:_SHOWN_NAMES]:
        note(f"warning: {printable(one.path)} was left out: {one.reason}")
    if len(report.left_out) > _SHOWN_NAMES:
        note(f"warning: {len(report.left_out)} entries were left out; `--json` names all")
    show(report, lambda: _tell_extracted(report))


def verify(file: Path, *, references: References = ()) -> None:
    """Read all of a WIM file and compare every hash in it.

    The parts of a split set and the files named with --ref are checked with
    it. Damage is told by the files that it hits; the exit code is then 31,
    and 50 if content is in none of the files.

    Args:
        file: WIM file, or any part of a split set.
        references: File with content that FILE names and does not hold: the base of a delta. May be
            given several times.
    """
    with progress_bar() as progress:
        report = verify_wim(file, references=references, progress=progress)
    for damage in report.damaged[:_SHOWN_DAMAGES]:
        _tell_damage(damage)
    for name in report.unusable_names[:_SHOWN_NAMES]:
        note(f"warning: index {name.index}: {printable(name.path)} {name.fault}")
    if report.unusable_count:
        note(f"warning: {report.unusable_count} names cannot be used; their content is intact")
    show(report, lambda: _tell_verified(report))
    report.check()


def _tell_extracted(report: ExtractReport) -> None:
    size = human_size(report.size_bytes)
    files = f"{counted(report.files, 'file')}, {counted(report.directories, 'folder')}"
    text = f"{report.target}: {files}, {size}"
    print_line(f"{text}, {report.duration_s:.1f} s")
    counts = {one.name: getattr(report.not_kept, one.name) for one in fields(report.not_kept)}
    lost = [f"{count} {_NOT_KEPT[name]}" for name, count in counts.items() if count]
    if lost:
        print_line(f"not extracted: {', '.join(lost)}")


def _tell_verified(report: VerifyReport) -> None:
    if not report.intact:
        return
    table = "integrity table checked" if report.integrity_table else "no integrity table"
    images = counted(report.images, "image")
    content = f"{counted(report.blobs, 'content')} of {human_size(report.content_bytes)}"
    files = f"{report.files} files, " if report.files > 1 else ""
    text = f"{report.source}: {files}{images}, {content} as they should be, {table}"
    print_line(f"{text}, {report.duration_s:.1f} s")


def _tell_damage(damage: Damage) -> None:
    word = "missing" if damage.kind == "missing" else "damaged"
    note(f"{word}: {damage.file}: {printable(damage.reason)}")
    for name in damage.files:
        note(f"    used by {printable(name)}")
    if damage.file_count > len(damage.files):
        note(f"    and by {damage.file_count - len(damage.files)} more")
