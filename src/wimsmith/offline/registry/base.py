"""The base block: the first 4 KiB of a hive, and the first sector of its transaction logs."""

import struct
from dataclasses import dataclass
from typing import Self

from wimsmith.errors import DamagedHive

BASE_BLOCK_BYTES = 4096
SECTOR_BYTES = 512
BIN_ALIGNMENT_BYTES = 4096
MAX_BINS_BYTES = 0x7FFFF000
MAX_HIVE_BYTES = 512 << 20
"""Larger hives are not read into memory; those of a Windows that runs have 20 to 200 MB."""
PRIMARY_FILE = 0
LOG_FILE_TYPES = frozenset({1, 2, 6})

_SIGNATURE = b"regf"
_CHECKED_BYTES = 508
_HEAD = struct.Struct("<4sIIQ7I")
_FLAGS_AT = 144
_MINOR_VERSIONS = frozenset({2, 3, 4, 5, 6})


@dataclass(frozen=True, slots=True)
class BaseBlock:
    """The fields that say what the rest of the file is, over the bytes they came from."""

    raw: bytes
    primary_sequence: int
    secondary_sequence: int
    written: int
    major: int
    minor: int
    file_type: int
    file_format: int
    root_offset: int
    bins_size_bytes: int
    clustering: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the fields; whether they can be believed is asked with `is_sound`.

        Raises:
            DamagedHive: shorter than a sector, or another kind of file.
        """
        if len(data) < SECTOR_BYTES:
            raise DamagedHive(f"not a hive: {len(data)} bytes are less than a header")
        signature, *fields = _HEAD.unpack_from(data)
        if signature != _SIGNATURE:
            raise DamagedHive("not a hive: it does not begin with regf")
        return cls(bytes(data[:BASE_BLOCK_BYTES]), *fields)

    @property
    def is_sound(self) -> bool:
        """Whether the checksum is right."""
        return checksum(self.raw) == int.from_bytes(self.raw[508:512], "little")

    @property
    def flags(self) -> int:
        """Flags since Windows Vista; the lowest says that a transaction is pending."""
        return int.from_bytes(self.raw[_FLAGS_AT : _FLAGS_AT + 4], "little")

    @property
    def is_dirty(self) -> bool:
        """Whether the last write did not end: the truth is in the logs."""
        return self.primary_sequence != self.secondary_sequence

    @classmethod
    def is_clean(cls, data: bytes) -> bool:
        """Whether a file says of itself that it is complete without its logs."""
        if not data.startswith(_SIGNATURE) or len(data) < SECTOR_BYTES:
            return False
        base = cls.parse(data)
        return base.is_sound and not base.is_dirty

    def check_primary(self, file_size_bytes: int) -> None:
        """Check what a primary file of `file_size_bytes` must say of itself.

        Raises:
            DamagedHive: a version, kind or size that cannot be.
        """
        if self.major != 1 or self.minor not in _MINOR_VERSIONS:
            raise DamagedHive(f"format version {self.major}.{self.minor} is not known")
        if self.file_type != PRIMARY_FILE or self.file_format != 1:
            raise DamagedHive(f"file type {self.file_type}.{self.file_format} is not a hive's")
        size = self.bins_size_bytes
        if not 0 < size <= MAX_BINS_BYTES or size % BIN_ALIGNMENT_BYTES:
            raise DamagedHive(f"bins of {size} bytes cannot be")
        if BASE_BLOCK_BYTES + size > file_size_bytes:
            raise DamagedHive(f"{BASE_BLOCK_BYTES + size} bytes declared, {file_size_bytes} there")

    def rewritten(
        self,
        *,
        sequence: int,
        bins_size_bytes: int,
        written: int | None = None,
        flags: int | None = None,
    ) -> bytes:
        """The 4 KiB of a clean primary file with these fields; all others are kept."""
        block = bytearray(self.raw.ljust(BASE_BLOCK_BYTES, b"\0"))
        struct.pack_into("<II", block, 4, sequence & 0xFFFFFFFF, sequence & 0xFFFFFFFF)
        if written is not None:
            struct.pack_into("<Q", block, 12, written)
        struct.pack_into("<I", block, 28, PRIMARY_FILE)
        struct.pack_into("<I", block, 40, bins_size_bytes)
        if flags is not None:
            struct.pack_into("<I", block, _FLAGS_AT, flags)
        struct.pack_into("<I", block, _CHECKED_BYTES, checksum(block))
        return bytes(block)


def new_base_block(minor: int, root_offset: int) -> BaseBlock:
    """The base block of a hive that was never written."""
    head = _HEAD.pack(_SIGNATURE, 0, 0, 0, 1, minor, PRIMARY_FILE, 1, root_offset, 0, 1)
    return BaseBlock.parse(head.ljust(BASE_BLOCK_BYTES, b"\0"))


def checksum(block: bytes | bytearray) -> int:
    """XOR of the first 127 words; 0 and -1 are never used."""
    result = 0
    for (word,) in struct.iter_unpack("<I", block[:_CHECKED_BYTES]):
        result ^= word
    return {0: 1, 0xFFFFFFFF: 0xFFFFFFFE}.get(result, result)
