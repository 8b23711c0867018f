"""NTFS volumes in small files, and what wimlib and the tools of ntfs-3g say is on them."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from offline.wim.judges import link_groups, run
from offline.wim.rawmetadata import RawEntry, raw_entries


@dataclass(frozen=True)
class OnVolume:
    """One name on a volume: wimlib's metadata of it, the names of the same file, and its EAs."""

    raw: RawEntry
    links: frozenset[str]
    extended: bytes


def make_volume(path: Path, size_bytes: int = 64 << 20, *options: object) -> Path:
    with path.open("xb") as file:
        file.truncate(size_bytes)
    subprocess.run(
        ["mkntfs", "-Q", "-F", "-q", *map(str, options), str(path)], check=True, capture_output=True
    )
    return path


def read_back(volume: Path) -> dict[str, OnVolume]:
    """All names on a volume, as wimlib captures them; EAs as ntfsinfo and ntfscat show them.

    wimlib's capture excludes nothing here, and EAs are looked for where ntfsinfo sees any.
    """
    wim, config = volume.with_suffix(".readback.wim"), volume.with_suffix(".readback.ini")
    config.write_text("[ExclusionList]\n")
    run(
        *("wimlib-imagex", "capture", volume, wim, "Back", "--compress=none", "--norpfix"),
        f"--config={config}",
    )
    entries = raw_entries(wim)
    links = _links(wim)
    wim.unlink()
    config.unlink()
    return {
        path: OnVolume(entry, links.get(path, frozenset([path])), extended(volume, path))
        for path, entry in entries.items()
    }


def extended(volume: Path, path: str) -> bytes:
    """Raw extended attributes of a file; nothing where it has none."""
    if not _is_text(path):
        return b""
    done = subprocess.run(
        ["ntfscat", "-q", "-f", "-a", "0xE0", str(volume), path or "/"],
        capture_output=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else b""


def content(volume: Path, path: str, stream: str = "") -> bytes:
    name = ["-n", stream] if stream else []
    return subprocess.run(
        ["ntfscat", "-q", "-f", *name, str(volume), path], capture_output=True, check=True
    ).stdout


def names(volume: Path) -> set[str]:
    """Paths that ntfsls lists."""
    found, folder = set(), ""
    for line in run("ntfsls", "-R", "-f", volume).splitlines():
        if line.startswith("/") and line.endswith(":"):
            folder = line[:-1].rstrip("/")
        elif line and line not in {".", ".."}:
            found.add(f"{folder}/{line}")
    return found


def flags(volume: Path) -> int:
    """Flags of the volume; 1 is dirty."""
    found = re.search(r"Volume Flags: 0x(\w+)", run("ntfsinfo", "-m", "-f", volume))
    assert found
    return int(found[1], 16)


def _links(wim: Path) -> dict[str, frozenset[str]]:
    groups = [frozenset(f"/{path}" for path in group) for group in link_groups(wim)]
    return {path: group for group in groups for path in group}


def _is_text(path: str) -> bool:
    return not any(0xD800 <= ord(character) < 0xE000 for character in path)
