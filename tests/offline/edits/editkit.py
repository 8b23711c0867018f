"""Images to edit, and what other programs read in them before and after."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from offline.registry.readers import Dump, by_hivex
from offline.wim.judges import Listed, listing, run
from wimsmith.offline.edits.kinds import Edit
from wimsmith.offline.edits.planning import EditPlan, plan_edits
from wimsmith.offline.edits.writing import EditReport, edit_image
from wimsmith.offline.image import ImageView
from wimsmith.offline.registry import Hive, ValueType, encode_dword, encode_text
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec
from wimsmith.practice.image import build_image
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import ImageSpec

NOW = 133_600_000_000_000_000
CONFIG = "Windows/System32/config"
HIVES = (
    f"{CONFIG}/SOFTWARE",
    f"{CONFIG}/SYSTEM",
    f"{CONFIG}/DEFAULT",
    f"{CONFIG}/COMPONENTS",
    f"{CONFIG}/SAM",
    f"{CONFIG}/SECURITY",
    "Users/Default/NTUSER.DAT",
)
ANSWER = (
    '<?xml version="1.0" encoding="utf-8"?>\n<unattend xmlns="urn:schemas-microsoft-com:unattend">'
    '<settings pass="{}"/></unattend>\n'
)


@dataclass(frozen=True)
class Seen:
    """Files by path as wimlib lists them, hives by path as libhivex reads them."""

    files: dict[str, Listed]
    hives: dict[str, Dump]


def practice_image(path: Path, indexes: int = 1) -> Path:
    """An image like Windows 10, with real hives."""
    spec = ImageSpec(indexes=indexes, size_bytes=200_000)
    build_image(spec, path, root=PracticeRoot.new())
    return path


def boot_image(folder: Path) -> Path:
    """A file with one bootable image like Windows PE, packed by wimlib; it has no descriptors."""
    config = folder / "pe" / CONFIG
    config.mkdir(parents=True)
    key = r"Microsoft\Windows NT\CurrentVersion\WinPE"
    for name in ("SOFTWARE", "SYSTEM", "DEFAULT"):
        hive = Hive.new()
        hive.create_key("Old")
        if name == "SYSTEM":
            hive.create_key("ControlSet002\\Control")
            hive.create_key("Select")
            hive.set_value("Select", "Default", ValueType.DWORD, encode_dword(2))
        if name == "SOFTWARE":
            hive.create_key(key)
            hive.set_value(key, "InstRoot", ValueType.SZ, encode_text("X:\\"))
        (config / name).write_bytes(hive.serialize(NOW))
    (folder / "pe/Windows/System32/startnet.cmd").write_text("wpeinit\r\n")
    path = folder / "boot.wim"
    run("wimlib-imagex", "capture", folder / "pe", path, "Microsoft Windows PE", "--boot")
    return path


def user_hive() -> bytes:
    """The hive of a user of the image."""
    hive = Hive.new()
    hive.create_key("Software")
    hive.create_key("Control Panel\\Desktop")
    return hive.serialize(NOW)


def edited(path: Path, *edits: Edit, index: int = 1, target: Path | None = None) -> EditReport:
    """Carry out edits in place, or as a new file."""
    return edit_image(path, index, edits, target, codec=LibwimCodec(), modified=NOW)


def planned(wim: Wim, spool: Path, edits: Sequence[Edit], index: int = 1) -> EditPlan:
    return plan_edits(ImageView(wim, index), edits, spool, NOW)


def plan_of(path: Path, *edits: Edit, index: int = 1) -> EditPlan:
    with open_wim(path, LibwimCodec()) as wim:
        return planned(wim, path.parent / "spool", edits, index)


def seen(path: Path, folder: Path, index: int = 1, more: Sequence[str] = ()) -> Seen:
    files = listing(path, index)
    hives = {
        name: by_hivex(content(path, name, index), folder)
        for name in (*HIVES, *more)
        if name in files
    }
    return Seen(files, hives)


def content(path: Path, name: str, index: int = 1) -> bytes:
    """A file of an image as wimlib extracts it."""
    command = ["wimlib-imagex", "extract", str(path), str(index), name, "--to-stdout"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def file_differences(before: Seen, after: Seen, besides: Sequence[str] = ()) -> set[str]:
    """Paths that come, go, or have any field, stream or number of names changed."""
    names = before.files.keys() | after.files.keys()
    return {
        name
        for name in names - set(besides)
        if _comparable(before.files.get(name)) != _comparable(after.files.get(name))
    }


def _comparable(entry: Listed | None) -> object:
    if entry is None:
        return None
    fields = [(name, value) for name, value in entry.fields if "Link Group" not in name]
    return fields, entry.streams, entry.link_count


def value_differences(
    before: Dump, after: Dump
) -> Iterator[tuple[str, tuple[str, int, bytes] | None, str]]:
    """Keys (without value) and values that are there on one side only, and on which."""
    for side, one, other in (("-", before, after), ("+", after, before)):
        for key in one:
            if key not in other:
                yield key, None, side
            for value in one[key] - other.get(key, frozenset()):
                yield key, value, side
