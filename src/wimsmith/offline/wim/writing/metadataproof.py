"""Proving that metadata says what a tree says, entry by entry, without building a second tree."""

from codecs import utf_16_le_encode
from dataclasses import replace
from itertools import pairwise

from wimsmith.errors import DamagedWim, VerificationFailed
from wimsmith.offline.wim.format.metadata import (
    ENTRY,
    LENGTH,
    NO_SECURITY,
    aligned,
    present,
    read_entry,
    read_security,
)
from wimsmith.offline.wim.format.tree import Attribute, Entry, Inode, Reparse, Tree

_END_BYTES = LENGTH.size
_NO_GROUP = bytes(8)


def prove_metadata(data: bytes, tree: Tree) -> None:
    """Return if the metadata of an image is that of `tree`.

    Each folder's list is read where the folder points to and compared, in order, with the entries
    that it is to have: names, attributes, times, descriptors, streams, reparse data, tagged items,
    unknown fields, and which names are one file.

    Raises:
        VerificationFailed: something differs; the message names the entry.
        DamagedWim: offsets or lengths that cannot be true.
    """
    _Proof(data).compare(tree)


class _Proof:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._descriptors, self._root = read_security(data)
        self._groups: dict[Inode, bytes] = {}
        self._extents: list[tuple[int, int]] = []

    def compare(self, tree: Tree) -> None:
        subdir, end = self._entry(tree.root, self._root)
        self._extents = [(0, end)]
        pending = [(tree.root, subdir)]
        while pending:
            folder, start = pending.pop()
            if start:
                pending += self._list(folder, start)
            elif folder.children:
                raise VerificationFailed(f"the folder {_shown(folder)} has lost what is in it")
        self._refuse_overlap()
        if len(set(self._groups.values())) != len(self._groups):
            raise VerificationFailed("two files have one link group")

    def _list(self, folder: Entry, start: int) -> list[tuple[Entry, int]]:
        """Compare what is in one folder; the folders in it with the places of their lists."""
        data, below, offset = self._data, [], start
        for entry in (folder.children or {}).values():
            subdir, offset = self._entry(entry, offset)
            if entry.children is not None:
                below.append((entry, subdir))
            elif subdir:
                raise VerificationFailed(f"{_shown(entry)} is a file, and has entries")
        if offset + _END_BYTES > len(data) or LENGTH.unpack_from(data, offset)[0]:
            raise VerificationFailed(f"{_shown(folder)} has not the planned number of entries")
        self._extents.append((start, offset + _END_BYTES))
        return below

    def _entry(self, entry: Entry, offset: int) -> tuple[int, int]:
        """Compare one entry; the place of its list, 0 for none, and where it ends."""
        data, inode = self._data, entry.inode
        if offset % 8 or offset + ENTRY.size > len(data):
            raise VerificationFailed(f"{_shown(entry)} differs: its folder ends before it")
        (
            length, attributes, security, subdir, unused1, unused2, created, accessed, written,
            sha1, unknown, union, stream_count, short_bytes, name_bytes,
        ) = ENTRY.unpack_from(data, offset)  # fmt: skip
        if stream_count or attributes & Attribute.REPARSE_POINT or inode.reparse is not None:
            end = self._compare_streams(entry, offset)
        else:
            end = offset + aligned(length)
            if sha1 != present(inode.sha1) or inode.named_streams:
                raise _differs(entry)
        if (
            attributes != inode.attributes
            or self._descriptor(security) != inode.security
            or created != inode.created
            or accessed != inode.accessed
            or written != inode.written
            or (unused1, unused2, unknown) != inode.unknown
            or not self._has_names(entry, offset, length, name_bytes, short_bytes)
        ):
            raise _differs(entry)
        if inode.reparse is None and (union != _NO_GROUP or len(inode.entries) > 1):
            self._compare_group(entry, union)
        return subdir, end

    def _has_names(
        self, entry: Entry, offset: int, length: int, name_bytes: int, short_bytes: int
    ) -> bool:
        """Whether name, short name and tagged items stand behind the fields of an entry."""
        behind, tagged = self._data[offset + ENTRY.size : offset + length], entry.inode.tagged
        name, _ = utf_16_le_encode(entry.name, "surrogatepass")
        if not short_bytes and not entry.short_name and not tagged and name:
            end = aligned(ENTRY.size + name_bytes + 2) - ENTRY.size
            return len(name) == name_bytes and behind == name.ljust(end, b"\0")
        name, short_name = _packed(entry.name), _packed(entry.short_name)
        end = aligned(ENTRY.size + len(name) + len(short_name)) - ENTRY.size
        names = (name + short_name).ljust(end, b"\0")
        return (
            behind == names + tagged.ljust(aligned(len(tagged)), b"\0")
            and name_bytes == max(len(name) - 2, 0)
            and short_bytes == max(len(short_name) - 2, 0)
        )

    def _compare_streams(self, entry: Entry, offset: int) -> int:
        """Compare the streams of an entry that has more than one content; where it ends."""
        read, _, end = read_entry(self._data, self._descriptors, offset)
        if read is None or _contents(read.inode) != _contents(entry.inode):
            raise _differs(entry)
        return end

    def _compare_group(self, entry: Entry, group: bytes) -> None:
        """The names of one file, and they alone, have one number."""
        if len(entry.inode.entries) == 1 or group == _NO_GROUP:
            raise _differs(entry)
        if self._groups.setdefault(entry.inode, group) != group:
            raise _differs(entry)

    def _descriptor(self, number: int) -> bytes | None:
        if number == NO_SECURITY:
            return None
        if number >= len(self._descriptors):
            raise VerificationFailed(f"security descriptor {number} is not there")
        return self._descriptors[number]

    def _refuse_overlap(self) -> None:
        self._extents.sort()
        for (_, end), (start, _) in pairwise(self._extents):
            if start < end:
                raise DamagedWim(f"directory entries at {start} overlap others")


def _contents(inode: Inode) -> tuple[Reparse | None, list[tuple[str, bytes]]]:
    """Reparse point and streams; empty content may be named by its hash, zeros are written."""
    reparse = inode.reparse
    if reparse is not None:
        reparse = replace(reparse, sha1=present(reparse.sha1))
    return reparse, [(one.name, present(one.sha1)) for one in inode.streams]


def _packed(name: str) -> bytes:
    """A name with its terminator, or nothing."""
    return utf_16_le_encode(name, "surrogatepass")[0] + b"\0\0" if name else b""


def _differs(entry: Entry) -> VerificationFailed:
    return VerificationFailed(f"{_shown(entry)} differs")


def _shown(entry: Entry) -> str:
    return entry.name or "the root"
