"""The metadata resource of one image: security descriptors, then directory entries.

Layout (facts from Microsoft's description of the format of 2007 and from wimlib's published
headers; all numbers little-endian, names UTF-16):

    u32 length, u32 count, u64 sizes[count], descriptors...      padded to 8 bytes
    the root entry, 8 zero bytes
    for each directory, wherever its entry points: its entries, 8 zero bytes

An entry has 102 fixed bytes, its name, its short name, padding to 8, tagged items up to its
length; then its stream entries (38 bytes and a name, padded to 8) that its length leaves out.
"""

import struct
from codecs import utf_16_le_decode, utf_16_le_encode  # quicker than str.encode
from collections.abc import Iterable, Sequence
from itertools import pairwise

from wimsmith.errors import DamagedWim, LimitExceeded
from wimsmith.offline import paths
from wimsmith.offline.wim.format.collection import without_collection
from wimsmith.offline.wim.format.tree import (
    EMPTY_SHA1,
    ZERO_SHA1,
    Attribute,
    Entry,
    Inode,
    Reparse,
    Stream,
    Tree,
    is_safe_name,
)

MAX_METADATA_BYTES = 1 << 27
"""About a million entries; an image with 150,000 files has 20 MB."""
MAX_DEPTH = 16_384
"""A path of 32,767 characters cannot have more names."""

ENTRY = struct.Struct("<QIIQQQQQQ20sI8sHHH")
_STREAM = struct.Struct("<QQ20sH")
_SECURITY = struct.Struct("<II")
_REPARSE = struct.Struct("<IHH")
LENGTH = struct.Struct("<Q")
_ENTRY_BYTES = ENTRY.size
_unpack_entry, _unpack_length = ENTRY.unpack_from, LENGTH.unpack_from
_DIRECTORY, _REPARSE_POINT = Attribute.DIRECTORY, Attribute.REPARSE_POINT
_LIST_POINTER = 16
NO_SECURITY = 0xFFFF_FFFF
_END_OF_DIRECTORY = bytes(8)
_TWIN = "\0"
_MAX_NAME_BYTES = 0xFFFE


def parse_metadata(data: bytes) -> Tree:
    """Read the metadata resource of one image.

    Entries of one hard-link group with the same content become names of one inode. A second
    entry whose name differs from another's by case alone is kept, but is not found by name; so
    is an entry whose name could be mistaken for a path (`Entry.is_safe`).

    Raises:
        DamagedWim: offsets, lengths or numbers that cannot be true, loops, two equal names.
        LimitExceeded: more directories inside one another than Windows could name.
    """
    descriptors, root_offset = read_security(data)
    with without_collection():
        return _Parser(data, descriptors).tree(root_offset)


def serialize_metadata(tree: Tree) -> bytes:
    """The metadata resource of a tree; the same tree always gives the same bytes.

    Raises:
        DamagedWim: a name or tagged data too long for the format, or an empty name.
    """
    entries = list(tree.walk())
    ids = _security_ids(entries)
    table = _pack_security(ids)
    links = _link_groups(entries)
    parts = [table, _pack_entry(tree.root, ids, links), _END_OF_DIRECTORY]
    position = sum(map(len, parts))
    stands_at = {tree.root: len(table)}  # of folders alone
    pointers: list[tuple[int, int]] = []
    for folder in entries:
        if folder.children is None or (folder.inode.reparse and not folder.children):
            continue
        pointers.append((stands_at[folder] + _LIST_POINTER, position))
        for child in folder.children.values():
            if child.children is not None:
                stands_at[child] = position
            packed = _pack_entry(child, ids, links)
            parts.append(packed)
            position += len(packed)
        parts.append(_END_OF_DIRECTORY)
        position += len(_END_OF_DIRECTORY)
    whole = bytearray(b"".join(parts))
    for pointer, offset in pointers:
        LENGTH.pack_into(whole, pointer, offset)
    return bytes(whole)


def read_security(data: bytes) -> tuple[list[bytes], int]:
    """Descriptors, and the offset of the root entry."""
    if len(data) < _SECURITY.size:
        raise DamagedWim(f"metadata of {len(data)} bytes")
    length, count = _SECURITY.unpack_from(data)
    position = _SECURITY.size + 8 * count
    if position > len(data):
        raise DamagedWim(f"metadata counts {count} security descriptors, and has no room for them")
    descriptors = []
    for size in struct.unpack_from(f"<{count}Q", data, _SECURITY.size):
        if size > len(data) - position:
            raise DamagedWim(f"a security descriptor of {size} bytes ends outside the metadata")
        descriptors.append(data[position : position + size])
        position += size
    length = max(length, _SECURITY.size)
    if not position <= length <= len(data):
        raise DamagedWim(f"security data is said to have {length} bytes, and takes {position}")
    return descriptors, aligned(length)


