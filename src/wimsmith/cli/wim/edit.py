"""Commands that change one thing in one image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from wimsmith.cli.output import print_line, progress_bar, show
from wimsmith.cli.wim.editshown import report_row, summary, warn
from wimsmith.errors import InvalidInput
from wimsmith.offline.edits.data import attribute_bits
from wimsmith.offline.edits.kinds import Access, Add, Delete, Edit, MakeFolder, Move, Replace
from wimsmith.offline.edits.writing import edit_image
from wimsmith.offline.intake import SourceLinks
from wimsmith.offline.sidnames import sid_of
from wimsmith.offline.wim.workers.worker import CodecPool

Flag = Annotated[bool, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Place:
    """Where the result goes.

    Attributes:
        target: New WIM file to write; FILE is only read.
        in_place: Replace FILE, after its successor was written beside it and read back.
    """

    target: Annotated[Path | None, Parameter(alias="--output")] = None
    in_place: Flag = False

    def check(self, file: Path) -> None:
        """Return if it is said once."""
        if self.in_place == (self.target is not None):
            raise InvalidInput(
                "exactly one of --target and --in-place is needed",
                hint=f"--target NEW.wim leaves {file} as it is; --in-place replaces it.",
            )


_UNSAID = Place()


def add(
    file: Path,
    index: int,
    source: Path,
    path: str,
    *,
    place: Place = _UNSAID,
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
        place: Where the result goes.
        source: File or folder of this machine.
        path: Where in the image: its path there, or with / at the end the folder to put it into.
        overwrite: Put new files in the place of those in the image; they keep security and short
            name, and leave other names (hard links) of the old file as they are. `wimsmith wim
            replace` writes into the old file instead.
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
        attributes=_attributes(attributes),
        overwrite=overwrite,
        parents=parents,
        links=links,
    )
    _edit(file, index, edit, place)


def rm(
    file: Path,
    index: int,
    path: str,
    *,
    place: Place = _UNSAID,
    recursive: Annotated[bool, Parameter(alias="-r", negative="")] = False,
) -> None:
    """Remove a file or a folder from an image.

    Other names of a removed file stay, and so does its content while anything names it.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        place: Where the result goes.
        path: File or folder in the image.
        recursive: Remove a folder with all below it.
    """
    _edit(file, index, Delete(path, recursive), place)


def mv(
    file: Path,
    index: int,
    old: str,
    new: str,
    *,
    place: Place = _UNSAID,
    overwrite: Flag = False,
    parents: Flag = False,
) -> None:
    """Rename a file or folder of an image, or move it to another folder of the image.

    Security, attributes, times, streams and other names are kept; the short name only where the
    name stays the same.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        place: Where the result goes.
        old: File or folder in the image.
        new: Its new path, or with / at the end the folder to move it into.
        overwrite: Replace a file that stands there.
        parents: Make folders above NEW that are missing.
    """
    _edit(file, index, Move(old, new, overwrite=overwrite, parents=parents), place)


def replace(
    file: Path,
    index: int,
    path: str,
    source: Path,
    *,
    place: Place = _UNSAID,
    source_time: Flag = False,
) -> None:
    """Give a file of an image other content, under all its names (hard links).

    That is what copying over a file does on Windows. Security, attributes, times, short names,
    named streams and extended attributes are kept.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        place: Where the result goes.
        path: File in the image.
        source: File of this machine with the new content.
        source_time: Take the time of the last write from SOURCE.
    """
    _edit(file, index, Replace(path, source, source_time=source_time), place)


def mkdir(
    file: Path,
    index: int,
    path: str,
    *,
    place: Place = _UNSAID,
    parents: Flag = False,
    attributes: str | None = None,
    sddl: str | None = None,
    owner: str | None = None,
) -> None:
    """Make a folder in an image. It inherits its security, and takes its times from its parent.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        place: Where the result goes.
        path: Folder to make.
        parents: Make folders above it as well; one that is there already is no error.
        attributes: Letters of R, H, S, A, T, O, I, as of `wimsmith wim add`.
        sddl: Its security descriptor, instead of what it inherits.
        owner: Owner instead of the one inherited: SID, alias or known name.
    """
    edit = MakeFolder(
        path,
        access=_access(sddl, owner),
        attributes=_attributes(attributes),
        parents=parents,
    )
    _edit(file, index, edit, place)


def _edit(file: Path, index: int, edit: Edit, place: Place) -> None:
    place.check(file)
    with progress_bar() as progress, CodecPool() as codec:
        report = edit_image(
            file, index, [edit], place.target, codec=codec, numbered=False, progress=progress
        )
    warn(report.edits)
    show(report_row(report), lambda: print_line(summary(report)))


def _access(sddl: str | None, owner: str | None) -> Access:
    return Access(sddl, None if owner is None else sid_of(owner))


def _attributes(letters: str | None) -> int | None:
    return None if letters is None else attribute_bits(letters)
