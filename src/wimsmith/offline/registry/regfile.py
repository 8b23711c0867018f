r"""Registration entries (`.reg` files): from text to edits.

Both kinds are read: `Windows Registry Editor Version 5.00`, and `REGEDIT4` of Windows 9x and NT 4,
whose texts are in a code page. What the registry editor would skip without a word is an error
here, with the number of its line. Facts about the format: docs/internals/reg-files.md.

    for edit in parse_reg(Path("setup.reg").read_bytes()).edits: ...
"""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from wimsmith.errors import DamagedRegFile, InvalidInput, LimitExceeded, UnsafePath
from wimsmith.offline.registry.hive import MAX_DEPTH
from wimsmith.offline.registry.names import check_key_name, check_value_name
from wimsmith.offline.registry.values import ValueType, encode_dword, encode_text

MAX_FILE_BYTES = 256 << 20
MAX_LINE_CHARACTERS = 16 << 20
MAX_DATA_BYTES = 16 << 20
MAX_EDITS = 2_000_000
WESTERN_CODE_PAGE = 1252

ANSI_TEXT_TYPES = frozenset({ValueType.SZ, ValueType.EXPAND_SZ, ValueType.MULTI_SZ})
"""Types whose `hex` bytes are in the code page in files of version 4."""

ROOT_NAMES = MappingProxyType(
    {
        "HKCR": "HKEY_CLASSES_ROOT",
        "HKCU": "HKEY_CURRENT_USER",
        "HKLM": "HKEY_LOCAL_MACHINE",
        "HKU": "HKEY_USERS",
        "HKCC": "HKEY_CURRENT_CONFIG",
    }
)

_NAME = re.compile(r'"((?:[^"\\]++|\\["\\])*+)"')
_TEXT = re.compile(r'(?:[^"\\]++|\\["\\])*+')
_ESCAPE = re.compile(r'\\(["\\])')
_DWORD = re.compile(r"dword:[ \t]*([0-9A-Fa-f]{1,8})(?![0-9A-Fa-f])")
_HEX = re.compile(r"hex(?:\(([0-9A-Fa-f]{1,8})\))?:")
_PAIRS = re.compile(r"(?:[0-9A-Fa-f]{2},)*+[0-9A-Fa-f]{2},?")
_LOOSE_PAIR = re.compile(r"[0-9A-Fa-f]{1,2}")
_END = re.compile(r"[ \t]*+(?:;.*)?", re.DOTALL)
_UNCLEAR_END = re.compile(r"\][ \t]*;")
_BLANKS = " \t"


class RegVersion(Enum):
    """Kinds of `.reg` files, by the line that they begin with."""

    V4 = "REGEDIT4"
    V5 = "Windows Registry Editor Version 5.00"


@dataclass(frozen=True, slots=True)
class MakeKey:
    """Make a key with those above it, unless it is there."""

    line: int
    key: str


@dataclass(frozen=True, slots=True)
class DropKey:
    """Delete a key with all below it."""

    line: int
    key: str


@dataclass(frozen=True, slots=True)
class PutValue:
    """Set a value; the default value has the empty name."""

    line: int
    key: str
    name: str
    type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class DropValue:
    """Delete a value."""

    line: int
    key: str
    name: str


RegEdit = MakeKey | DropKey | PutValue | DropValue


@dataclass(frozen=True, slots=True)
class RegFile:
    """What a `.reg` file asks for, in its order; keys begin with the long name of their root."""

    version: RegVersion
    edits: tuple[RegEdit, ...]


def parse_reg(data: bytes, *, code_page: int = WESTERN_CODE_PAGE) -> RegFile:
    r"""Read a `.reg` file.

    Args:
        data: The file: UTF-16 with a byte order mark as the registry editor writes it, UTF-8, or
            the code page. Lines end in LF or CR LF.
        code_page: Number of the code page of version 4 files, and of version 5 files that have
            no byte order mark and are not UTF-8.

    Raises:
        DamagedRegFile: not such a file, or a line that means nothing.
        LimitExceeded: more than 256 MiB, 2,000,000 edits or 16 MiB in one value.
        InvalidInput: a code page that is not known.
    """
    if len(data) > MAX_FILE_BYTES:
        raise LimitExceeded(f"a .reg file of {len(data)} bytes")
    codec = code_page_codec(code_page)
    text = _decoded(data, codec)
    if "\0" in text:
        raise DamagedRegFile(f"line {text[: text.index(chr(0))].count(chr(10)) + 1}: a NUL")
    lines = _Lines(text)
    version = _version(lines.take())
    edits: list[RegEdit] = []
    for edit in _edits(lines, None if version is RegVersion.V5 else codec):
        if len(edits) == MAX_EDITS:
            raise LimitExceeded(f"more than {MAX_EDITS} edits in a .reg file")
        edits.append(edit)
    return RegFile(version, tuple(edits))