def read_entry(
    data: bytes, descriptors: Sequence[bytes], offset: int
) -> tuple[Entry | None, int, int]:
    """One entry by itself (None at the end of a list), the place of its list, and its end.

    Raises:
        DamagedWim: as `parse_metadata`.
    """
    return _Parser(data, descriptors).entry(offset)


class _Parser:
    """One pass over the entries of an image.

    Each list of entries is charged to a budget of bytes, so that lists that point at one
    another end in an error soon, and no list is read twice.
    """

    def __init__(self, data: bytes, descriptors: Sequence[bytes]) -> None:
        self.data = data
        self.descriptors = descriptors
        self.descriptor_count = len(descriptors)
        self.linked: dict[tuple[bytes, bytes, tuple[Stream, ...]], Inode] = {}
        self.budget = 2 * len(data)
        self.extents: list[tuple[int, int]] = []

    def tree(self, root_offset: int) -> Tree:
        if root_offset == len(self.data):
            return Tree.new()
        entry, subdir, end = self.entry(root_offset)
        if entry is None:
            return Tree.new()
        if not entry.is_directory:
            raise DamagedWim("the root of the image is not a directory")
        self.extents += [(0, root_offset), (root_offset, end)]
        self._descend(entry, subdir)
        self._refuse_overlap()
        return Tree(entry)

    def _descend(self, root: Entry, subdir: int) -> None:
        root.children = {}
        pending = [(root, subdir, 1)] if subdir else []
        while pending:
            folder, offset, depth = pending.pop()
            if depth > MAX_DEPTH:
                raise LimitExceeded(f"more than {MAX_DEPTH} directories inside one another")
            found = self._list(folder, offset)
            pending.extend((entry, subdir, depth + 1) for entry, subdir in found)

    def _list(self, folder: Entry, start: int) -> list[tuple[Entry, int]]:
        """Read the entries of one directory; return the directories among them that have lists."""
        children: dict[str, Entry] = {}
        folder.children = children
        below = []
        offset = start
        while True:
            entry, subdir, end = self.entry(offset)
            self.budget -= end - offset
            if self.budget < 0:
                raise DamagedWim("directories share entries, or contain one another")
            if entry is None:
                break
            offset = end
            entry.parent = folder
            key = _key(entry.name)
            if key in children:
                key = _twin_key(children, entry.name, key)
            children[key] = entry
            if entry.inode.attributes & _DIRECTORY:
                entry.children = {}
                if subdir:
                    below.append((entry, subdir))
        if offset > start:
            self.extents.append((start, end))
        return below

    def entry(self, offset: int) -> tuple[Entry | None, int, int]:
        """The entry at `offset` (None at the end of a list), its list's offset, its end."""
        data = self.data
        if offset % 8 or offset + 8 > len(data):
            raise DamagedWim(f"directory entry at {offset} in metadata of {len(data)} bytes")
        (length,) = _unpack_length(data, offset)
        if length <= 8:
            return None, 0, offset + 8
        if length < _ENTRY_BYTES or length > len(data) - offset:
            raise DamagedWim(f"directory entry at {offset} is said to have {length} bytes")
        (
            _, attributes, security, subdir, unused1, unused2, created, accessed, written,
            sha1, unknown, union, stream_count, short_bytes, name_bytes,
        ) = _unpack_entry(data, offset)  # fmt: skip
        last = offset + length
        name, position = self._name(offset + _ENTRY_BYTES, name_bytes, last)
        short_name, position = self._name(position, short_bytes, last)
        if security < self.descriptor_count:
            descriptor = self.descriptors[security]
        else:
            descriptor = None
            self._check_no_descriptor(security)
        inode = Inode(attributes, descriptor, created, accessed, written, sha1)
        if unused1 or unused2 or unknown:
            inode.unknown = (unused1, unused2, unknown)
        end = (last + 7) & ~7  # as entries begin at a multiple of 8
        position = (position + 7) & ~7
        if position < last:
            inode.tagged = data[position:last]
        if stream_count or attributes & _REPARSE_POINT:
            inode.sha1 = ZERO_SHA1
            end = self._streams(inode, sha1, end, stream_count, union)
        if end > len(data):
            raise DamagedWim(f"directory entry at {offset} ends outside the metadata")
        if union != _END_OF_DIRECTORY and inode.reparse is None:
            inode = self._linked(inode, union)
        entry = Entry(name, short_name, inode)
        inode.entries.append(entry)
        return entry, subdir, end

    def _name(self, position: int, count: int, limit: int) -> tuple[str, int]:
        """A name of `count` bytes, and the position behind its terminator."""
        if not count:
            return "", position
        if count % 2 or position + count > limit:
            raise DamagedWim(f"a name of {count} bytes at {position} does not fit its entry")
        name, _ = utf_16_le_decode(self.data[position : position + count], "surrogatepass", True)
        return name, position + count + 2

    def _check_no_descriptor(self, number: int) -> None:
        if number != NO_SECURITY:
            raise DamagedWim(f"security descriptor {number} of {self.descriptor_count}")

    def _streams(self, inode: Inode, sha1: bytes, offset: int, count: int, union: bytes) -> int:
        """Read the stream entries at `offset`, and say what each unnamed stream is."""
        data = self.data
        named, unnamed = [], [sha1]
        for _ in range(count):
            if offset + _STREAM.size > len(data):
                raise DamagedWim(f"stream entry at {offset} in metadata of {len(data)} bytes")
            length, _reserved, sha1, name_bytes = _STREAM.unpack_from(data, offset)
            if length < _STREAM.size + name_bytes or length > len(data) - offset:
                raise DamagedWim(f"stream entry at {offset} is said to have {length} bytes")
            name, _ = self._name(offset + _STREAM.size, name_bytes, offset + length)
            if name:
                named.append(Stream(name, sha1))
            else:
                unnamed.append(sha1)
            offset += aligned(length)
        inode.named_streams = tuple(named)
        _place_unnamed(inode, unnamed, union)
        return offset

    def _linked(self, inode: Inode, group: bytes) -> Inode:
        """The inode of the same link group and content that is known already, or `inode`."""
        if inode.attributes & Attribute.DIRECTORY:
            return inode
        known = self.linked.setdefault((group, inode.sha1, inode.named_streams), inode)
        known.tagged = known.tagged or inode.tagged  # may stand behind one of the names only
        return known

    def _refuse_overlap(self) -> None:
        self.extents.sort()
        for (_, end), (start, _) in pairwise(self.extents):
            if start < end:
                raise DamagedWim(f"directory entries at {start} overlap others")


