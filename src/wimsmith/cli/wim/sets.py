"""Commands that split, join and tidy up WIM files."""

from dataclasses import asdict
from pathlib import Path

from wimsmith.cli.output import counted, human_size, note, options, print_line, progress_bar, show
from wimsmith.cli.wim.making import Flag, Form, announce, packing_of, parse_size, show_plan
from wimsmith.errors import InvalidInput
from wimsmith.offline.wim.verbs.join import join_parts
from wimsmith.offline.wim.verbs.optimize import Waste, announce_optimize, optimize_wim
from wimsmith.offline.wim.verbs.split import split_wim


def split(
    source: Path, target: Path, size: str, *, overwrite: Flag = False, check: bool = True
) -> None:
    """Split a WIM file into parts of at most a size, for example for a FAT32 stick.

    The parts are TARGET and beside it the same name with 2, 3 and so on: install.swm,
    install2.swm, install3.swm. A file that is larger than a part, packed, makes its part larger;
    such parts are named. Solid files (ESD) must be exported to an ordinary one first.

    Args:
        source: WIM file to read; not changed.
        target: First part to make, NAME.swm.
        size: Largest size of a part with its unit, for example 3800M.
        overwrite: Replace parts that exist.
        check: Read all of the parts again and compare all hashes before they get their names.
    """
    with progress_bar() as progress:
        report = split_wim(
            source, target, parse_size(size), progress=progress, check=check, overwrite=overwrite
        )
    for part in report.parts:
        if part.is_oversize:
            note(f"warning: {part.path} has {human_size(part.size_bytes)}: it holds one large file")
    names = f"{report.parts[0].path} to {report.parts[-1].path.name}"
    if len(report.parts) == 1:
        names = str(report.parts[0].path)
    total = human_size(sum(part.size_bytes for part in report.parts))
    checked = ", checked" if report.checked else ""
    text = f"{names}: {len(report.parts)} parts, {total}{checked}, {report.duration_s:.1f} s"
    show(report, lambda: print_line(text))


def join(target: Path, *parts: Path, overwrite: Flag = False, check: bool = True) -> None:
    """Join the parts of a split set into one WIM file.

    Args:
        target: WIM file to make.
        parts: All parts in any order, or one of them if the others are beside it.
        overwrite: Replace the target if it exists.
        check: Read all of the result again and compare all hashes before it gets its name.
    """
    if not parts:
        raise InvalidInput("no part was named", hint="Name the first part of the set.")
    with progress_bar() as progress:
        report = join_parts(
            parts, target, progress=progress, tell=announce, check=check, overwrite=overwrite
        )
    size = human_size(report.size_bytes)
    checked = ", checked" if report.checked else ""
    images = counted(len(report.images), "image")
    text = f"{target}: {images}, {size}{checked}, {report.duration_s:.1f} s"
    show(report, lambda: print_line(text))


def optimize(
    source: Path,
    target: Path | None = None,
    *,
    in_place: Flag = False,
    compress: Form | None = None,
    chunk_size: str | None = None,
    level: int | None = None,
    solid: Flag = False,
    recompress: Flag = False,
    overwrite: Flag = False,
    check: bool = True,
    dry_run: Flag = False,
) -> None:
    """Write a WIM file anew without content that no image needs and without holes.

    Prints what the file held before and holds then. With --in-place the new file replaces the
    source in one step, when it is complete and checked.

    Args:
        source: WIM file to read.
        target: WIM file to make.
        in_place: Replace the source instead of making a target.
        compress: Pack the content in another form, each file by itself. As it is if not given.
        chunk_size: Size of the chunks that are packed, for example 32K; with --solid up to 64M.
        level: How hard to pack: 20 fast, 50 usual, 100 slow. 20 if not given, with --solid 50.
        solid: Pack all content together with LZMS, as in an ESD file: smallest and slow.
        recompress: Pack anew even what could be copied as it is.
        overwrite: Replace the target if it exists.
        check: Read all of the result again and compare all hashes before it gets its name.
        dry_run: Say what would be done, and do nothing.
    """
    if in_place == (target is not None):
        raise InvalidInput(
            "a target and --in-place" if in_place else "no target",
            hint="Name the file to make, or say --in-place to replace the source.",
        )
    packing = packing_of(compress, chunk_size, level, solid=solid, recompress=recompress)
    if dry_run:
        said, waste = announce_optimize(source, target, packing=packing, overwrite=overwrite)
        show_plan(said, {"waste": asdict(waste) if options.json else _waste(waste)})
        return
    with progress_bar() as progress:
        report = optimize_wim(
            source,
            target,
            packing=packing,
            progress=progress,
            tell=announce,
            check=check,
            overwrite=overwrite,
        )
    checked = ", checked" if report.checked else ""

    def text() -> None:
        print_line(f"before: {_waste(report.before)}")
        print_line(f"after: {_waste(report.after)}")
        print_line(f"{report.target}{checked}, {report.duration_s:.1f} s")

    show(report, text)


def _waste(waste: Waste) -> str:
    contents = counted(waste.unreferenced_contents, "content")
    unused = f"{contents} of {human_size(waste.unreferenced_bytes)}"
    return (
        f"{human_size(waste.file_bytes)}, unused {unused}, holes of"
        f" {human_size(waste.hole_bytes)}, {counted(waste.duplicate_contents, 'content')} twice"
    )
