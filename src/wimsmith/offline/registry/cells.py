"""Hive bins and their cells: the memory in which all records of a hive lie.

Offsets count from the start of the bins, as records store them. Bins and cells tile the space
without gaps; a cell starts with its size, negative while it is in use.
"""

import struct
from bisect import bisect_left, insort
from collections.abc import Iterator

from wimsmith.errors import DamagedHive, LimitExceeded
from wimsmith.offline.registry.base import BIN_ALIGNMENT_BYTES, MAX_BINS_BYTES

NOWHERE = 0xFFFFFFFF
CELL_HEADER_BYTES = 4
BIN_HEADER_BYTES = 32
MIN_CELL_BYTES = 8

_BIN = struct.Struct("<4sII")
_SIZE = struct.Struct("<i")
_U32 = struct.Struct("<I")
_PAGE_BITS = 12


class Cells:
    """Cells by offset: read with every bound checked, allocate, free, grow.

    `data` are the bytes of all bins; a record is read at `offset + CELL_HEADER_BYTES`.
    """

    __slots__ = ("_first_cell", "_free", "_page_end", "data")

    def __init__(self, data: bytearray) -> None:
        """Take over `data`, checking that bins tile it.

        Raises:
            DamagedHive: a bin header is wrong.
        """
        self.data = data
        self._first_cell: list[int] = []
        self._page_end: list[int] = []
        self._free: _FreeCells | None = None
        at = 0
        while at < len(data):
            at = self._add_bin(at)

    def _add_bin(self, at: int) -> int:
        if at + BIN_HEADER_BYTES > len(self.data):
            raise DamagedHive(f"bin at {at:#x} is cut off")
        size: int
        signature, offset, size = _BIN.unpack_from(self.data, at)
        end = at + size
        if signature != b"hbin" or offset != at:
            raise DamagedHive(f"no bin at {at:#x}")
        if size == 0 or size % BIN_ALIGNMENT_BYTES or end > len(self.data):
            raise DamagedHive(f"bin at {at:#x} has {size} bytes")
        pages = size >> _PAGE_BITS
        self._first_cell.extend([at + BIN_HEADER_BYTES] * pages)
        self._page_end.extend([end] * pages)
        return end

    def size_bytes(self, offset: int) -> int:
        """Size of the record in the used cell at `offset`.

        Raises:
            DamagedHive: there is no such cell, or it is free.
        """
        page = offset >> _PAGE_BITS
        if offset & 7 or page >= len(self._page_end) or offset < self._first_cell[page]:
            raise DamagedHive(f"offset {offset:#x} is no cell's")
        stored: int = _SIZE.unpack_from(self.data, offset)[0]
        size = -stored
        if size < MIN_CELL_BYTES or size & 7 or offset + size > self._page_end[page]:
            raise DamagedHive(f"cell at {offset:#x} is free or has a wrong size ({size})")
        return size - CELL_HEADER_BYTES

    def read(self, offset: int, size_bytes: int) -> bytes:
        """The first `size_bytes` bytes of a record."""
        self.require(offset, size_bytes)
        start = offset + CELL_HEADER_BYTES
        return bytes(self.data[start : start + size_bytes])

    def require(self, offset: int, size_bytes: int) -> None:
        """Check that the record at `offset` has at least `size_bytes` bytes."""
        if (available := self.size_bytes(offset)) < size_bytes:
            raise DamagedHive(f"cell at {offset:#x} has {available} of {size_bytes} bytes")

    def write(self, offset: int, record: bytes, at: int = 0) -> None:
        """Overwrite part of a record, from its byte `at` on."""
        self.require(offset, at + len(record))
        start = offset + CELL_HEADER_BYTES + at
        self.data[start : start + len(record)] = record

    def offsets(self, offset: int, count: int, at: int = 0) -> tuple[int, ...]:
        """`count` 32-bit numbers of a record, from its byte `at` on."""
        if count * 4 > len(self.data):
            raise DamagedHive(f"list at {offset:#x} claims {count} entries")
        self.require(offset, at + count * 4)
        return struct.unpack_from(f"<{count}I", self.data, offset + CELL_HEADER_BYTES + at)

    def u32(self, offset: int, at: int) -> int:
        """A 32-bit number of a record, at its byte `at`."""
        self.require(offset, at + 4)
        number: int = _U32.unpack_from(self.data, offset + CELL_HEADER_BYTES + at)[0]
        return number

    def put_u32(self, offset: int, at: int, number: int) -> None:
        """Overwrite a 32-bit number of a record."""
        self.write(offset, _U32.pack(number), at)

    def allocate(self, record: bytes, room_bytes: int = 0) -> int:
        """Offset of a new cell that holds `record` and has room for `room_bytes` in all.

        The best fitting free cell is taken; without one, a bin is added.

        Raises:
            LimitExceeded: the hive would pass 2 GiB.
        """
        payload = max(len(record), room_bytes)
        size = max((payload + CELL_HEADER_BYTES + 7) & ~7, MIN_CELL_BYTES)
        free = self._free_cells()
        offset, available = free.take(size) or self._grow(size)
        if available > size:
            self._release(offset + size, available - size)
        self.data[offset : offset + size] = _SIZE.pack(-size) + record.ljust(size - 4, b"\0")
        return offset

    def free(self, offset: int) -> None:
        """Give a used cell back; it grows together with free neighbours of its bin."""
        size = self.size_bytes(offset) + CELL_HEADER_BYTES
        merged, whole = self._free_cells().merged(offset, size)
        self._release(merged, whole)

    def free_bytes(self) -> int:
        """Bytes in free cells."""
        return self._free_cells().total_bytes()

    def check(self) -> dict[int, int]:
        """Sizes of all used cells by offset.

        Raises:
            DamagedHive: the cells do not tile their bins.
        """
        return {at: -size for at, size in self._walk() if size < 0}

    def _release(self, offset: int, size: int) -> None:
        _SIZE.pack_into(self.data, offset, size)
        self._free_cells().add(offset, size)

    def _grow(self, size: int) -> tuple[int, int]:
        at = len(self.data)
        wanted = -(-(size + BIN_HEADER_BYTES) // BIN_ALIGNMENT_BYTES) * BIN_ALIGNMENT_BYTES
        if at + wanted > MAX_BINS_BYTES:
            raise LimitExceeded(f"a registry hive of {at + wanted} bytes")
        self.data.extend(_BIN.pack(b"hbin", at, wanted).ljust(wanted, b"\0"))
        self._add_bin(at)
        return at + BIN_HEADER_BYTES, wanted - BIN_HEADER_BYTES

    def _free_cells(self) -> "_FreeCells":
        if self._free is None:
            self._free = _FreeCells()
            for at, size in self._walk():
                if size > 0:
                    self._free.add(at, size)
        return self._free

    def _walk(self) -> Iterator[tuple[int, int]]:
        for first_cell in dict.fromkeys(self._first_cell):
            at, end = first_cell, self._page_end[first_cell >> _PAGE_BITS]
            while at < end:
                size: int = _SIZE.unpack_from(self.data, at)[0]
                if abs(size) < MIN_CELL_BYTES or size & 7 or at + abs(size) > end:
                    raise DamagedHive(f"cell at {at:#x} has a wrong size ({size})")
                yield at, size
                at += abs(size)


class _FreeCells:
    """Free cells by size, by offset and by end; which one is taken depends on history alone."""

    __slots__ = ("_at", "_by_size", "_ending", "_sizes")

    def __init__(self) -> None:
        self._at: dict[int, int] = {}
        self._ending: dict[int, int] = {}
        self._by_size: dict[int, list[int]] = {}
        self._sizes: list[int] = []

    def total_bytes(self) -> int:
        return sum(self._at.values())

    def add(self, offset: int, size: int) -> None:
        self._at[offset] = size
        self._ending[offset + size] = offset
        if size not in self._by_size:
            self._by_size[size] = []
            insort(self._sizes, size)
        self._by_size[size].append(offset)

    def take(self, size: int) -> tuple[int, int] | None:
        """Remove and return the smallest cell of at least `size` bytes: its offset and size."""
        position = bisect_left(self._sizes, size)
        while position < len(self._sizes):
            found = self._sizes[position]
            offset = self._pop(found)
            if offset is not None:
                return offset, found
            del self._by_size[found], self._sizes[position]
        return None

    def merged(self, offset: int, size: int) -> tuple[int, int]:
        """The cell at `offset` joined with free neighbours, which are removed."""
        if (before := self._ending.get(offset)) is not None:
            size += self._remove(before)
            offset = before
        if offset + size in self._at:
            size += self._remove(offset + size)
        return offset, size

    def _pop(self, size: int) -> int | None:
        # A list may still name cells that were merged since: those are skipped.
        offsets = self._by_size[size]
        while offsets:
            offset = offsets.pop()
            if self._at.get(offset) == size:
                self._remove(offset)
                return offset
        return None

    def _remove(self, offset: int) -> int:
        size = self._at.pop(offset, 0)
        if self._ending.pop(offset + size, None) != offset:
            raise DamagedHive(f"free cells overlap at {offset:#x}")
        return size
