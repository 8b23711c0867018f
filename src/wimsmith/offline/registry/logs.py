"""Transaction logs: bringing a hive whose last write did not end to the state they record.

Two formats exist: up to Windows 8 a bitmap of dirty pages (`DIRT`), since 8.1 a sequence of
entries (`HvLE`), each with checksums. Rules after M. Suhanov's specification of the format.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wimsmith.errors import DamagedHive
from wimsmith.offline.registry.base import (
    BASE_BLOCK_BYTES,
    BIN_ALIGNMENT_BYTES,
    LOG_FILE_TYPES,
    MAX_BINS_BYTES,
    SECTOR_BYTES,
    BaseBlock,
)
from wimsmith.offline.registry.marvin import marvin32

LOG_SUFFIXES = (".LOG", ".LOG1", ".LOG2")
"""Behind the name of a hive, these make the names of its logs."""

_DIRTY_VECTOR = b"DIRT"
_ENTRY = struct.Struct("<4sIIIII8s8s")
_ENTRY_MAGIC = b"HvLE"
_ENTRY_HASHED_HEAD_BYTES = 32
_TIME_AT = 12
_BIN_TIME_AT = BASE_BLOCK_BYTES + 20
_MAX_CLUSTERING = 8
_MASK = 0xFFFFFFFF
_TRANSACTION_PENDING = 1
_HINT = (
    "The last write to this hive did not end and its transaction logs do not complete it. "
    "Start Windows from this image once and shut it down cleanly, then capture it again."
)


@dataclass(frozen=True, slots=True)
class _Log:
    """A log whose base block can be believed."""

    base: BaseBlock
    data: bytes

    @property
    def sector_bytes(self) -> int:
        """Where what follows the base block begins: sectors of 512 bytes even on other disks.

        A log that was written in larger sectors is read, too.
        """
        large = SECTOR_BYTES * self.base.clustering
        is_large = self.data[large : large + 4] in {_DIRTY_VECTOR, _ENTRY_MAGIC}
        small = self.data[SECTOR_BYTES : SECTOR_BYTES + 4]
        return large if is_large and small not in {_DIRTY_VECTOR, _ENTRY_MAGIC} else SECTOR_BYTES

    @property
    def is_old(self) -> bool:
        return self.data[self.sector_bytes : self.sector_bytes + 4] == _DIRTY_VECTOR

    @property
    def age(self) -> tuple[int, int, bytes]:
        """Sorts logs of one hive by when they were begun, whatever order they are given in."""
        return self.base.written, self.base.primary_sequence, self.data


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of a new log: pages by offset in the bins."""

    sequence: int
    flags: int
    bins_size_bytes: int
    pages: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """The entries of a log, whose numbers follow one another."""

    log: _Log
    entries: list[_Entry]

    def distance(self, sequence: int) -> int:
        """How far behind the first entry the one with this number would lie."""
        return (sequence - self.entries[0].sequence) & _MASK


def recover(data: bytes, logs: Sequence[bytes]) -> bytes:
    """The clean hive that the dirty or headless hive `data` and its logs record.

    Args:
        data: The primary file.
        logs: `.LOG1` and `.LOG2` (or `.LOG`) in any order; empty ones are passed over.

    Raises:
        DamagedHive: the logs do not lead to a complete hive.
    """
    if not any(logs):
        BaseBlock.parse(data)  # a file of another kind is called that
    base = _sound_base(data)
    usable = [log for log in map(_open, logs) if log is not None and _is_of(log, base)]
    usable.sort(key=lambda log: log.age, reverse=True)
    old = [log for log in usable if log.is_old and _fits(log, data, base)]
    if old:
        return _apply_old(data, old)
    return _apply_new(data, base, [log for log in usable if not log.is_old])


def _sound_base(data: bytes) -> BaseBlock | None:
    try:
        base = BaseBlock.parse(data)
    except DamagedHive:
        return None
    return base if base.is_sound else None


def _open(data: bytes) -> _Log | None:
    base = _sound_base(data)
    if (
        base is None
        or base.is_dirty
        or base.file_type not in LOG_FILE_TYPES
        or not 0 < base.clustering <= _MAX_CLUSTERING
        or not _bins_size_possible(base.bins_size_bytes)
    ):
        return None
    return _Log(base, data)


def _bins_size_possible(size: int) -> bool:
    return 0 < size <= MAX_BINS_BYTES and size % BIN_ALIGNMENT_BYTES == 0


def _is_of(log: _Log, base: BaseBlock | None) -> bool:
    """Whether a log can be of this hive: the root never moves."""
    return base is None or base.root_offset == log.base.root_offset


def _fits(log: _Log, data: bytes, base: BaseBlock | None) -> bool:
    """Whether an old log was written for this state of the hive: the times are equal.

    The first bin repeats the time of the base block; where the latter cannot be believed, one of
    the two has to agree.
    """
    if base is not None:
        return base.written == log.base.written
    times = (data[_TIME_AT : _TIME_AT + 8], data[_BIN_TIME_AT : _BIN_TIME_AT + 8])
    return log.base.written.to_bytes(8, "little") in times


def _apply_old(data: bytes, logs: list[_Log]) -> bytes:
    """Apply the first log that is whole."""
    for log in logs[:-1]:
        try:
            return _apply_one_old(data, log)
        except DamagedHive:
            continue
    return _apply_one_old(data, logs[-1])


