"""What PA30 deltas between programs do to the base before bytes are copied from it.

Tables of the base are rewritten as they would stand in the target: every address in them moves by
the rift table of the delta. Which tables, the flags of the delta say. Facts, and which real
programs prove them: docs/internals/deltas.md.
"""

from collections.abc import Iterator

from wimsmith.offline.packages.deltas.peimage import EXPORTS, IMPORTS, RESOURCES, PeImage
from wimsmith.offline.packages.deltas.rift import Rift

_MAX_DESCRIPTORS = 4096
_DESCRIPTOR_BYTES = 20
_HIGH_BIT = 0x8000_0000
_READ_AND_WRITE = 0xC000_0000


class Rewriting:
    """A base program on its way to the target: `owned` marks bytes that no code may claim."""

    __slots__ = ("image", "owned", "rift", "target_base")

    def __init__(self, image: PeImage, rift: Rift, target_base: int) -> None:
        """Nothing is owned yet."""
        self.image = image
        self.rift = rift
        self.target_base = target_base
        self.owned = bytearray(len(image.data))

    def own(self, offset: int, size: int) -> None:
        """Bytes of a table, which are no code."""
        for place in range(max(offset, 0), min(offset + size, len(self.owned))):
            self.owned[place] = 1

    def move_address(self, offset: int) -> None:
        """Move the address that stands at an offset, if there is one."""
        if not self.image.has(offset, 4):
            return
        address = self.image.u32(offset)
        if address:
            self.image.put32(offset, self.rift.map(address))
        self.own(offset, 4)

    def move_pointer(self, offset: int, size: int) -> None:
        """Move the loaded address (with the base of the program) that stands at an offset."""
        image = self.image
        pointer = image.u64(offset) if size == 8 else image.u32(offset)
        moved = self.target_base + self.rift.map(pointer - image.base)
        if size == 8:
            image.put64(offset, moved)
        else:
            image.put32(offset, moved)
        self.own(offset, size)


def own_all_but_code(work: Rewriting) -> None:
    """Only what lies in sections of code may be taken for code."""
    work.owned[:] = b"\1" * len(work.owned)
    for section in work.image.sections:
        if section.code:
            end = min(section.offset + min(section.size, section.stored), len(work.owned))
            work.owned[section.offset : end] = bytes(max(end - section.offset, 0))


def unbind_imports(image: PeImage) -> None:
    """Undo bound imports: pointers become again what the loader reads; `.idata` can be written."""
    size = 8 if image.wide else 4
    for at in _import_descriptors(image):
        names, stamp, table = image.u32(at), image.u32(at + 4), image.u32(at + 16)
        if not stamp:
            continue
        image.put32(at + 4, 0)
        image.put32(at + 8, 0)
        source, target = image.offset(names), image.offset(table)
        if source is not None and target is not None:
            length = sum(size for _ in _thunks(image, source))
            length = max(min(length, len(image.data) - target), 0)
            image.data[target : target + length] = image.data[source : source + length]
    for section in image.sections:
        if section.name.lower() == b".idata":
            image.put32(section.header + 36, section.flags | _READ_AND_WRITE)


def move_imports(work: Rewriting) -> None:
    """Addresses in the import directory and in the tables that it names."""
    image = work.image
    for at in _import_descriptors(image):
        names, stamp, table = image.u32(at), image.u32(at + 4), image.u32(at + 16)
        _move_thunks(work, names, bound=False)
        _move_thunks(work, table, bound=bool(stamp))
        for field in (12, 0, 16):
            work.move_address(at + field)


def _move_thunks(work: Rewriting, address: int, *, bound: bool) -> None:
    start = work.image.offset(address) if address else None
    if start is None:
        return
    size = 8 if work.image.wide else 4
    by_number = 1 << (8 * size - 1)
    for at, value in _thunks(work.image, start):
        if bound:
            work.move_pointer(at, size)
        elif not value & by_number:
            work.move_address(at)
        work.own(at, size)


def _import_descriptors(image: PeImage) -> Iterator[int]:
    address, _size = image.directory(IMPORTS)
    start = image.offset(address) if address else None
    if start is None:
        return
    for at in range(start, start + _MAX_DESCRIPTORS * _DESCRIPTOR_BYTES, _DESCRIPTOR_BYTES):
        if not image.has(at, _DESCRIPTOR_BYTES):
            return
        if not (image.u32(at) or image.u32(at + 12) or image.u32(at + 16)):
            return
        yield at


def _thunks(image: PeImage, start: int) -> Iterator[tuple[int, int]]:
    """Offset and value of the pointers from an offset on, up to a zero."""
    size = 8 if image.wide else 4
    for at in range(start, len(image.data) - size + 1, size):
        value = image.u64(at) if image.wide else image.u32(at)
        image.spend(size)
        if not value:
            return
        yield at, value


def move_exports(work: Rewriting) -> None:
    """Addresses in the export directory, of functions and of their names."""
    image = work.image
    address, _size = image.directory(EXPORTS)
    at = image.offset(address) if address else None
    if at is None or not image.has(at, 40):
        return
    tables = [(image.u32(at + 28), image.u32(at + 20)), (image.u32(at + 32), image.u32(at + 24))]
    for table, count in tables:
        start = image.offset(table) if table else None
        if start is not None:
            end = min(start + 4 * count, len(image.data))
            for entry in range(start, end, 4):
                work.move_address(entry)
    for field in (12, 28, 32, 36):
        work.move_address(at + field)


def move_resources(work: Rewriting) -> None:
    """Offsets in the tree of resources, all counted from its root."""
    image = work.image
    address, size = image.directory(RESOURCES)
    root = image.offset(address) if address else None
    if root is None:
        return
    end = min(root + size, len(image.data))
    moved_root = work.rift.map(address)
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        if directory in seen or directory + 16 > end:
            continue
        seen.add(directory)
        count = image.u16(directory + 12) + image.u16(directory + 14)
        count = min(count, (end - directory - 16) // 8)
        image.spend(8 * count)
        for entry in range(directory + 16, directory + 16 + 8 * count, 8):
            target = image.u32(entry + 4)
            place = root + (target & ~_HIGH_BIT)
            if target & _HIGH_BIT:
                if entry < place:
                    waiting.append(place)
                _move_from_root(work, entry + 4, address, moved_root)
            elif place + 16 <= end:
                _move_from_root(work, place, address, moved_root)
            if image.u32(entry) & _HIGH_BIT:
                _move_from_root(work, entry, address, moved_root)


def _move_from_root(work: Rewriting, at: int, address: int, moved_root: int) -> None:
    value = work.image.u32(at)
    flag = value & _HIGH_BIT
    moved = work.rift.map(address + (value ^ flag)) - moved_root
    work.image.put32(at, flag | moved & ~_HIGH_BIT)
    work.own(at, 4)