def _key(name: str) -> str:
    """Under what an entry is found in its folder; never, if its name could change a path."""
    return paths.fold(name) if is_safe_name(name) else _TWIN + name


def _twin_key(children: dict[str, Entry], name: str, key: str) -> str:
    if children[key].name == name or _TWIN + name in children:
        raise DamagedWim(f"two entries called {name!r} in one directory"[:300])
    return _TWIN + name


def _place_unnamed(inode: Inode, unnamed: list[bytes], union: bytes) -> None:
    """Say which unnamed stream is reparse data and which is the main content.

    The hash in the entry itself counts as the first unless it is zero. On a reparse point the
    first is the reparse data.
    """
    present = [sha1 for sha1 in unnamed if sha1 != ZERO_SHA1]
    if inode.attributes & Attribute.REPARSE_POINT:
        first_extra = unnamed[1] if unnamed[0] == ZERO_SHA1 and len(unnamed) > 1 else None
        empty = first_extra == ZERO_SHA1
        sha1 = present.pop(0) if present and not empty else ZERO_SHA1
        tag, reserved, flags = _REPARSE.unpack(union)
        inode.reparse = Reparse(tag, sha1, reserved, flags)
    if present:
        inode.sha1 = present[0]
        if any(sha1 != present[0] for sha1 in present):
            raise DamagedWim("a file has two unnamed streams")


def _security_ids(entries: Iterable[Entry]) -> dict[bytes, int]:
    ids: dict[bytes, int] = {}
    for entry in entries:
        security = entry.inode.security
        if security is not None:
            ids.setdefault(security, len(ids))
    return ids


