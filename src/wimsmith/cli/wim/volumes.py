"""Commands between WIM files and what is outside of them: folders and NTFS volumes."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from wimsmith.cli.output import human_size, note, print_line, progress_bar, show
from wimsmith.cli.wim.making import Flag, Form, parse_size
from wimsmith.cli.wimfile import References, printable
from wimsmith.errors import InvalidInput
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.verbs import capture as capturing
from wimsmith.offline.wim.verbs.apply import (
    ApplyReport,
    Check,
    NewVolume,
    apply_new_volume,
    apply_ntfs,
)
from wimsmith.offline.wim.verbs.capture import (
    DEFAULT_LEVEL,
    CaptureOptions,
    CaptureReport,
    PathList,
)
from wimsmith.offline.wim.verbs.exclusions import exclusions

_SHOWN = 20


def capture(
    source: Path,
    target: Path,
    *,
    name: str | None = None,
    description: str = "",
    flags: str = "",
    boot: Flag = False,
    compress: Form | None = None,
    level: int = DEFAULT_LEVEL,
    solid: Flag = False,
    exclude: Annotated[list[str] | None, Parameter(negative="")] = None,
    config: Path | None = None,
    fix_links: bool = True,
    strict: Flag = False,
    as_is: Flag = False,
    check: bool = True,
    overwrite: Flag = False,
    append: Flag = False,
) -> None:
    r"""Capture a folder, or an NTFS volume, into a new WIM file with one image.

    A volume is an image file or a block device with NTFS. It must not be
    mounted, is not changed, and is captured with all that NTFS knows of a
    file, extended attributes included. A folder is read with your rights and
    has no Windows security: where Windows applies them its files inherit, and
    after `wimsmith wim apply` everybody has full access to them. The target
    appears when it is complete and checked.

    Left out by default, as Windows does: pagefile.sys, hiberfil.sys,
    swapfile.sys, System Volume Information, the recycle bins, Windows\CSC.
    What is left out for another reason, and names that Windows cannot use,
    are reported.

    Args:
        source: Folder, image file or block device to capture.
        target: WIM file to make.
        name: Name of the image; by default that of the source.
        description: Description of the image.
        flags: Edition of the image, for example Enterprise, as Windows Setup shows it.
        boot: Mark the image as bootable, for Windows PE.
        compress: How to pack the content; `lzx` is what Windows media use.
        level: How hard to pack: 20 fast, 50 usual, 100 slow.
        solid: Pack all content together with LZMS, as in an ESD file: smallest and slow.
        exclude: Path or pattern to leave out, besides the default list; `\Temp\*`, `*.bak`.
        config: File in the form of wimscript.ini, in place of the default list.
        fix_links: In a folder, make absolute links into it begin at the root of the image.
        strict: Refuse names that Windows cannot use, and what a WIM cannot hold.
        as_is: Capture a volume although Windows is hibernated or did not close it.
        check: Read the result again and compare all hashes before it gets its name.
        overwrite: Replace the target if it exists.
        append: Add the image to the target, which exists, and share content with those in it.
    """
    if append and compress:
        raise InvalidInput("--append with --compress", hint="The target keeps its own form.")
    chosen = exclusions(config, exclude or [])
    for section in chosen.ignored:
        note(f"note: [{section}] in {config} has no effect here")
    usual = Compression.LZMS if solid else Compression.LZX
    options = CaptureOptions(
        name=name or source.absolute().name or "Image",
        description=description,
        flags=flags,
        bootable=boot,
        compression=Compression(compress) if compress else usual,
        level=level,
        solid=solid,
        exclude=chosen,
        fix_links=fix_links,
        strict=strict,
        as_is=as_is,
        check=check,
        overwrite=overwrite,
        append=append,
    )
    with progress_bar() as progress:
        report = capturing.capture(source, target, options, progress=progress)
    _tell_capture(report)
    size, content = human_size(report.size_bytes), human_size(report.content_bytes)
    image = f" index {report.index}" if append else ""
    text = f"{target}{image}: {report.files} files, {report.directories} folders, {content}"
    checked = ", checked" if report.checked else ""
    show(report, lambda: print_line(f"{text} in {size}{checked}, {report.duration_s:.1f} s"))


def apply(
    file: Path,
    index: int,
    volume: Path,
    *,
    new: str | None = None,
    label: str = "",
    first_sector: int = 0,
    format: Flag = False,  # noqa: A002 - the name of the option
    yes: Flag = False,
    references: References = (),
    check: Literal["nothing", "entries", "content"] = "entries",
    overwrite: Flag = False,
) -> None:
    """Apply an image to an NTFS volume, without mounting it.

    With --new, VOLUME is an image file that is made; it appears when it is
    complete and checked.

    Without --new, VOLUME is an image file or block device with an empty NTFS
    volume, and it is CHANGED IN PLACE: if that is cancelled or fails, part of
    the image is on it. With --format all that was on it is gone as soon as
    the command begins. Say --yes to agree.

    Security, attributes, times, short names, hard links, streams, reparse
    points, object ids and extended attributes are applied. Content is not
    compressed or sparse on the volume, and files encrypted with EFS stay
    empty; both are reported.

    Args:
        file: WIM file to read.
        index: Number of the image, from 1.
        volume: Image file or block device to write to.
        new: Make an image file of this size, for example 20GB; it takes room for its content only.
        label: With --new: name of the volume.
        first_sector: With --new: sector at which the partition begins that it will be copied to.
        format: Make the file system anew first, which deletes all that is on the volume.
        yes: Change an existing volume in place.
        references: File with content that FILE names and does not hold. May be given several
            times.
        check: What to read back and compare: nothing, all entries, or all content as well.
        overwrite: With --new: replace an existing image file.
    """
    with progress_bar() as progress:
        if new is not None:
            if format or yes:
                raise InvalidInput("--new with --format or --yes", hint="These are for volumes.")
            report = apply_new_volume(
                file,
                index,
                volume,
                NewVolume(parse_size(new), label, first_sector),
                references=references,
                check=Check(check),
                overwrite=overwrite,
                progress=progress,
            )
        else:
            _refuse_unasked(volume, yes=yes, new_only=bool(label or first_sector or overwrite))
            report = apply_ntfs(
                file,
                index,
                volume,
                references=references,
                format_first=format,
                check=Check(check),
                progress=progress,
            )
    _tell_apply(report)


def _refuse_unasked(volume: Path, *, yes: bool, new_only: bool) -> None:
    if new_only:
        raise InvalidInput("--label, --first-sector and --overwrite need --new")
    if not yes:
        raise InvalidInput(
            f"{volume} would be changed in place, and not be usable if that fails",
            hint="Say --yes to change it, or --new SIZE to make an image file.",
        )


def _tell_capture(report: CaptureReport) -> None:
    if report.not_closed:
        note("warning: Windows did not close the volume; files may be older than they were")
    _tell("cannot be captured and was left out", report.left_out)
    _tell("is a name Windows cannot use", report.odd_names, with_reason=True)
    _tell("was left out by the list of exclusions", report.excluded, kind="note")
    _tell("leads out of the folder and stays as it is", report.kept_links, kind="note")
    for what, count in report.special_links.items():
        note(f"warning: {count} {what} files are whole only where Windows can read them through")


def _tell(what: str, found: PathList, *, kind: str = "warning", with_reason: bool = False) -> None:
    for path in found.first[:_SHOWN]:
        note(f"{kind}: {printable(path)}{'' if with_reason else f' {what}'}")
    if found.count > _SHOWN:
        note(f"{kind}: and {found.count - _SHOWN} more of which each {what}")


def _tell_apply(report: ApplyReport) -> None:
    if report.extended_attributes:
        note(f"note: extended attributes of {report.extended_attributes} files were set")
    for what, count in report.not_kept.items():
        note(f"warning: {what} of {count} files cannot be kept on this volume")
    size = human_size(report.content_bytes)
    text = f"{report.volume}: index {report.index} of {report.source}, {size}"
    checked = f", {report.entries} entries read back" if report.entries else ""
    show(report, lambda: print_line(f"{text}{checked}, {report.duration_s:.1f} s"))
