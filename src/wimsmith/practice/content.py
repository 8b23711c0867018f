"""Content of generated files: made from a seed, never taken from anywhere."""

import hashlib
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from wimsmith.practice.spec import Content

_MACHINES = {"amd64": 0x8664, "x86": 0x014C, "wow64": 0x014C}
_HEADERS_BYTES = 0x400
_SPOOL_FROM_BYTES = 1 << 14
_WORDS = ("window", "pane", "frame", "hinge", "latch", "sill", "glass", "light", "view", "street")


@dataclass(frozen=True, slots=True)
class Stored:
    """A content by its digests."""

    sha1: bytes
    sha256: bytes
    size_bytes: int

    def digest(self, algorithm: str) -> bytes:
        return self.sha1 if algorithm == "sha1" else self.sha256


class ContentPool:
    """Contents by SHA-1; large ones lie in files of `spool`, so that memory stays small.

    `generated` is told the size in bytes of each content that is generated; it may raise.
    """

    def __init__(
        self, spool: Path | None = None, generated: Callable[[int], None] | None = None
    ) -> None:
        self._spool = spool
        self._generated = generated
        self._known: dict[Content, Stored] = {}
        self.contents: dict[bytes, bytes | Path] = {}

    def add(self, data: bytes) -> Stored:
        """Keep `data`; the same data is kept once."""
        sha1 = hashlib.sha1(data, usedforsecurity=False).digest()
        if sha1 not in self.contents:
            self.contents[sha1] = self._keep(sha1, data)
        return Stored(sha1, hashlib.sha256(data).digest(), len(data))

    def generate(self, content: Content) -> Stored:
        """Keep what `content` describes."""
        if content not in self._known:
            self._known[content] = self.add(content_bytes(content))
            if self._generated:
                self._generated(self._known[content].size_bytes)
        return self._known[content]

    def read(self, sha1: bytes) -> bytes:
        kept = self.contents[sha1]
        return kept if isinstance(kept, bytes) else kept.read_bytes()

    def _keep(self, sha1: bytes, data: bytes) -> bytes | Path:
        if self._spool is None or len(data) < _SPOOL_FROM_BYTES:
            return data
        path = self._spool / sha1.hex()
        path.write_bytes(data)
        return path


def content_bytes(content: Content) -> bytes:
    """The bytes that a `Content` describes."""
    if content.data is not None:
        return content.data
    if content.kind == "text":
        return _text(content.seed, content.size_bytes)
    if content.kind.startswith("pe"):
        machine = content.kind.partition(":")[2] or "amd64"
        return program(_noise(content.seed, content.size_bytes - _HEADERS_BYTES), machine)
    return _noise(content.seed, content.size_bytes)


def program(body: bytes, machine: str = "amd64") -> bytes:
    """A program file with one read-only data section and no code ([PE format] of Microsoft)."""
    wide = machine == "amd64"
    optional_bytes = 240 if wide else 224
    raw = body + bytes(-len(body) % 0x200)
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x80) + bytes(0x40)
    coff = struct.pack("<4sHHIIIHH", b"PE", _MACHINES[machine], 1, 0, 0, 0, optional_bytes, 0x2022)
    image_bytes = 0x1000 + (len(raw) + 0xFFF & ~0xFFF)
    section = struct.pack(
        "<8sIIIIIIHHI",
        b".rdata",
        len(body),
        0x1000,
        len(raw),
        _HEADERS_BYTES,
        0,
        0,
        0,
        0,
        0x40000040,
    )
    head = dos + coff + _optional_header(image_bytes, len(raw), wide=wide) + section
    return head.ljust(_HEADERS_BYTES, b"\0") + raw


def _optional_header(image_bytes: int, data_bytes: int, *, wide: bool) -> bytes:
    magic = 0x20B if wide else 0x10B
    head = struct.pack("<HBBIIIII", magic, 14, 0, 0, data_bytes, 0, 0, 0x1000)
    head += struct.pack("<Q", 0x1_8000_0000) if wide else struct.pack("<II", 0x1000, 0x1000_0000)
    head += struct.pack(
        "<IIHHHHHHIIIIHH",
        0x1000,
        0x200,
        10,
        0,
        0,
        0,
        6,
        1,
        0,
        image_bytes,
        _HEADERS_BYTES,
        0,
        3,
        0x160,
    )
    stack_and_heap = (0x40000, 0x1000, 0x100000, 0x1000)
    head += struct.pack("<4Q" if wide else "<4I", *stack_and_heap)
    return head + struct.pack("<II", 0, 16) + bytes(128)


def _noise(seed: str, size_bytes: int) -> bytes:
    """Half noise, half repetition: compresses to about half, as programs do."""
    if size_bytes <= 0:
        return b""
    block = _source(seed).randbytes(min(size_bytes, 1 << 20) // 2 + 1)
    pieces = []
    for number in range(0, size_bytes, 4096):
        start = number // 2 % max(len(block) - 2048, 1)
        piece = block[start : start + 2048]
        pieces.append(number.to_bytes(8, "little") + piece + piece)
    return b"".join(pieces)[:size_bytes].ljust(size_bytes, b"\0")


def _text(seed: str, size_bytes: int) -> bytes:
    source = _source(seed)
    lines = []
    length = 0
    while length < size_bytes:
        line = " ".join(source.choices(_WORDS, k=8)) + "\r\n"
        lines.append(line)
        length += len(line)
    return "".join(lines).encode()[:size_bytes]


@lru_cache(maxsize=4)
def _seed_number(seed: str) -> int:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big")


def _source(seed: str) -> random.Random:
    return random.Random(_seed_number(seed))  # noqa: S311 - repeatable on purpose
