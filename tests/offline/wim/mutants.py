"""Damaged WIM files whose lengths and hashes are right again, so that the damage gets far."""

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from offline.wim.handmade import HEADER_BYTES, METADATA, SOLID, sha1

ENTRY_BYTES = 50
TABLE_AT, XML_AT, INTEGRITY_AT = 48, 72, 124
_VALUES = (0, 1, 2, 7, 8, 0x7F, 0xFF, 0xFFFF, 1 << 20, 1 << 31, 0xFFFF_FFFF, 1 << 32, 1 << 63)
_TEXTS = ("<", ">", "&#0;", "&amp;", "INDEX='9'", "</IMAGE>", "<IMAGE/>", "\ud83d\ude00", "9" * 30)


@dataclass
class Seed:
    """An intact file; `at` is where its header is, which is the end of a pipable one."""

    name: str
    data: bytes

    @property
    def at(self) -> int:
        return len(self.data) - HEADER_BYTES if self.data.startswith(b"WLPWM") else 0


def place(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Offset and size of a resource that the header or a table names at `at`."""
    return struct.unpack_from("<Q", data, at + 8)[0], int.from_bytes(data[at : at + 7], "little")


def mutant(seed: Seed, chance: random.Random) -> tuple[str, bytes]:
    """What was damaged, and the damaged file."""
    kind, damage = chance.choice(tuple(_DAMAGES.items()))
    data = bytearray(seed.data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        damage(data, seed.at, chance)
    return kind, bytes(data)


def _number(data: bytearray, at: int, width: int, chance: random.Random) -> None:
    """Another number where one stands: a special, a near, or any one."""
    old = int.from_bytes(data[at : at + width], "little")
    new = chance.choice(
        (
            chance.choice(_VALUES),
            old + chance.choice((-8, -1, 1, 8)),
            old ^ 1 << chance.randrange(8 * width),
            chance.randrange(len(data)),
        )
    )
    data[at : at + width] = (new % (1 << 8 * width)).to_bytes(width, "little")


def _header(data: bytearray, at: int, chance: random.Random) -> None:
    fields = ((12, 4), (16, 4), (20, 4), (40, 2), (42, 2), (44, 4), (120, 4), (124, 7), (132, 8))
    place_fields = tuple((base + off, size) for base in (48, 72, 96) for off, size in _PLACE)
    offset, width = chance.choice(fields + place_fields)
    _number(data, at + offset, width, chance)


_PLACE = ((0, 7), (7, 1), (8, 8), (16, 8))


def _entry(data: bytearray, at: int, chance: random.Random) -> None:
    entries = _entries(data, at)
    if entries:
        field, width = chance.choice((*_PLACE, (24, 2), (26, 4), (30, 4)))
        _number(data, chance.choice(entries) + field, width, chance)


def _order(data: bytearray, at: int, chance: random.Random) -> None:
    """Entries of the table change places, or one is there twice."""
    entries = _entries(data, at)
    if not entries:
        return
    one, other = chance.choice(entries), chance.choice(entries)
    first, second = data[one : one + ENTRY_BYTES], data[other : other + ENTRY_BYTES]
    data[one : one + ENTRY_BYTES] = second
    if chance.randrange(2):
        data[other : other + ENTRY_BYTES] = first


def _resource(data: bytearray, at: int, chance: random.Random) -> None:
    """Chunk tables and packed chunks; the hash of raw content is made right again."""
    entries = _entries(data, at)
    if not entries:
        return
    entry = chance.choice(entries)
    offset, size = place(data, entry)
    if not size or offset + size > len(data):
        return
    flags = data[entry + 7]
    head = 64 if flags & (4 | SOLID) and chance.randrange(2) else size
    _number(data, offset + chance.randrange(max(min(head, size) - 4, 1)), 4, chance)
    if not flags & (4 | SOLID):
        data[entry + 30 : entry + 50] = sha1(bytes(data[offset : offset + size]))


def _metadata(data: bytearray, at: int, chance: random.Random) -> None:
    """Fields of raw metadata, aligned as they are, and the hash that belongs to it."""
    for entry in _entries(data, at):
        if data[entry + 7] == METADATA:
            offset, size = place(data, entry)
            if offset + size > len(data):
                return
            for _ in range(chance.randint(1, 3)):
                width = chance.choice((2, 4, 8))
                _number(data, offset + chance.randrange(0, size - 8, 2), width, chance)
            data[entry + 30 : entry + 50] = sha1(bytes(data[offset : offset + size]))


def _document(data: bytearray, at: int, chance: random.Random) -> None:
    """The document with a piece more or less, behind the others, with its new length."""
    offset, size = place(data, at + XML_AT)
    text = data[offset : offset + size].decode("utf-16-le", "replace")
    if not text:
        return
    start = chance.randrange(len(text))
    end = min(len(text), start + chance.choice((0, 0, 1, 5, 40)))
    document = (text[:start] + chance.choice((*_TEXTS, text[start:end] * 2)) + text[end:]).encode(
        "utf-16-le", "surrogatepass"
    )
    stored = len(document).to_bytes(7, "little")
    where = at or len(data)
    data[at + XML_AT : at + XML_AT + 24] = struct.pack(
        "<7sBQQ", stored, METADATA, where, len(document)
    )
    data[where:where] = document


def _entries(data: bytes | bytearray, at: int) -> range:
    offset, size = place(data, at + TABLE_AT)
    size = min(size, max(len(data) - offset, 0))
    return range(offset, offset + size - ENTRY_BYTES + 1, ENTRY_BYTES)


def _cut(data: bytearray, at: int, chance: random.Random) -> None:
    if chance.randrange(4):
        _header(data, at, chance)
    else:
        del data[chance.randrange(len(data)) :]
        data += bytes(max(at + HEADER_BYTES - len(data), 0))


_DAMAGES: dict[str, Callable[[bytearray, int, random.Random], None]] = {
    "header": _header,
    "entry": _entry,
    "order": _order,
    "resource": _resource,
    "metadata": _metadata,
    "document": _document,
    "cut": _cut,
}


def load(paths: list[Path]) -> list[Seed]:
    return [Seed(path.name, path.read_bytes()) for path in paths]
