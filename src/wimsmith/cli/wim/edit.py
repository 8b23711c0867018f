"""Commands that change files of one image."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from wimsmith.cli.output import counted, human_size, print_line, progress_bar, show
from wimsmith.cli.wimfile import attribute_bits
from wimsmith.errors import InvalidInput
from wimsmith.offline.edit import Access, Add, Delete, Edit, MakeFolder, Move, Replace, edit_image
from wimsmith.offline.intake import SourceLinks
from wimsmith.offline.sidnames import sid_of
from wimsmith.offline.wim.workers.worker import CodecPool

Target = Annotated[Path | None, Parameter(name="--target")]
InPlace = Annotated[bool, Parameter(name="--in-place", negative="")]
Flag = Annotated[bool, Parameter(negative="")]


def add(
    file: Path,
    index: int,
    source: Path,
    path: str,
    *,
    target: Target = None,
    in_place: InPlace = False,
    overwrite: Flag = False,
    parents: Flag = False,
    attributes: str | None = None,
    sddl: str | None = None,
    owner: str | None = None,
    links: SourceLinks = SourceLinks.REFUSE,
) -> None:
    r"""Put a file, or a folder with all below it, from this machine into an image.

    What is new inherits its security from its folder in the image, as on Windows, and has the
    time of the last write of its source. A folder that is in the image already is filled.

    Example: wimsmith wim add install.wim 1 drivers Windows/Temp/ --target new.wim

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        source: File or folder of this machine.
        path: Where in the image: its path there, or with / at the end the folder to put it into.
        target: New WIM file to write; FILE is only read.
        in_place: Replace FILE, after its successor was written beside it and read back.
        overwrite: Replace files that are in the image; their security and short names are kept.
        parents: Make folders above PATH that are missing.
        attributes: Of added files: letters of R (read-only), H (hidden), S (system), A (archive),
            T (temporary), O (offline), I (not indexed); A if not given, "" for none.
        sddl: Security descriptor of what PATH becomes; what is below inherits from it.
        owner: Owner instead of the one inherited: SID, alias such as SY, or a known name such as
            "NT SERVICE\TrustedInstaller".
        links: Symbolic links in SOURCE: refuse, skip, or follow.
    """
    edit = Add(
        source,
        path,
        access=_access(sddl, owner),
        attributes=attribute_bits(attributes),
        overwrite=overwrite,
        parents=parents,
        links=links,
    )
    _edit(file, index, edit, target, in_place=in_place)


def rm(
    file: Path,
    index: int,
    path: str,
    *,
    target: Target = None,
    in_place: InPlace = False,
    recursive: Annotated[bool, Parameter(alias="-r", negative="")] = False,
) -> None:
    """Remove a file or a folder from an image.

    Other names of a removed file stay, and so does its content while anything names it.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        path: File or folder in the image.
        target: New WIM file to write; FILE is only read.
        in_place: Replace FILE, after its successor was written beside it and read back.
        recursive: Remove a folder with all below it.
    """
    _edit(file, index, Delete(path, recursive), target, in_place=in_place)


def mv(
    file: Path,
    index: int,
    old: str,
    new: str,
    *,
    target: Target = None,
    in_place: InPlace = False,
    overwrite: Flag = False,
    parents: Flag = False,
) -> None:
    """Rename a file or folder of an image, or move it to another folder of the image.

    Security, attributes, times, streams and other names are kept; the short name only where the
    name stays the same.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        old: File or folder in the image.
        new: Its new path, or with / at the end the folder to move it into.
        target: New WIM file to write; FILE is only read.
        in_place: Replace FILE, after its successor was written beside it and read back.
        overwrite: Replace a file that stands there.
        parents: Make folders above NEW that are missing.
    """
    edit = Move(old, new, overwrite=overwrite, parents=parents)
    _edit(file, index, edit, target, in_place=in_place)


def replace(
    file: Path,
    index: int,
    path: str,
    source: Path,
    *,
    target: Target = None,
    in_place: InPlace = False,
    source_time: Flag = False,
) -> None:
    """Give a file of an image other content, under all its names (hard links).

    Security, attributes, times, short names, named streams and extended attributes are kept.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        path: File in the image.
        source: File of this machine with the new content.
        target: New WIM file to write; FILE is only read.
        in_place: Replace FILE, after its successor was written beside it and read back.
        source_time: Take the time of the last write from SOURCE.
    """
    edit = Replace(path, source, source_time=source_time)
    _edit(file, index, edit, target, in_place=in_place)


def mkdir(
    file: Path,
    index: int,
    path: str,
    *,
    target: Target = None,
    in_place: InPlace = False,
    parents: Flag = False,
    attributes: str | None = None,
    sddl: str | None = None,
    owner: str | None = None,
) -> None:
    """Make a folder in an image. It inherits its security, and takes its times from its parent.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        path: Folder to make.
        target: New WIM file to write; FILE is only read.
        in_place: Replace FILE, after its successor was written beside it and read back.
        parents: Make folders above it as well; one that is there already is no error.
        attributes: Letters of R, H, S, A, T, O, I, as of `wimsmith wim add`.
        sddl: Its security descriptor, instead of what it inherits.
        owner: Owner instead of the one inherited: SID, alias or known name.
    """
    edit = MakeFolder(
        path,
        access=_access(sddl, owner),
        attributes=attribute_bits(attributes),
        parents=parents,
    )
    _edit(file, index, edit, target, in_place=in_place)


def _edit(file: Path, index: int, edit: Edit, target: Path | None, *, in_place: bool) -> None:
    if in_place == (target is not None):
        raise InvalidInput(
            "exactly one of --target and --in-place is needed",
            hint=f"--target NEW.wim leaves {file} as it is; --in-place replaces it.",
        )
    with progress_bar() as progress, CodecPool() as codec:
        report = edit_image(file, index, [edit], target, codec=codec, progress=progress)
    changes = counted(report.changes, "change")
    new = counted(report.new_content_count, "new content")
    size = human_size(report.new_content_bytes)
    text = f"{report.path}: index {index}, {changes}, {new} of {size}"
    show(report, lambda: print_line(f"{text}, {report.duration_s:.1f} s"))


def _access(sddl: str | None, owner: str | None) -> Access:
    return Access(sddl, None if owner is None else sid_of(owner))
