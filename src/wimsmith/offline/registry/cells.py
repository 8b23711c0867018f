"""Hive bins and their cells: the memory in which all records of a hive lie.

Offsets count from the start of the bins, as records store them. Bins and cells tile the space
without gaps; a cell starts with its size, negative while it is in use.
"""

import struct
from array import array
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
_SLOT_BITS = 3
_NO_CELL = 0
_UNCLAIMED = 1


class Cells:
    """Cells by offset: read with every bound checked, allocate, free, grow.

    `data` are the bytes of all bins; a record is read at `offset + CELL_HEADER_BYTES`. Only the
    start of a cell in use is a valid offset, so no two records can overlap.
    """

    # `_owners` has a number for every 8 bytes: 0 where no used cell starts, 1 where one does, and
    # the offset of the record that it belongs to once that is known.
    __slots__ = ("_bins", "_empty_bins", "_free", "_owners", "data")

    def __init__(self, data: bytearray) -> None:
        """Take over `data`, checking that bins and cells tile it.

        Raises:
            DamagedHive: the header of a bin or the size of a cell is wrong.
        """
        self.data = data
        self._bins: dict[int, int] = {}
        self._empty_bins: set[int] = set()
        self._free = _FreeCells()
        self._owners = array("I", bytes(len(data) >> _SLOT_BITS << 2))
        at = 0
        while at < len(data):
            at = self._open_bin(at)

    def _open_bin(self, at: int) -> int:
        if at + BIN_HEADER_BYTES > len(self.data):
            raise DamagedHive(f"bin at {at:#x} is cut off")
        size: int
        signature, offset, size = _BIN.unpack_from(self.data, at)
        end = at + size
        if signature != b"hbin" or offset != at:
            raise DamagedHive(f"no bin at {at:#x}")
        if size == 0 or size % BIN_ALIGNMENT_BYTES or end > len(self.data):
            raise DamagedHive(f"bin at {at:#x} has {size} bytes")
        self._bins[at] = size
        for cell, cell_size in self._walk_bin(at, end):
            if cell_size < 0:
                self._owners[cell >> _SLOT_BITS] = _UNCLAIMED
            else:
                self._add_free(cell, cell_size)
        return end

    def size_bytes(self, offset: int) -> int:
        """Size of the record in the used cell at `offset`.

        Raises:
            DamagedHive: there is no such cell, or it is free.
        """
        slot = offset >> _SLOT_BITS
        if offset & 7 or slot >= len(self._owners) or not self._owners[slot]:
            raise DamagedHive(f"offset {offset:#x} is no cell's that is in use")
        stored: int = _SIZE.unpack_from(self.data, offset)[0]
        return -stored - CELL_HEADER_BYTES

    def claim(self, offset: int, owner: int) -> bool:
        """Note that the cell at `offset` belongs to the record at `owner`; whether that is new.

        Without this, many records could share a large one, and reading all of them would take time
        and memory out of all proportion to the size of the file.

        Raises:
            DamagedHive: there is no such cell, or another record has it.
        """
        self.size_bytes(offset)
        slot = offset >> _SLOT_BITS
        if (known := self._owners[slot]) == owner:
            return False
        if known != _UNCLAIMED:
            raise DamagedHive(f"cell at {offset:#x} is used twice")
        self._owners[slot] = owner
        return True

    def disclaim(self, offset: int) -> None:
        """Forget to whom the used cell at `offset` belongs."""
        self.size_bytes(offset)
        self._owners[offset >> _SLOT_BITS] = _UNCLAIMED

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

        The best fitting free cell is taken; without one, empty bins are joined or a bin is added.

        Raises:
            LimitExceeded: the hive would pass 2 GiB.
        """
        payload = max(len(record), room_bytes)
        size = max((payload + CELL_HEADER_BYTES + 7) & ~7, MIN_CELL_BYTES)
        offset, available = self._free.take(size) or self._grow(size)
        self._empty_bins.discard(offset - BIN_HEADER_BYTES)
        if available > size:
            self._release(offset + size, available - size)
        self._owners[offset >> _SLOT_BITS] = _UNCLAIMED
        self.data[offset : offset + size] = _SIZE.pack(-size) + record.ljust(size - 4, b"\0")
        return offset

    def free(self, offset: int) -> None:
        """Give a used cell back; it grows together with free neighbours of its bin."""
        size = self.size_bytes(offset) + CELL_HEADER_BYTES
        self._owners[offset >> _SLOT_BITS] = _NO_CELL
        merged, whole = self._free.merged(offset, size)
        self._release(merged, whole)

    def free_bytes(self) -> int:
        """Bytes in free cells."""
        return self._free.total_bytes()

    def check(self) -> dict[int, int]:
        """Sizes of all used cells by offset.

        Raises:
            DamagedHive: the cells do not tile their bins.
        """
        return {
            cell: -size
            for at, bin_size in self._bins.items()
            for cell, size in self._walk_bin(at, at + bin_size)
            if size < 0
        }

    def _walk_bin(self, at: int, end: int) -> Iterator[tuple[int, int]]:
        """Offsets and stored sizes of the cells of a bin."""
        data, unpack, at = self.data, _SIZE.unpack_from, at + BIN_HEADER_BYTES
        while at < end:
            size: int = unpack(data, at)[0]
            length = abs(size)
            if length < MIN_CELL_BYTES or length & 7 or at + length > end:
                raise DamagedHive(f"cell at {at:#x} has a wrong size ({size})")
            yield at, size
            at += length

    def _release(self, offset: int, size: int) -> None:
        _SIZE.pack_into(self.data, offset, size)
        self._add_free(offset, size)

    def _add_free(self, offset: int, size: int) -> None:
        self._free.add(offset, size)
        bin_at = offset - BIN_HEADER_BYTES
        if self._bins.get(bin_at) == size + BIN_HEADER_BYTES:
            self._empty_bins.add(bin_at)

    def _grow(self, size: int) -> tuple[int, int]:
        """The first cell of an empty bin that holds a cell of `size` bytes, no longer free."""
        wanted = -(-(size + BIN_HEADER_BYTES) // BIN_ALIGNMENT_BYTES) * BIN_ALIGNMENT_BYTES
        # A bin of the smallest size that is empty would have been found as a free cell.
        start, end = self._empty_run(wanted) if wanted > BIN_ALIGNMENT_BYTES else (0, 0)
        if start == end:
            start = end = len(self.data)
        if end - start < wanted:
            self._extend(start + wanted)
            end = start + wanted
        self._join(start, end)
        return start + BIN_HEADER_BYTES, end - start - BIN_HEADER_BYTES

    def _empty_run(self, wanted: int) -> tuple[int, int]:
        """Empty bins in a row of at least `wanted` bytes, or else those at the end, or none."""
        start = end = 0
        for at in sorted(self._empty_bins):
            if at != end:
                start = at
            end = at + self._bins[at]
            if end - start >= wanted:
                return start, end
        return (start, end) if end == len(self.data) else (0, 0)

    def _extend(self, size_bytes: int) -> None:
        if size_bytes > MAX_BINS_BYTES:
            raise LimitExceeded(f"a registry hive of {size_bytes} bytes")
        added = size_bytes - len(self.data)
        self.data.extend(bytes(added))
        self._owners.frombytes(bytes(added >> _SLOT_BITS << 2))

    def _join(self, start: int, end: int) -> None:
        """Make one empty bin of the empty ones and of new space between two offsets."""
        at = start
        while at in self._bins and at < end:
            size = self._bins.pop(at)
            self._empty_bins.discard(at)
            self._free.remove(at + BIN_HEADER_BYTES)
            at += size
        self._bins[start] = end - start
        kept = self.data[start + _BIN.size : start + BIN_HEADER_BYTES]
        self.data[start : start + BIN_HEADER_BYTES] = _BIN.pack(b"hbin", start, end - start) + kept


class _FreeCells:
    """Free cells by size, by offset and by end; which one is taken depends on history alone."""

    __slots__ = ("_at", "_by_size", "_ending", "_sizes")

    def __init__(self) -> None:
        self._at: dict[int, int] = {}
        self._ending: dict[int, int] = {}
        self._by_size: dict[int, dict[int, None]] = {}
        self._sizes: list[int] = []

    def total_bytes(self) -> int:
        return sum(self._at.values())

    def add(self, offset: int, size: int) -> None:
        self._at[offset] = size
        self._ending[offset + size] = offset
        if size not in self._by_size:
            self._by_size[size] = {}
            insort(self._sizes, size)
        self._by_size[size][offset] = None

    def take(self, size: int) -> tuple[int, int] | None:
        """Remove and return the smallest cell of at least `size` bytes: its offset and size."""
        position = bisect_left(self._sizes, size)
        if position == len(self._sizes):
            return None
        found = self._sizes[position]
        offset, _ = self._by_size[found].popitem()
        del self._at[offset], self._ending[offset + found]
        self._forget_if_none(found)
        return offset, found

    def merged(self, offset: int, size: int) -> tuple[int, int]:
        """The cell at `offset` joined with free neighbours, which are removed."""
        if (before := self._ending.get(offset)) is not None:
            size += self.remove(before)
            offset = before
        if offset + size in self._at:
            size += self.remove(offset + size)
        return offset, size

    def remove(self, offset: int) -> int:
        """Remove the cell at `offset`; its size."""
        size = self._at.pop(offset)
        del self._ending[offset + size], self._by_size[size][offset]
        self._forget_if_none(size)
        return size

    def _forget_if_none(self, size: int) -> None:
        if not self._by_size[size]:
            del self._by_size[size], self._sizes[bisect_left(self._sizes, size)]
