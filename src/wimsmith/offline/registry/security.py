"""Security descriptors of keys (`sk`): shared by content, counted, linked in a ring."""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from wimsmith.errors import DamagedHive
from wimsmith.offline.registry.cells import NOWHERE, Cells

_SECURITY = struct.Struct("<2sHIIII")
_DESCRIPTOR = struct.Struct("<BBHIIII")
_AT_NEXT = 4
_AT_PREVIOUS = 8
_AT_COUNT = 12

_SYSTEM = (18,)
_ADMINISTRATORS = (32, 544)
_USERS = (32, 545)
_CREATOR_OWNER_AUTHORITY = 3
_NT_AUTHORITY = 5
_KEY_ALL_ACCESS = 0xF003F
_KEY_READ = 0x20019
_CONTAINER_INHERIT = 0x02
_INHERIT_ONLY = 0x08
_SELF_RELATIVE = 0x8000
_DACL_PRESENT = 0x0004


class SecurityNode(NamedTuple):
    """Fields of a security record."""

    signature: bytes
    reserved: int
    next: int
    previous: int
    users: int
    size_bytes: int


class SecurityRing:
    """All descriptors of a hive, by content and by cell."""

    __slots__ = ("_by_content", "_cells", "_descriptors", "_entry")

    def __init__(self, cells: Cells, entry: int) -> None:
        """Open the ring that the record at `entry` is part of; `NOWHERE` if there is none yet."""
        self._cells = cells
        self._entry = entry
        self._by_content: dict[bytes, int] | None = None
        self._descriptors: dict[int, bytes] = {}

    def read(self, offset: int) -> bytes:
        """The self-relative descriptor in the record at `offset`."""
        known = self._descriptors.get(offset)
        if known is None:
            size_bytes = _SECURITY.size + self._node(offset).size_bytes
            known = self._cells.read(offset, size_bytes)[_SECURITY.size :]
            self._descriptors[offset] = known
        return known

    def share(self, offset: int) -> int:
        """Count one more user of the record at `offset`, which is returned."""
        self._cells.put_u32(offset, _AT_COUNT, self._node(offset).users + 1)
        return offset

    def acquire(self, descriptor: bytes) -> int:
        """Offset of the record with this content, found or made, counted for one more user."""
        known = self._known()
        if (offset := known.get(descriptor)) is not None:
            return self.share(offset)
        offset = self._insert(descriptor)
        known[descriptor] = offset
        return offset

    def release(self, offset: int) -> None:
        """Count one user less; the record goes with its last one."""
        node = self._node(offset)
        if node.users > 1:
            self._cells.put_u32(offset, _AT_COUNT, node.users - 1)
            return
        descriptor = self.read(offset)
        if node.next == offset:
            self._entry = NOWHERE
        else:
            self._cells.put_u32(node.previous, _AT_NEXT, node.next)
            self._cells.put_u32(node.next, _AT_PREVIOUS, node.previous)
            self._entry = node.next
        if self._by_content is not None and self._by_content.get(descriptor) == offset:
            del self._by_content[descriptor]
        del self._descriptors[offset]
        self._cells.free(offset)

    def correct(self, users: Mapping[int, int]) -> None:
        """Let every record that has users count those."""
        for offset, node in self.nodes().items():
            if users.get(offset, node.users) != node.users:
                self._cells.put_u32(offset, _AT_COUNT, users[offset])

    def nodes(self) -> dict[int, SecurityNode]:
        """All records of the ring by offset.

        Raises:
            DamagedHive: the ring is not closed both ways.
        """
        found: dict[int, SecurityNode] = {}
        offset, previous = self._entry, None
        while offset != NOWHERE and offset not in found:
            found[offset] = node = self._node(offset)
            if previous is not None and node.previous != previous:
                raise DamagedHive(f"security record at {offset:#x} is linked one way only")
            previous, offset = offset, node.next
        if offset != self._entry or (found and found[offset].previous != previous):
            raise DamagedHive("the ring of security records is not closed")
        return found

    def _node(self, offset: int) -> SecurityNode:
        node = SecurityNode._make(_SECURITY.unpack(self._cells.read(offset, _SECURITY.size)))
        if node.signature != b"sk":
            raise DamagedHive(f"no security record at {offset:#x}")
        return node

    def _known(self) -> dict[bytes, int]:
        if self._by_content is None:
            self._by_content = {}
            for offset in self.nodes():
                self._by_content.setdefault(self.read(offset), offset)
        return self._by_content

    def _insert(self, descriptor: bytes) -> int:
        after = self._entry
        following = self._node(after).next if after != NOWHERE else NOWHERE
        record = _SECURITY.pack(b"sk", 0, following, after, 1, len(descriptor)) + descriptor
        offset = self._cells.allocate(record)
        if after == NOWHERE:
            self._cells.write(offset, struct.pack("<II", offset, offset), _AT_NEXT)
            self._entry = offset
        else:
            self._cells.put_u32(after, _AT_NEXT, offset)
            self._cells.put_u32(following, _AT_PREVIOUS, offset)
        return offset


def check_descriptor(descriptor: bytes) -> None:
    """Check that a descriptor is self-relative and its parts lie inside it.

    Windows refuses to load a hive that holds one which is not.

    Raises:
        DamagedHive: it is not.
    """
    if len(descriptor) < _DESCRIPTOR.size:
        raise DamagedHive(f"a security descriptor of {len(descriptor)} bytes")
    revision, _, control, *parts = _DESCRIPTOR.unpack_from(descriptor)
    inside = all(part == 0 or _DESCRIPTOR.size <= part < len(descriptor) for part in parts)
    if revision != 1 or not control & _SELF_RELATIVE or not inside:
        raise DamagedHive("a security descriptor that is not self-relative or reaches outside")


def default_security() -> bytes:
    """The descriptor of a machine-wide key: administrators and the system own it, users read it.

    Self-relative, inherited by subkeys: `O:BAG:SYD:(A;CI;KA;;;BA)(A;CI;KA;;;SY)(A;CI;KR;;;BU)
    (A;CIIO;KA;;;CO)`.
    """
    owner, group = _sid(_NT_AUTHORITY, *_ADMINISTRATORS), _sid(_NT_AUTHORITY, *_SYSTEM)
    creator = _sid(_CREATOR_OWNER_AUTHORITY, 0)
    entries = (
        _allow(_CONTAINER_INHERIT, _KEY_ALL_ACCESS, owner),
        _allow(_CONTAINER_INHERIT, _KEY_ALL_ACCESS, group),
        _allow(_CONTAINER_INHERIT, _KEY_READ, _sid(_NT_AUTHORITY, *_USERS)),
        _allow(_CONTAINER_INHERIT | _INHERIT_ONLY, _KEY_ALL_ACCESS, creator),
    )
    body = b"".join(entries)
    acl = struct.pack("<BBHHH", 2, 0, 8 + len(body), len(entries), 0) + body
    owner_at = _DESCRIPTOR.size + len(acl)
    head = _DESCRIPTOR.pack(
        1,
        0,
        _SELF_RELATIVE | _DACL_PRESENT,
        owner_at,
        owner_at + len(owner),
        0,
        _DESCRIPTOR.size,
    )
    return head + acl + owner + group


def _sid(authority: int, *parts: int) -> bytes:
    return struct.pack(f"<BB6s{len(parts)}I", 1, len(parts), authority.to_bytes(6, "big"), *parts)


def _allow(flags: int, access: int, sid: bytes) -> bytes:
    return struct.pack("<BBHI", 0, flags, 8 + len(sid), access) + sid
