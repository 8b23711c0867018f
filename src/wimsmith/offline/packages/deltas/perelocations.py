"""Base relocations of the base program of a PA30 delta, moved and written again in order.

A block names a page and, in 16 bits each, a kind and a place in that page. Facts:
docs/internals/deltas.md and the Portable Executable specification, chapter on .reloc.
"""

from collections.abc import Iterator

from wimsmith.offline.packages.deltas.peimage import RELOCATIONS, PeImage
from wimsmith.offline.packages.deltas.petransform import Rewriting

_END, _HIGH, _LOW, _POINTER32, _HIGH_ADJUSTED, _POINTER64 = 0, 1, 2, 3, 4, 10
_POINTER_BYTES = {_POINTER32: 4, _POINTER64: 8}
_HALVES = {_HIGH, _LOW, _HIGH_ADJUSTED}
_BLOCK_HEADER_BYTES = 8
_PAGE = 0xFFFF_F000

_Entry = tuple[int, int, int]
"""Address, kind, and the word that follows an entry of the kind `_HIGH_ADJUSTED`."""


def move_relocations(work: Rewriting) -> None:
    """Move what every relocation points at, and the relocations themselves."""
    image = work.image
    address, size = image.directory(RELOCATIONS)
    start = image.offset(address) if address else None
    if start is None:
        return
    blocks_end = min(start + size, len(image.data))
    moved = [_moved(work, entry) for entry in _entries(image, start, blocks_end)]
    moved.sort(key=lambda entry: entry[0])
    section = image.section_of(address)
    room = size if section is None else max(section.address + section.size - address, size)
    _write(image, moved, start, min(start + (room & ~1), len(image.data)))


def _entries(image: PeImage, start: int, end: int) -> Iterator[_Entry]:
    while start + _BLOCK_HEADER_BYTES <= end:
        page, size = image.u32(start), image.u32(start + 4)
        if size < _BLOCK_HEADER_BYTES or start + size > end:
            return
        words = memoryview(image.data)[start + _BLOCK_HEADER_BYTES : start + (size & ~1)]
        yield from _entries_of(page, bytes(words))
        start += size


def _entries_of(page: int, block: bytes) -> Iterator[_Entry]:
    words = iter([low | high << 8 for low, high in zip(block[::2], block[1::2], strict=True)])
    for word in words:
        kind = word >> 12
        if kind == _END:
            return
        extra = next(words, 0) if kind == _HIGH_ADJUSTED else 0
        yield page + (word & 0xFFF), kind, extra


def _moved(work: Rewriting, entry: _Entry) -> _Entry:
    address, kind, extra = entry
    moved = work.rift.map(address) & 0xFFFF_FFFF
    offset = work.image.offset(address)
    if offset is None:
        return moved, kind, extra
    if kind in _POINTER_BYTES:
        size = _POINTER_BYTES[kind]
        if work.image.has(offset, size):
            work.move_pointer(offset, size)
    elif kind in _HALVES:
        work.own(offset, 2)
    else:
        kind = _END
    return moved, kind, extra


def _write(image: PeImage, entries: list[_Entry], start: int, end: int) -> None:
    """Write blocks from `start` on, one per page, each padded to 32 bits, until `end`."""
    at = start
    block: list[int] = []
    page = -1

    def finish() -> None:
        nonlocal at
        if page < 0:
            return
        if len(block) % 2 and at + _BLOCK_HEADER_BYTES + 2 * len(block) + 2 <= end:
            block.append(0)
        body = b"".join(word.to_bytes(2, "little") for word in block)
        image.put32(at, page)
        image.put32(at + 4, _BLOCK_HEADER_BYTES + len(body))
        at += _BLOCK_HEADER_BYTES
        image.data[at : at + len(body)] = body
        at += len(body)

    for address, kind, extra in entries:
        if address & _PAGE != page:
            finish()
            if at + _BLOCK_HEADER_BYTES > end:
                return
            page, block = address & _PAGE, []
        used = at + _BLOCK_HEADER_BYTES + 2 * len(block)
        words = (kind << 12 | address & 0xFFF, extra)[: 2 if kind == _HIGH_ADJUSTED else 1]
        block.extend(words[: max((end - used) // 2, 0)])
    finish()