def _apply_one_old(data: bytes, log: _Log) -> bytes:
    base = log.base
    pages = base.bins_size_bytes // SECTOR_BYTES
    start = log.sector_bytes + len(_DIRTY_VECTOR)
    bitmap = log.data[start : start + (pages + 7) // 8]
    if len(bitmap) * 8 < pages:
        raise DamagedHive("its transaction log is cut off", hint=_HINT)
    at = -(-(start + len(bitmap)) // log.sector_bytes) * log.sector_bytes
    image = bytearray(data)
    _grow(image, base.bins_size_bytes, len(log.data))
    for page in _set_bits(bitmap, pages):
        content = log.data[at : at + SECTOR_BYTES]
        if len(content) < SECTOR_BYTES:
            raise DamagedHive("its transaction log is cut off", hint=_HINT)
        target = BASE_BLOCK_BYTES + page * SECTOR_BYTES
        image[target : target + SECTOR_BYTES] = content
        at += SECTOR_BYTES
    return _finished(image, base, base.primary_sequence, base.bins_size_bytes)


def _grow(image: bytearray, bins_size_bytes: int, log_bytes: int) -> None:
    """Add the bins that the hive has gained; all of their pages are in the log."""
    missing = BASE_BLOCK_BYTES + bins_size_bytes - len(image)
    if missing > log_bytes:
        raise DamagedHive("its transaction log does not belong to it", hint=_HINT)
    image.extend(bytes(max(missing, 0)))


def _set_bits(bitmap: bytes, count: int) -> Iterator[int]:
    for position, byte in enumerate(bitmap):
        for bit in range(8):
            if byte >> bit & 1 and position * 8 + bit < count:
                yield position * 8 + bit


def _apply_new(data: bytes, base: BaseBlock | None, logs: list[_Log]) -> bytes:
    runs = [_Run(log, entries) for log in logs if (entries := list(_entries(log)))]
    if base is None and runs:
        # Without a base block only the log that was written last tells a state.
        runs = [max(runs, key=lambda run: run.entries[-1].sequence)]
        base = runs[0].log.base
    chain = _chain(runs, base.secondary_sequence) if base is not None else []
    if base is None or not chain:
        raise DamagedHive("its last write did not end, no log completes it", hint=_HINT)
    image = bytearray(data)
    for entry in chain:
        _grow(image, entry.bins_size_bytes, sum(len(log.data) for log in logs))
        for offset, content in entry.pages:
            target = BASE_BLOCK_BYTES + offset
            image[target : target + len(content)] = content
    last = chain[-1]
    flags = base.flags & ~_TRANSACTION_PENDING | last.flags & _TRANSACTION_PENDING
    return _finished(image, base, last.sequence, last.bins_size_bytes, flags)


def _chain(runs: list[_Run], first: int) -> list[_Entry]:
    """Entries from number `first` on, as far as their numbers follow one another.

    What comes before `first` has been applied. From one log to another it goes only where the other
    begins: entries with the right number in its midst are of another time.
    """
    chain: list[_Entry] = []
    for run in runs:
        if (applied := run.distance(first)) < len(run.entries):
            chain.extend(run.entries[applied:])
            break
    left = [run for run in runs if not chain or run.entries[-1] is not chain[-1]]
    while chain:
        behind = (chain[-1].sequence + 1) & _MASK
        following = next((run for run in left if run.distance(behind) == 0), None)
        if following is None:
            break
        left.remove(following)
        chain.extend(following.entries)
    return chain


def _entries(log: _Log) -> Iterator[_Entry]:
    """Entries in order, up to the first that is torn, stale or not one."""
    at = log.sector_bytes
    expected: int | None = None
    while at + _ENTRY.size <= len(log.data):
        size = int.from_bytes(log.data[at + 4 : at + 8], "little")
        entry = _entry(log.data[at : at + size]) if size >= _ENTRY.size else None
        if entry is None or expected not in {None, entry.sequence}:
            return
        yield entry
        expected = (entry.sequence + 1) & _MASK
        at += size


def _entry(raw: bytes) -> _Entry | None:
    if len(raw) < _ENTRY.size:
        return None
    magic, size, flags, sequence, bins_size, count, body_hash, head_hash = _ENTRY.unpack_from(raw)
    if magic != _ENTRY_MAGIC or size != len(raw) or size % SECTOR_BYTES:
        return None
    if not _bins_size_possible(bins_size) or _ENTRY.size + count * 8 > size:
        return None
    if _hash(raw[:_ENTRY_HASHED_HEAD_BYTES]) != head_hash:
        return None
    if _hash(raw[_ENTRY.size :]) != body_hash:
        return None
    pages = _pages(raw, count, bins_size)
    return None if pages is None else _Entry(sequence, flags, bins_size, pages)


def _hash(data: bytes) -> bytes:
    return marvin32(data).to_bytes(8, "little")


def _pages(raw: bytes, count: int, bins_size: int) -> tuple[tuple[int, bytes], ...] | None:
    references = struct.iter_unpack("<II", raw[_ENTRY.size : _ENTRY.size + count * 8])
    at = _ENTRY.size + count * 8
    pages = []
    for offset, size in references:
        if offset + size > bins_size or at + size > len(raw):
            return None
        pages.append((offset, raw[at : at + size]))
        at += size
    return tuple(pages)


def _finished(
    image: bytearray, base: BaseBlock, sequence: int, bins_size_bytes: int, flags: int | None = None
) -> bytes:
    """Put the base block of the recovered state before the bins."""
    raw = base.raw[:SECTOR_BYTES] + bytes(image[SECTOR_BYTES:BASE_BLOCK_BYTES])
    image[:BASE_BLOCK_BYTES] = replace(base, raw=raw).rewritten(
        sequence=sequence, bins_size_bytes=bins_size_bytes, flags=flags
    )
    return bytes(image)