def code_page_codec(code_page: int) -> str:
    """Name of Python's codec for a code page of Windows.

    Raises:
        InvalidInput: not known, or not one that a `.reg` file can be in.
    """
    name = {65001: "utf-8", 20866: "koi8-r", 28591: "iso8859-1"}.get(code_page, f"cp{code_page}")
    try:
        b"REGEDIT4".decode(name)
    except (LookupError, UnicodeError):
        raise InvalidInput(
            f"code page {code_page}", hint="1252 is that of Western Europe, 1251 of Cyrillic."
        ) from None
    return name


def long_root(root: str) -> str:
    """The long name of a root key in capitals; what is none stays as it is."""
    upper = root.upper()
    return ROOT_NAMES.get(upper, upper if upper in ROOT_NAMES.values() else root)


def is_unclear_key_name(name: str) -> bool:
    """Whether no `.reg` file can say the name of this key so that it is read the same."""
    return any(part in name for part in "\\\0\r\n") or bool(_UNCLEAR_END.search(name))


def is_unclear_value_name(name: str) -> bool:
    """Whether no `.reg` file can say the name of this value so that it is read the same."""
    return any(part in name for part in "\0\r\n")


class _Lines:
    """The lines of a text, one after the other."""

    __slots__ = ("_at", "_text", "ending", "number")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.number = 0
        self.ending = ""

    def take(self) -> str | None:
        """The next line without its ending, None behind the last."""
        if self._at >= len(self._text):
            return None
        self.number += 1
        end = self._text.find("\n", self._at)
        stop = len(self._text) if end < 0 else end
        if stop - self._at > MAX_LINE_CHARACTERS:
            raise LimitExceeded(f"line {self.number} of a .reg file, {stop - self._at} characters")
        line = self._text[self._at : stop]
        self._at = stop + 1
        self.ending = "" if end < 0 else "\n"
        if end >= 0 and line.endswith("\r"):
            line, self.ending = line[:-1], "\r\n"
        return line

    def error(self, text: str) -> DamagedRegFile:
        return DamagedRegFile(f"line {self.number}: {text}")


def _decoded(data: bytes, codec: str) -> str:
    if data.startswith(BOM_UTF16_BE):
        raise DamagedRegFile("big-endian UTF-16; Windows does not read it either")
    try:
        if data.startswith(BOM_UTF16_LE):
            return data[2:].decode("utf-16-le", "surrogatepass")
        if data.startswith(BOM_UTF8):
            return data[3:].decode("utf-8", "surrogatepass")
        if not data.lstrip(b" \t").startswith(RegVersion.V4.value.encode()):
            try:
                return data.decode("utf-8", "surrogatepass")
            except UnicodeDecodeError:
                return data.decode(codec)
        return data.decode(codec)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DamagedRegFile(f"line {line}: {error.reason} ({error.encoding})") from error


def _version(line: str | None) -> RegVersion:
    try:
        return RegVersion((line or "").strip(_BLANKS))
    except ValueError:
        known = " or ".join(f'"{version.value}"' for version in RegVersion)
        raise DamagedRegFile(f"the first line is not {known}") from None


def _edits(lines: _Lines, codec: str | None) -> Iterator[RegEdit]:
    key: str | None = None
    while (line := lines.take()) is not None:
        line = line.lstrip(_BLANKS)
        if not line or line[0] in ";#":
            continue
        if line[0] == "[":
            name, is_dropped = _key(line, lines)
            key = None if is_dropped else name
            yield (DropKey if is_dropped else MakeKey)(lines.number, name)
        elif line[0] in '"@':
            if key is None:
                raise lines.error("a value that belongs to no key")
            yield _value(line, lines, key, codec)
        else:
            raise lines.error(f"neither a key nor a value: {line[:60]!r}")


def _key(line: str, lines: _Lines) -> tuple[str, bool]:
    end = line.rfind("]")
    if end < 0 or not _END.fullmatch(line, end + 1):
        raise lines.error(f"the name of a key does not end in ]: {line[:60]!r}")
    name = line[1:end]
    if _UNCLEAR_END.search(name):
        raise lines.error(f"the name of the key could end in two places: {line[:60]!r}")
    is_dropped = name.startswith("-")
    root, *names = name.removeprefix("-").split("\\")
    names = [one for one in names if one]
    if len(names) > MAX_DEPTH:
        raise LimitExceeded(f"line {lines.number} of a .reg file: a path of {len(names)} keys")
    try:
        for one in (root, *names):
            check_key_name(one)
    except UnsafePath:
        raise lines.error(f"no key can have this name: {line[:60]!r}") from None
    return "\\".join((long_root(root), *names)), is_dropped


