"""What a capture leaves out: lists in the form of wimscript.ini, as ImageX and DISM read them.

Sections in brackets, one path or pattern (`*`, `?`) a line; a pattern without a leading separator
means a name in any folder. Source: Microsoft's page on capture configuration files.
"""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import InvalidInput, LimitExceeded

DEFAULT = (
    "\\$ntfs.log",
    "\\hiberfil.sys",
    "\\pagefile.sys",
    "\\swapfile.sys",
    "\\System Volume Information",
    "\\RECYCLER",
    "\\$RECYCLE.BIN",
    "\\$Recycle.Bin",
    "\\Windows\\CSC",
)
"""What Windows leaves out by itself."""

_MAX_BYTES = 1 << 20
_SECTION = re.compile(r"\[\s*(.+?)\s*\]\Z")
_DRIVE = re.compile(r"[A-Za-z]:(?=[\\/])")
_EXCLUDED, _KEPT = "exclusionlist", "exclusionexception"
_IGNORED = frozenset(["compressionexclusionlist", "compressionfolderlist", "prepopulatelist"])


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Patterns to leave out, and exceptions from them. `ignored` are sections without effect."""

    excluded: tuple[str, ...] = DEFAULT
    kept: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def text(self) -> str:
        """The list as a file."""
        lines = ["[ExclusionList]", *self.excluded, "[ExclusionException]", *self.kept]
        return "\n".join(lines) + "\n"


def exclusions(config: Path | None, patterns: Sequence[str]) -> Exclusions:
    """What to leave out: a file in place of the default list, and further patterns.

    Raises:
        InvalidInput: a section or a line that means nothing, or a file that is not text.
        LimitExceeded: a file of more than a megabyte.
    """
    found = Exclusions() if config is None else _read(config)
    added = tuple(_pattern(pattern, "--exclude") for pattern in patterns)
    return Exclusions(found.excluded + added, found.kept, found.ignored)


def _read(config: Path) -> Exclusions:
    lists: dict[str, list[str]] = {_EXCLUDED: [], _KEPT: []}
    ignored: list[str] = []
    section = ""
    for number, raw in enumerate(_text(config).splitlines(), 1):
        line, where = raw.strip(), f"{config}, line {number}"
        if not line or line[0] in "#;":
            continue
        if heading := _SECTION.match(line):
            section = heading[1].lower()
            if section in _IGNORED:
                ignored.append(heading[1])
            elif section not in lists:
                raise InvalidInput(f"{where}: section [{heading[1]}]", hint=_KNOWN)
        elif section in lists:
            lists[section].append(_pattern(line, where))
        elif not section:
            raise InvalidInput(f"{where}: a line in no section", hint=_KNOWN)
    return Exclusions(tuple(lists[_EXCLUDED]), tuple(lists[_KEPT]), tuple(ignored))


_KNOWN = "Begin with a line [ExclusionList], then one path or pattern a line."


def _text(config: Path) -> str:
    with config.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise LimitExceeded(f"{config}: a list of more than {_MAX_BYTES} bytes")
    is_utf16 = data.startswith(codecs.BOM_UTF16_LE) or data[1:2] == b"\0"
    try:
        return data.decode("utf-16-le" if is_utf16 else "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{config}: neither UTF-8 nor UTF-16: {error}") from error


def _pattern(text: str, where: str) -> str:
    pattern = _DRIVE.sub("", text.strip().strip("\"'"), count=1)
    if not pattern.strip("\\/") or "\n" in pattern or "\0" in pattern:
        raise InvalidInput(f"{where}: the pattern {text!r}", hint="Leave out files, not the root.")
    return pattern