def _pack_security(descriptors: Iterable[bytes]) -> bytes:
    whole = tuple(descriptors)
    sizes = struct.pack(f"<{len(whole)}Q", *map(len, whole))
    length = _SECURITY.size + len(sizes) + sum(map(len, whole))
    head = _SECURITY.pack(aligned(length), len(whole))
    return b"".join((head, sizes, *whole, bytes(aligned(length) - length)))


def _link_groups(entries: Iterable[Entry]) -> dict[Inode, int]:
    """Numbers for files with several names, in the order in which they are met."""
    groups: dict[Inode, int] = {}
    for entry in entries:
        if len(entry.inode.entries) > 1:
            groups.setdefault(entry.inode, len(groups) + 1)
    return groups


def _pack_entry(entry: Entry, ids: dict[bytes, int], links: dict[Inode, int]) -> bytes:
    """An entry with its stream entries; the offset of its list is filled in later."""
    inode = entry.inode
    name, short_name = _pack_name(entry.name), b""
    if entry.short_name:
        short_name = _pack_name(entry.short_name)
    if not name and entry.parent is not None:
        raise DamagedWim("an entry without a name")
    default = present(inode.sha1)
    streams: Sequence[Stream] = ()
    reparse = inode.reparse
    if reparse is not None or inode.named_streams:
        default, streams = _place_streams(inode, default)
    if reparse is not None:
        union = _REPARSE.pack(reparse.tag, reparse.reserved, reparse.flags)
    else:
        union = LENGTH.pack(links[inode]) if inode in links else _END_OF_DIRECTORY
    length = fixed = (_ENTRY_BYTES + len(name) + len(short_name) + 7) & ~7
    if inode.tagged:
        length += aligned(len(inode.tagged))
    unused1, unused2, unknown = inode.unknown
    head = ENTRY.pack(
        length,
        inode.attributes,
        NO_SECURITY if inode.security is None else ids[inode.security],
        0,
        unused1,
        unused2,
        inode.created,
        inode.accessed,
        inode.written,
        default,
        unknown,
        union,
        len(streams),
        max(len(short_name) - 2, 0),
        max(len(name) - 2, 0),
    )
    whole = (head + name + short_name).ljust(fixed, b"\0")
    if inode.tagged:
        whole = (whole + inode.tagged).ljust(length, b"\0")
    return b"".join((whole, *map(_pack_stream, streams))) if streams else whole


def _pack_name(name: str) -> bytes:
    """UTF-16 with its terminator, or nothing for an empty name."""
    if not name:
        return b""
    raw, _ = utf_16_le_encode(name, "surrogatepass")
    if len(raw) > _MAX_NAME_BYTES:
        raise DamagedWim(f"a name of {len(raw)} bytes: {name[:40]!r}...")
    return raw + b"\0\0"


def present(sha1: bytes) -> bytes:
    """How content is named: zeros for empty content: not every reader finds it by its hash."""
    return ZERO_SHA1 if sha1 == EMPTY_SHA1 else sha1


def _place_streams(inode: Inode, main: bytes) -> tuple[bytes, list[Stream]]:
    """The hash that stands in the entry itself, and the stream entries behind it.

    A lone unnamed stream stands in the entry. With several streams all stand behind it: reparse
    data, main content, named ones. A directory has no main content, and no stream entry for it:
    with one, junctions are refused by Windows 8 Setup, and directories with named streams by
    DISM (wimlib's release notes, 1.14.2).
    """
    unnamed = []
    if inode.reparse is not None:
        unnamed.append(inode.reparse.sha1)
    if main != ZERO_SHA1 or not (unnamed or inode.is_directory):
        unnamed.append(main)
    if inode.attributes & Attribute.ENCRYPTED and inode.reparse is None:
        return main, list(inode.named_streams)
    if len(unnamed) <= 1 and not inode.named_streams:
        return (unnamed[0] if unnamed else ZERO_SHA1), []
    if not inode.is_directory and main == ZERO_SHA1 and inode.reparse is not None:
        unnamed.append(ZERO_SHA1)
    return ZERO_SHA1, [*(Stream("", sha1) for sha1 in unnamed), *inode.named_streams]


def _pack_stream(stream: Stream) -> bytes:
    name = _pack_name(stream.name)
    length = aligned(_STREAM.size + len(name))
    head = _STREAM.pack(length, 0, present(stream.sha1), max(len(name) - 2, 0))
    return (head + name).ljust(length, b"\0")


def aligned(count: int) -> int:
    """The next multiple of 8."""
    return (count + 7) & ~7