def _value(line: str, lines: _Lines, key: str, codec: str | None) -> PutValue | DropValue:
    number = lines.number
    name, at = _value_name(line, lines)
    rest = line[at:].lstrip(_BLANKS)
    if not rest.startswith("="):
        raise lines.error(f"no = behind the name of the value {name[:60]!r}")
    rest = rest[1:].lstrip(_BLANKS)
    if rest.startswith("-"):
        _check_end(rest, 1, lines)
        return DropValue(number, key, name)
    if rest.startswith('"'):
        text = _text(rest, lines)
        return PutValue(number, key, name, ValueType.SZ, encode_text(text))
    if match := _DWORD.match(rest):
        _check_end(rest, match.end(), lines)
        return PutValue(number, key, name, ValueType.DWORD, encode_dword(int(match[1], 16)))
    if match := _HEX.match(rest):
        kind = int(match[1], 16) if match[1] else int(ValueType.BINARY)
        data = _bytes(rest[match.end() :], lines)
        if codec is not None and kind in ANSI_TEXT_TYPES:
            data = _from_code_page(data, codec, lines)
        return PutValue(number, key, name, kind, data)
    raise lines.error(f"the data of the value {name[:60]!r} are of no known form: {rest[:60]!r}")


def _value_name(line: str, lines: _Lines) -> tuple[str, int]:
    if line[0] == "@":
        return "", 1
    match = _NAME.match(line)
    if match is None:
        raise lines.error(f"the name of a value does not end, or has a bare \\: {line[:60]!r}")
    name = _ESCAPE.sub(r"\1", match[1])
    try:
        return check_value_name(name), match.end()
    except UnsafePath:
        raise lines.error(f"no value can have this name: {name[:60]!r}") from None


def _text(rest: str, lines: _Lines) -> str:
    """A text between quotation marks, which may go over several lines."""
    started, size, at = lines.number, 0, 1
    parts: list[str] = []
    while True:
        match = _TEXT.match(rest, at)
        assert match is not None
        parts.append(match[0])
        size += len(match[0])
        if size * 2 > MAX_DATA_BYTES:
            raise LimitExceeded(f"the text at line {started} of a .reg file")
        if match.end() < len(rest):
            break
        parts.append(lines.ending)
        following = lines.take()
        if following is None:
            raise DamagedRegFile(f"line {started}: the text that begins here does not end")
        rest, at = following, 0
    if rest[match.end()] != '"':
        raise lines.error('a \\ in a text that stands before neither \\ nor "')
    _check_end(rest, match.end() + 1, lines)
    return _ESCAPE.sub(r"\1", "".join(parts))


def _bytes(rest: str, lines: _Lines) -> bytes:
    r"""Bytes in hexadecimal with commas between; a `\` at the end of a line goes on in the next."""
    data = bytearray()
    is_first = True
    while True:
        digits = rest.partition(";")[0].strip(_BLANKS)
        goes_on = digits.endswith("\\")
        digits = digits.removesuffix("\\").rstrip(_BLANKS)
        if digits:
            data += _pairs(digits, lines)
        elif goes_on and not is_first:
            raise lines.error("a line without bytes that says that more follow")
        if goes_on and digits and not digits.endswith(","):
            raise lines.error("no comma before the \\ that says that more bytes follow")
        if len(data) > MAX_DATA_BYTES:
            raise LimitExceeded(f"more than {MAX_DATA_BYTES} bytes in a value of a .reg file")
        if not goes_on:
            return bytes(data)
        rest, is_first = _continuation(lines), False


def _continuation(lines: _Lines) -> str:
    """The next line that is neither empty nor a comment."""
    started = lines.number
    while (line := lines.take()) is not None:
        stripped = line.strip(_BLANKS)
        if stripped and not stripped.startswith(";"):
            return stripped
    raise DamagedRegFile(f"line {started}: the file ends where more bytes should follow")


def _pairs(digits: str, lines: _Lines) -> bytes:
    if _PAIRS.fullmatch(digits):
        return bytes.fromhex(digits.replace(",", " "))
    tokens = [token.strip(_BLANKS) for token in digits.removesuffix(",").split(",")]
    for token in tokens:
        if not _LOOSE_PAIR.fullmatch(token):
            raise lines.error(f"not a byte in hexadecimal: {token[:20]!r}")
    return bytes(int(token, 16) for token in tokens)


def _from_code_page(data: bytes, codec: str, lines: _Lines) -> bytes:
    try:
        return data.decode(codec).encode("utf-16-le", "surrogatepass")
    except UnicodeDecodeError as error:
        raise lines.error(f"bytes that are no text in {codec}") from error


def _check_end(rest: str, at: int, lines: _Lines) -> None:
    if not _END.fullmatch(rest, at):
        raise lines.error(f"something behind the data of a value: {rest[at : at + 60]!r}")
