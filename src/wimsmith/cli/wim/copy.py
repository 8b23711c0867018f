"""Commands that make new files from a WIM file, or read all of it."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from wimsmith.cli.output import (
    human_size,
    note,
    print_line,
    progress_bar,
    show,
)
from wimsmith.cli.wim.common import numbers, printable
from wimsmith.offline.wim.codec import Compression
from wimsmith.offline.wim.export import FAST_LEVEL, export_images
from wimsmith.offline.wim.extract import extract_image
from wimsmith.offline.wim.verify import VerifyReport, verify_wim

Form = Literal["none", "xpress", "lzx", "lzms"]


_SHOWN_NAMES = 20


def export(
    source: Path,
    index: str,
    target: Path,
    *,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    check: bool = True,
    compress: Form | None = None,
    level: int = FAST_LEVEL,
    solid: Annotated[bool, Parameter(negative="")] = False,
    recompress: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Copy one image, or all, into a new WIM file that holds only what is needed.

    The source is not changed. The target appears when it is complete and checked.

    Args:
        source: WIM file to read.
        index: Number of the image, from 1; several with commas between; or `all`.
        target: WIM file to make.
        overwrite: Replace the target if it exists.
        check: Read the result again and compare all hashes before it gets its name.
        compress: Pack the content in another form; `lzx` is what Windows media use.
        level: How hard to pack: 20 fast, 50 usual, 100 slow.
        solid: Pack all content together with LZMS, as in an ESD file: smallest and slow.
        recompress: Pack anew what could be copied as it is.
    """
    with progress_bar() as progress:
        report = export_images(
            source,
            numbers(index),
            target,
            progress=progress,
            check=check,
            overwrite=overwrite,
            compression=Compression.LZMS if solid and not compress else _compression(compress),
            level=level,
            solid=solid,
            recompress=recompress,
        )
    images = ", ".join(str(number) for number in report.images)
    size = human_size(report.size_bytes)
    checked = ", checked" if report.checked else ""
    text = f"{target}: index {images} of {source}, {size}{checked}, {report.duration_s:.1f} s"
    show(report, lambda: print_line(text))


def extract(file: Path, index: int, target: Path, *patterns: str) -> None:
    """Extract an image, or parts of it, into a new folder.

    Args:
        file: WIM file to read.
        index: Number of the image, from 1.
        target: Folder to make; an existing one must be empty.
        patterns: Paths in the image, with `?` and `*`; folders come whole. All if none is given.
    """
    with progress_bar() as progress:
        report = extract_image(file, index, target, patterns=patterns, progress=progress)
    for name in report.left_out:
        note(f"warning: the link {name} leads out of the image and was left out")
    size = human_size(report.size_bytes)
    text = f"{target}: {report.files} files, {report.directories} folders, {size}"
    show(report, lambda: print_line(f"{text}, {report.duration_s:.1f} s"))


def verify(file: Path) -> None:
    """Read all of a WIM file and compare every hash in it.

    Args:
        file: WIM file.
    """
    with progress_bar() as progress:
        report = verify_wim(file, progress=progress)
    _warn_of_names(report)
    table = "integrity table checked" if report.integrity_table else "no integrity table"
    content = f"{report.blobs} contents of {human_size(report.content_bytes)}"
    text = f"{file}: {report.images} images, {content} as they should be, {table}"
    show(report, lambda: print_line(f"{text}, {report.duration_s:.1f} s"))


def _warn_of_names(report: VerifyReport) -> None:
    for name in report.unusable_names[:_SHOWN_NAMES]:
        note(f"warning: index {name.index}: {printable(name.path)} {name.fault}")
    if report.unusable_count:
        note(f"warning: {report.unusable_count} names cannot be used; their content is intact")


def _compression(form: Form | None) -> Compression | None:
    return None if form is None else Compression(form)
