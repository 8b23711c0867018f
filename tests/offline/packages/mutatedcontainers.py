"""Containers changed by someone who knows the format: one part is broken, the rest is repaired."""

import random
import struct
from collections.abc import Mapping
from dataclasses import replace

from offline.packages.made import mum
from offline.packages.madeindex import FIRST, SECOND, Entry, MadeIndex, digest, made_index
from offline.packages.madewim import compdb, packed
from wimsmith.practice.cabinet import build_cabinet

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFC, 0xFFFD, 0xFFFF)
_LARGE = (*_NUMBERS, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
_HEADER_BYTES = 36
_NAMES = (
    b"..\\evil",
    b"a\\..\\..\\evil",
    b"/etc/passwd",
    b"C:\\evil",
    b"NUL",
    b"con.txt",
    b"",
    b"\xff\xfe",
    b"a" * 300,
    b"ends.",
    b"first.txt\\below",
    b"FIRST.TXT",
)


def seed_cabinet(chance: random.Random) -> bytes:
    """A cabinet of two folders, stored or packed."""
    files = {"first.txt": FIRST, "folder\\second.txt": SECOND, "empty": b""}
    return build_cabinet(files, compress=bool(chance.randrange(2)), folder_bytes=7000)


def mutated_cabinet(chance: random.Random) -> bytes:
    """A cabinet with fields of its directory or its data changed; its stated size is right."""
    changed = bytearray(seed_cabinet(chance))
    for _change in range(chance.choice((1, 1, 2, 3))):
        chance.choice(_CABINET_CHANGES)(changed, chance)
    struct.pack_into("<I", changed, 8, len(changed))
    return bytes(changed)


def _rows(cabinet: bytearray) -> list[int]:
    """Where the rows of files begin."""
    (at,) = struct.unpack_from("<I", cabinet, 16)
    (count,) = struct.unpack_from("<H", cabinet, 28)
    found: list[int] = []
    while len(found) < min(count, 3) and at + 17 <= len(cabinet):
        found.append(at)
        at = cabinet.find(b"\0", at + 16) + 1
        if at == 0:
            break
    return found


def _change_header(cabinet: bytearray, chance: random.Random) -> None:
    offset, width = chance.choice(((16, 4), (24, 1), (26, 2), (28, 2), (30, 2), (32, 2)))
    value = chance.choice(_LARGE if width == 4 else _NUMBERS[:6] if offset == 30 else _NUMBERS)
    cabinet[offset : offset + width] = (value % (1 << 8 * width)).to_bytes(width, "little")


def _change_folder(cabinet: bytearray, chance: random.Random) -> None:
    at = _HEADER_BYTES + 8 * chance.randrange(2)
    if chance.randrange(2):
        struct.pack_into("<I", cabinet, at, chance.choice((*_LARGE, chance.randrange(20_000))))
    else:
        struct.pack_into("<H", cabinet, at + chance.choice((4, 6)), chance.choice(_NUMBERS))


def _change_row(cabinet: bytearray, chance: random.Random) -> None:
    rows = _rows(cabinet)
    if not rows:
        return
    at = chance.choice(rows)
    offset, width = chance.choice(((0, 4), (4, 4), (8, 2), (10, 2), (12, 2), (14, 2)))
    value = chance.choice((*_LARGE, chance.randrange(20_000))) % (1 << 8 * width)
    cabinet[at + offset : at + offset + width] = value.to_bytes(width, "little")


def _change_name(cabinet: bytearray, chance: random.Random) -> None:
    rows = _rows(cabinet)
    if not rows:
        return
    at = chance.choice(rows) + 16
    end = cabinet.find(b"\0", at)
    cabinet[at : max(end, at)] = chance.choice(_NAMES)


def _change_data(cabinet: bytearray, chance: random.Random) -> None:
    """Change a byte of a block and take its checksum away, which readers then do not compare."""
    at, blocks, _method = struct.unpack_from("<IHH", cabinet, _HEADER_BYTES)
    if not blocks or at + 9 >= len(cabinet):
        return
    struct.pack_into("<I", cabinet, at, 0)
    place = chance.randrange(at + 4, min(at + 400, len(cabinet)))
    cabinet[place] = chance.randrange(256)


_CABINET_CHANGES = (
    _change_header,
    _change_folder,
    *(_change_row,) * 4,
    *(_change_name,) * 2,
    *(_change_data,) * 4,
)

_TEXTS = (
    None,
    "",
    "0",
    "-1",
    "3",
    "4",
    "9",
    "12",
    "4294967296",
    "9223372036854775808",
    "1e3",
    " 3",
    "x" * 3000,
    "..\\evil",
    "C:\\evil",
    "made\\first.dll",
    "update.mum\\below",
    "NUL",
    "\u2028",
    "SHA1",
    "SHA256",
    "RAW",
    "PA30",
    "PA19",
    "LZMS",
)
_FIELDS = ("id", "name", "member", "kind", "basis", "length", "value", "source_value", "attr")
_PARTS = (
    "<Hash/>",
    "<Hash alg='SHA256' value='00'/>",
    "<Delta/>",
    "<Delta><Basis file='3'/></Delta>",
    "<Delta><Basis/></Delta>",
    "<Delta><Source type='RAW' name='0'/></Delta>",
    "<File id='3'/>",
    "<!-- -->",
    "<?php?>",
    "<a>" * 70,
    "&amp;&#0;",
    "]]>",
    "<x:y/>",
)


def mutated_index(chance: random.Random, top: bytes) -> MadeIndex:
    """An index with a few fields changed; digests follow what is stored, half of the time."""
    index = made_index(top, chance.choice(("SHA1", "SHA256")))
    for _change in range(chance.choice((1, 1, 2, 4))):
        number = chance.randrange(len(index.entries))
        index.entries[number] = _changed_entry(index.entries[number], chance)
    if chance.randrange(12) == 0:
        index.search = chance.choice(_PARTS)
    if chance.randrange(12) == 0:
        index.kind = chance.choice(("PSF", "UNK", ""))
    if chance.randrange(4) == 0:
        chance.shuffle(index.entries)
    return index


def _changed_entry(entry: Entry, chance: random.Random) -> Entry:
    kind = chance.randrange(8)
    if kind == 0:
        return replace(entry, more=entry.more + chance.choice(_PARTS))
    if kind == 1:
        stored = bytearray(entry.stored_bytes or b"?")
        stored[chance.randrange(len(stored))] ^= 1 << chance.randrange(8)
        return replace(entry, stored=bytes(stored))
    if kind == 2:
        return replace(entry, basis=chance.choice(("3", "4", "5", "7", "8", "9", None)))
    if kind == 3:
        return replace(entry, data=FIRST, value=digest(SECOND, entry.algorithm))
    field = chance.choice(_FIELDS)
    return replace(entry, **{field: chance.choice(_TEXTS)})  # type: ignore[arg-type]


_ANSWER = (
    '<unattend xmlns="urn:schemas-microsoft-com:unattend"><servicing><package action="install">'
    '<assemblyIdentity name="P" version="1.0.0.0" language="neutral" '
    'publicKeyToken="0123456789abcdef" processorArchitecture="amd64"/>'
    '<source location="%configsetroot%\\one.cab"/></package>'
    "</servicing></unattend>"
)
_PROPERTIES = 'KB Article Number="1234567"\r\nProcessor Architecture="amd64"\r\n'
_ORDER = "[Order]\r\n1=two.cab\r\n2=one.cab\r\n"
_ENCODINGS = ("cp1252", "utf-8", "utf-8-sig", "utf-16", "utf-16-be")
_SET_NAMES = (
    "one.cab",
    "two.cab",
    "ssu-1.cab",
    "a-express.cab",
    "LCUCompDB_KB1.xml.cab",
    "a.psf",
    "update.mum",
    "cablist.ini",
    "WSUSSCAN.cab",
    "PkgInstallOrder.txt",
    "deep\\one.cab",
)


def mutated_set(chance: random.Random, one: bytes, two: bytes) -> Mapping[str, bytes]:
    """Members of a `.msu` with a text, a name or a cabinet changed."""
    files = {
        "WSUSSCAN.cab": b"metadata",
        "one.cab": one,
        "two.cab": two,
        "made.xml": _text(_ANSWER, chance),
        "made-pkgProperties.txt": _text(_PROPERTIES, chance),
        "PkgInstallOrder.txt": _text(_ORDER, chance),
    }
    for _change in range(chance.choice((0, 1, 1, 2))):
        name = chance.choice(list(files))
        match chance.randrange(4):
            case 0:
                files[chance.choice(_SET_NAMES)] = files.pop(name)
            case 1:
                del files[name]
            case 2:
                files[name] = _flipped(files[name], chance)
            case _:
                files[chance.choice(_SET_NAMES)] = one
        if not files:
            break
    return files or {"empty": b""}


def mutated_members(chance: random.Random, index: bytes) -> Mapping[str, bytes]:
    """Members of an update in a WIM container: texts are changed, cabinets around them fit."""
    texts = {
        "LCUCompDB_KB5000001.xml": compdb("10.0.26100.1", "10.0.26100.1742"),
        "SSUCompDB_KB5000002.xml": compdb(None, None),
    }
    metadata: dict[str, bytes] = {}
    for name, data in texts.items():
        metadata |= packed(name, _flipped(data, chance) if chance.randrange(2) else data)
    payload = {"update.mum": mum("Made-Package"), "express.psf.cix.xml": index}
    stack = build_cabinet({"update.mum": mum("Stack")})
    return {
        "onepackage.AggregatedMetadata.cab": build_cabinet(metadata),
        "SSU-1-x64.cab": _flipped(stack, chance) if chance.randrange(2) else stack,
        "made.cab": build_cabinet(payload),
        "made.psf": b"PSTREAM\0",
    }


def _text(text: str, chance: random.Random) -> bytes:
    """A text in any encoding, sometimes with a piece cut out, doubled or put in."""
    if chance.randrange(3) == 0:
        start, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        piece = text[start:end]
        inside = chance.choice(("", piece * 2, "<!DOCTYPE a>", "\0", "four.cab", "=", "\u20ac"))
        text = text[:start] + inside + text[end:]
    encoding = chance.choice(_ENCODINGS)
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    return mark + text.encode(encoding, "replace")


def _flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data or b"?")
    for _flip in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)
