"""Commands that make new files from a WIM file, or read all of it."""

from pathlib import Path

from wimsmith.cli.output import (
    human_size,
    print_line,
    progress_bar,
    show,
)
from wimsmith.cli.wim.making import Flag, Form, announce, packing_of, parse_boot, show_plan
from wimsmith.cli.wimfile import References, numbers
from wimsmith.offline.wim.verbs.append import Addition, announce_append, append_images
from wimsmith.offline.wim.verbs.export import Selection, announce_export, export_images


def export(
    source: Path,
    index: str,
    target: Path,
    *,
    compress: Form | None = None,
    chunk_size: str | None = None,
    level: int | None = None,
    solid: Flag = False,
    recompress: Flag = False,
    references: References = (),
    delta_from: Path | None = None,
    boot: str | None = None,
    name: str | None = None,
    description: str | None = None,
    overwrite: Flag = False,
    check: bool = True,
    dry_run: Flag = False,
) -> None:
    """Copy one image, several or all into a new WIM file that holds only what is needed.

    The source is not changed. The target appears when it is complete and checked. What is packed
    in the form that the target gets is copied as it is, the rest is packed anew; what will be
    done is said before it starts.

    Args:
        source: WIM file to read, or the first part of a split set.
        index: Number of the image, from 1; several with commas between; or `all`.
        target: WIM file to make.
        compress: Pack the content in another form, each file by itself; `lzx` is what Windows
            media use. The source's own form if not given.
        chunk_size: Size of the chunks that are packed, for example 32K; with --solid up to 64M.
        level: How hard to pack: 20 fast, 50 usual, 100 slow. 20 if not given, with --solid 50.
        solid: Pack all content together with LZMS, as in an ESD file: smallest and slow.
        recompress: Pack anew even what could be copied as it is.
        references: File with content that the source names and does not hold: the base of a delta
            file, a further part of a set. May be given several times.
        delta_from: Leave out what this WIM file holds; the target can then be read with
            `--ref` of that file only.
        boot: Index of the image to mark as bootable, or `none`. As in the source if not given.
        name: New name, if one image is exported.
        description: New description, if one image is exported.
        overwrite: Replace the target if it exists.
        check: Read all of the result again and compare all hashes before it gets its name.
        dry_run: Say what would be done, and do nothing.
    """
    packing = packing_of(compress, chunk_size, level, solid=solid, recompress=recompress)
    selection = Selection(references, delta_from, parse_boot(boot), name, description)
    with progress_bar() as progress:
        if dry_run:
            said = announce_export(
                source,
                numbers(index),
                target,
                packing=packing,
                selection=selection,
                progress=progress,
                overwrite=overwrite,
            )
        else:
            report = export_images(
                source,
                numbers(index),
                target,
                packing=packing,
                selection=selection,
                progress=progress,
                tell=announce,
                check=check,
                overwrite=overwrite,
            )
    if dry_run:
        show_plan(said)
        return
    images = ", ".join(str(number) for number in report.images)
    size = human_size(report.size_bytes)
    checked = ", checked" if report.checked else ""
    text = f"{target}: index {images} of {source}, {size}{checked}, {report.duration_s:.1f} s"
    show(report, lambda: print_line(text))


def append(
    source: Path,
    index: str,
    target: Path,
    *,
    name: str | None = None,
    description: str | None = None,
    boot: str | None = None,
    references: References = (),
    level: int | None = None,
    check: bool = True,
    dry_run: Flag = False,
) -> None:
    """Add images of one WIM file to another one, where they share content with those there.

    The new file is written beside the target, which it replaces in one step when it is complete
    and checked; until then the target is as it was.

    Args:
        source: WIM file to read; not changed.
        index: Number of the image, from 1; several with commas between; or `all`.
        target: WIM file that gets the images.
        name: Name in the target, if one image is appended; two of one name are refused.
        description: Description in the target, if one image is appended.
        boot: Index in the source of the image to mark as bootable, or `none` for no bootable image
            at all. As in the target if not given.
        references: File with content that the source names and does not hold. May be given several
            times.
        level: How hard to pack what is not packed as the target is: 20 fast, 50 usual, 100 slow.
        check: Read all of the result again and compare all hashes before it replaces the target.
        dry_run: Say what would be done, and do nothing.
    """
    chosen = numbers(index)
    addition = Addition(chosen, references, parse_boot(boot), name, description, level)
    with progress_bar() as progress:
        if dry_run:
            said = announce_append(source, target, addition, progress=progress)
        else:
            report = append_images(
                source, target, addition, progress=progress, tell=announce, check=check
            )
    if dry_run:
        show_plan(said)
        return
    added = ", ".join(str(number) for number in report.numbers)
    grown = human_size(report.size_bytes - report.size_before_bytes)
    checked = ", checked" if report.checked else ""
    text = f"{target}: index {added} added, {grown} more{checked}, {report.duration_s:.1f} s"
    show(report, lambda: print_line(text))
