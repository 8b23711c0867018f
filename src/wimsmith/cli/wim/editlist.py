"""`wimsmith wim edit`: a list of edits of one image, from the command line and from scripts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from wimsmith.cli.output import counted, options, print_json, print_line, progress_bar
from wimsmith.cli.wim.consent import CONSENT
from wimsmith.cli.wim.edit import Flag, Place
from wimsmith.cli.wim.editshown import (
    change_line,
    report_row,
    result_line,
    result_row,
    summary,
    warn,
)
from wimsmith.errors import ConsentNeeded, InvalidInput
from wimsmith.offline.edits.kinds import Edit, InstalledEdit
from wimsmith.offline.edits.words import edits_of
from wimsmith.offline.edits.writing import edit_image, preview_edits
from wimsmith.offline.wim.workers.worker import CodecPool

_UNSAID = Place()


@Parameter(name="*", show=False)
@dataclass(frozen=True, slots=True)
class Common:
    """Flags of every command, which cyclopts leaves to a command that takes words with hyphens."""

    json: Flag = False
    debug: Flag = False
    state: Path | None = None

    def set(self) -> None:
        """Let them count, as `wimsmith.cli.main` does."""
        options.json |= self.json
        options.debug |= self.debug
        options.state = self.state or options.state


_NOTHING_SAID = Common()


def edit(
    file: Path,
    index: Annotated[int, Parameter(allow_leading_hyphen=True)],
    *edits: Annotated[str, Parameter(allow_leading_hyphen=True)],
    place: Place = _UNSAID,
    dry_run: Flag = False,
    experimental: Flag = False,
    common: Common = _NOTHING_SAID,
) -> None:
    r"""Make a list of edits of one image: files, registry, answer file, features.

    Edits are carried out in the order in which they stand, each on what those before it left. All
    of them become one new file, or none: if one cannot be, nothing is written, and the error names
    it. What changes nothing is not counted as a change. Options of an edit stand behind it.

    Example: wimsmith wim edit install.wim 1 --add tools "Program Files/Contoso/" --parents
    --import-reg settings.reg --answer-file unattend.xml --target new.wim

    FILES AND FOLDERS

    --add SOURCE PATH: put a file, or a folder with all below it, from this machine at PATH, or
    into the folder PATH if it ends in /. [--overwrite] puts new files in the place of old ones,
    under this one name; [--parents] makes missing folders; [--attributes RHSATOI]; [--time
    2024-01-31T12:00:00Z] instead of the time of each source; [--sddl SDDL] and [--owner ACCOUNT]
    instead of what is inherited; [--links refuse|skip|follow] for symbolic links.

    --replace PATH SOURCE: write other content into the file at PATH, under all its names (hard
    links), as copying over it does on Windows; all else is kept. [--source-time]

    --rm PATH: remove a file or an empty folder; [--recursive] a folder with all below it.

    --mv PATH NEW_PATH: rename, or move into the folder NEW_PATH if it ends in /. [--overwrite]
    [--parents]

    --mkdir PATH: make a folder. [--parents] [--attributes RHSATOI] [--time TIME] [--sddl SDDL]
    [--owner ACCOUNT]

    --security PATH: give what is there [--sddl SDDL], [--owner ACCOUNT] or both.

    REGISTRY

    --import-reg SOURCE: bring in a .reg file (Registry Editor 5.00 or REGEDIT4), all of it or
    nothing. Keys go to the hives that a running Windows has them in: HKLM\SOFTWARE, HKLM\SYSTEM
    (CurrentControlSet is the one that starts), HKU\.DEFAULT, and for HKCU the default user, whose
    hive new users start with. [--hive HIVE] says the one hive that all keys are in: SOFTWARE,
    SYSTEM, DEFAULT, NTUSER, DRIVERS, COMPONENTS, or that of a user as Users/Kim/NTUSER.DAT.
    [--root KEY] is what the file calls the root of HIVE, such as HKLM\OFFLINE. [--code-page 1252]
    is that of REGEDIT4 files. SAM and SECURITY are not edited.

    --set-value KEY NAME TYPE DATA: set a value; @ is the default value. Types are sz, expand_sz,
    multi_sz (a\0b), dword and qword (31 or 0x1f), binary and none (hexadecimal), hex(N) for any
    other. KEY begins as HKLM\SOFTWARE, HKCU and so on, or with the name of a hive: SOFTWARE\Key.
    With [--hive HIVE], as above, it may also begin below the root of that. Values whose names
    speak of passwords are not shown.

    --delete-value KEY NAME, --create-key KEY, --delete-key KEY: [--hive HIVE]. A key is deleted
    with all below it.

    SETUP AND FEATURES

    --answer-file SOURCE: make it Windows\Panther\unattend.xml, in place of one that is there. Its
    pass offlineServicing is carried out by Setup, not now.

    --enable-feature NAME, --disable-feature NAME, --remove-package NAME: where the payload is in
    the image and all of it can be done offline; refused with the reason otherwise. They write the
    component store, which is experimental and needs --experimental, except for --dry-run; without
    it the exit code is 76. Other edits do not ask for it.

    SCRIPTS

    --script FILE: the edits of a text file, one in a line, written as here without the leading --:
    add "my files/tool.exe" Windows/ --overwrite. Lines that begin with # are comments; "" is a
    quotation mark between quotation marks. Paths of sources start from the folder of the script
    and stay below it; [--sources DIR] names another folder.

    Args:
        file: WIM file; an install image or a boot image (Windows PE, whose X: is the image).
        index: Number of the image, from 1.
        edits: Edits with their words and options, in order.
        place: Where the result goes.
        dry_run: Say what would change, files and values before and after; write nothing.
        experimental: Consent to edits of features and packages by an experimental engine; try the
            result before you deploy it.
        common: Flags of every command.
    """
    common.set()
    if not dry_run:
        place.check(file)
    wanted = edits_of(edits)
    if not wanted:
        raise InvalidInput(
            "no edits", hint="`wimsmith wim edit --help` lists them; --script reads them."
        )
    if dry_run:
        _preview(file, index, wanted)
        return
    if not experimental and any(isinstance(one, InstalledEdit) for one in wanted):
        raise ConsentNeeded(CONSENT)
    with progress_bar() as progress, CodecPool() as codec:
        report = edit_image(file, index, wanted, place.target, codec=codec, progress=progress)
    warn(report.edits)
    if options.json:
        print_json(report_row(report))
        return
    for result in report.edits:
        print_line(result_line(result))
    print_line(summary(report))


def _preview(file: Path, index: int, edits: list[Edit]) -> None:
    with progress_bar() as progress, CodecPool() as codec:
        plan = preview_edits(file, index, edits, codec=codec, progress=progress)
    if options.json:
        rows = [result_row(one) for one in plan.results]
        print_json({"path": file, "index": index, "possible": plan.error is None, "edits": rows})
    else:
        for result in plan.results:
            print_line(result_line(result))
            for change in result.changes:
                print_line(f"    {change_line(change)}")
            if left := result.change_count - len(result.changes):
                print_line(f"    and {counted(left, 'change')} more")
        warn(plan.results)
    if error := plan.named_error():
        raise error
