"""Security descriptors as values and as self-relative bytes, and what a new object inherits.

Layouts are those of the open specification [MS-DTYP] 2.4; inheritance follows its algorithms in
2.5.3.4. Offsets and sizes are checked before they are used, since descriptors also come from
foreign images. SDDL text is in `wimsmith.offline.security`.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Self
from uuid import UUID

from wimsmith.errors import DamagedSecurity
from wimsmith.offline._sids import sid_from_bytes, sid_to_bytes

MAX_DESCRIPTOR_BYTES = 1 << 17
OWNER_DEFAULTED = 0x0001
GROUP_DEFAULTED = 0x0002
DACL_PRESENT = 0x0004
SACL_PRESENT = 0x0010
DACL_AUTO_INHERITED = 0x0400
SACL_AUTO_INHERITED = 0x0800
DACL_PROTECTED = 0x1000
SACL_PROTECTED = 0x2000
SELF_RELATIVE = 0x8000

OBJECT_INHERIT = 0x01
CONTAINER_INHERIT = 0x02
NO_PROPAGATE = 0x04
INHERIT_ONLY = 0x08
INHERITED = 0x10
_INHERITANCE = OBJECT_INHERIT | CONTAINER_INHERIT | NO_PROPAGATE | INHERIT_ONLY

GENERIC_READ, GENERIC_WRITE = 0x80000000, 0x40000000
GENERIC_EXECUTE, GENERIC_ALL = 0x20000000, 0x10000000
_GENERIC = GENERIC_READ | GENERIC_WRITE | GENERIC_EXECUTE | GENERIC_ALL

_CREATOR_OWNER, _CREATOR_GROUP = "S-1-3-0", "S-1-3-1"
_OBJECT_TYPES = frozenset([0x05, 0x06, 0x07, 0x08, 0x0B, 0x0C, 0x0F, 0x10])
_SIMPLE_TYPES = frozenset([0x00, 0x01, 0x02, 0x03, 0x09, 0x0A, 0x0D, 0x0E, 0x11, 0x12, 0x13, 0x14])
_OBJECT_TYPE_PRESENT, _INHERITED_TYPE_PRESENT = 1, 2

GenericMapping = Mapping[int, int]
FILE_RIGHTS: GenericMapping = MappingProxyType(
    {
        GENERIC_READ: 0x120089,
        GENERIC_WRITE: 0x120116,
        GENERIC_EXECUTE: 0x1200A0,
        GENERIC_ALL: 0x1F01FF,
    }
)
"""What the generic rights mean on files and directories."""

KEY_RIGHTS: GenericMapping = MappingProxyType(
    {
        GENERIC_READ: 0x20019,
        GENERIC_WRITE: 0x20006,
        GENERIC_EXECUTE: 0x20019,
        GENERIC_ALL: 0xF003F,
    }
)
"""What the generic rights mean on registry keys."""


@dataclass(frozen=True, slots=True)
class Ace:
    """One entry of an access control list; `sid` is text such as `S-1-5-18`.

    `data` is what follows the SID: the condition of a callback entry, kept as it is.
    """

    type: int
    flags: int
    mask: int
    sid: str
    object_type: UUID | None = None
    inherited_type: UUID | None = None
    data: bytes = b""

    def to_bytes(self) -> bytes:
        body = struct.pack("<I", self.mask) + self._object_bytes() + sid_to_bytes(self.sid)
        body += self.data + b"\0" * (-len(self.data) % 4)
        return struct.pack("<BBH", self.type, self.flags, 4 + len(body)) + body

    def _object_bytes(self) -> bytes:
        if self.type not in _OBJECT_TYPES:
            return b""
        present = _OBJECT_TYPE_PRESENT * (self.object_type is not None)
        present |= _INHERITED_TYPE_PRESENT * (self.inherited_type is not None)
        guids = [guid.bytes_le for guid in (self.object_type, self.inherited_type) if guid]
        return struct.pack("<I", present) + b"".join(guids)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read one entry from exactly its bytes.

        Raises:
            DamagedSecurity: an unknown type, or something reaches beyond the entry.
        """
        kind, flags, size = struct.unpack_from("<BBH", data)
        if kind not in _SIMPLE_TYPES | _OBJECT_TYPES or size < 16 or size > len(data):
            raise DamagedSecurity(f"access control entry of type {kind} with {size} bytes")
        mask, position = struct.unpack_from("<I", data, 4)[0], 8
        guids: list[UUID | None] = [None, None]
        if kind in _OBJECT_TYPES:
            (present,) = struct.unpack_from("<I", data, 8)
            position = 12
            for bit in (0, 1):
                if present & 1 << bit:
                    guids[bit] = _guid(data[position : position + 16])
                    position += 16
        sid, length = sid_from_bytes(data[position:size])
        return cls(kind, flags, mask, sid, guids[0], guids[1], data[position + length : size])


_SYSTEM_OWNER, _SYSTEM_GROUP = "S-1-5-32-544", "S-1-5-18"
_SYSTEM_DEFAULT = (
    Ace(0x00, 0, GENERIC_ALL, "S-1-5-18"),
    Ace(0x00, 0, GENERIC_READ | GENERIC_EXECUTE, "S-1-5-32-544"),
)


@dataclass(frozen=True, slots=True)
class Acl:
    aces: tuple[Ace, ...] = ()

    def to_bytes(self) -> bytes:
        revision = 4 if any(ace.type in _OBJECT_TYPES for ace in self.aces) else 2
        body = b"".join(ace.to_bytes() for ace in self.aces)
        if len(body) + 8 > 0xFFFF:
            raise DamagedSecurity(f"access control list of {len(self.aces)} entries is too long")
        return struct.pack("<BBHHH", revision, 0, 8 + len(body), len(self.aces), 0) + body

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        if len(data) < 8:
            raise DamagedSecurity("access control list is cut short")
        revision, _, size, count, _ = struct.unpack_from("<BBHHH", data)
        if revision not in {2, 3, 4} or not 8 <= size <= len(data):
            raise DamagedSecurity(f"access control list of revision {revision}, {size} bytes")
        aces, position = [], 8
        for _ in range(count):
            if position + 4 > size:
                raise DamagedSecurity("access control list ends within an entry")
            (length,) = struct.unpack_from("<H", data, position + 2)
            if length % 4 or position + length > size:
                raise DamagedSecurity(f"access control entry of {length} bytes")
            aces.append(Ace.from_bytes(data[position : position + length]))
            position += length
        return cls(tuple(aces))


@dataclass(frozen=True, slots=True)
class SecurityDescriptor:
    """Owner, group and lists; a list that is None while its control bit is set is a null list."""

    owner: str | None = None
    group: str | None = None
    dacl: Acl | None = None
    sacl: Acl | None = None
    control: int = SELF_RELATIVE

    def to_bytes(self) -> bytes:
        """Self-relative bytes: header, SACL, DACL, owner, group, as Windows lays them out."""
        parts = [
            self.sacl.to_bytes() if self.sacl else b"",
            self.dacl.to_bytes() if self.dacl else b"",
            sid_to_bytes(self.owner) if self.owner else b"",
            sid_to_bytes(self.group) if self.group else b"",
        ]
        offsets, position = [], 20
        for part in parts:
            offsets.append(position if part else 0)
            position += len(part)
        sacl, dacl, owner, group = offsets
        control = self.control | SELF_RELATIVE
        return struct.pack("<BBHIIII", 1, 0, control, owner, group, sacl, dacl) + b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a self-relative descriptor.

        Raises:
            DamagedSecurity: anything that the format does not allow.
        """
        if not 20 <= len(data) <= MAX_DESCRIPTOR_BYTES:
            raise DamagedSecurity(f"{len(data)} bytes")
        revision, _, control, owner, group, sacl, dacl = struct.unpack_from("<BBHIIII", data)
        if revision != 1 or not control & SELF_RELATIVE:
            raise DamagedSecurity(f"revision {revision}, control 0x{control:04x}")
        return cls(
            owner=sid_from_bytes(_from(data, owner))[0] if owner else None,
            group=sid_from_bytes(_from(data, group))[0] if group else None,
            dacl=_acl(data, dacl, present=bool(control & DACL_PRESENT)),
            sacl=_acl(data, sacl, present=bool(control & SACL_PRESENT)),
            control=control,
        )


def map_generic(descriptor: SecurityDescriptor, rights: GenericMapping) -> SecurityDescriptor:
    """The descriptor as the system stores it on an object whose kind has these `rights`.

    Generic rights of entries that take effect become the specific ones: a stored entry that still
    says "generic all" grants nothing. An entry that is handed down as well becomes two: one that
    takes effect, and one that waits to be inherited with what was written ([MS-DTYP] 2.5.3.4.7,
    and what installed Windows shows: `(A;CI;GA;;;SY)` is stored as `(A;;KA;;;SY)(A;CIIO;GA;;;SY)`).
    """

    def stored(acl: Acl | None) -> Acl | None:
        if acl is None:
            return None
        return Acl(tuple(one for ace in acl.aces for one in _stored(ace, descriptor, rights)))

    return replace(descriptor, dacl=stored(descriptor.dacl), sacl=stored(descriptor.sacl))


def completed(descriptor: bytes, like: bytes | None) -> bytes:
    """The descriptor with the owner and group of `like` where it names none.

    Without `like` they are those that the system account gives what it makes.

    Raises:
        DamagedSecurity: one of the descriptors is damaged.
    """
    own = SecurityDescriptor.from_bytes(descriptor)
    if own.owner and own.group:
        return descriptor
    other = SecurityDescriptor.from_bytes(like) if like else SecurityDescriptor()
    return replace(
        own,
        owner=own.owner or other.owner or _SYSTEM_OWNER,
        group=own.group or other.group or _SYSTEM_GROUP,
    ).to_bytes()


def inherit(parent: bytes, *, is_directory: bool, rights: GenericMapping = FILE_RIGHTS) -> bytes:
    """The descriptor of a new object below `parent` that is made without one of its own.

    Owner and group are those of the parent, because offline there is no creating user. A parent
    that hands down nothing leaves the object with what the system account gives by default.

    Raises:
        DamagedSecurity: the descriptor of the parent is damaged.
    """
    above = SecurityDescriptor.from_bytes(parent)

    def below(acl: Acl | None) -> Acl | None:
        aces = [
            one
            for ace in (acl.aces if acl else ())
            for one in _inherited(ace, above, is_directory, rights)
        ]
        return Acl(tuple(aces)) if aces else None

    dacl, sacl = below(above.dacl), below(above.sacl)
    control = SELF_RELATIVE | DACL_PRESENT
    control |= DACL_AUTO_INHERITED if dacl else 0
    control |= (SACL_PRESENT | SACL_AUTO_INHERITED) if sacl else 0
    dacl = dacl or Acl(tuple(_map_effective(ace, rights) for ace in _SYSTEM_DEFAULT))
    return SecurityDescriptor(above.owner, above.group, dacl, sacl, control).to_bytes()


def _stored(ace: Ace, of: SecurityDescriptor, rights: GenericMapping) -> Iterator[Ace]:
    if ace.flags & INHERIT_ONLY:
        yield ace
        return
    effective = replace(ace, mask=_mapped(ace.mask, rights), sid=_creator(ace.sid, of))
    handed_down = ace.flags & (OBJECT_INHERIT | CONTAINER_INHERIT)
    if not handed_down or effective == ace:
        yield effective
        return
    yield replace(effective, flags=ace.flags & ~_INHERITANCE)
    yield replace(ace, flags=ace.flags | INHERIT_ONLY)


def _inherited(
    ace: Ace, above: SecurityDescriptor, is_directory: bool, rights: GenericMapping
) -> Iterator[Ace]:
    wanted = CONTAINER_INHERIT if is_directory else OBJECT_INHERIT
    goes_on = is_directory and not ace.flags & NO_PROPAGATE
    passed = ace.flags & (OBJECT_INHERIT | CONTAINER_INHERIT) if goes_on else 0
    kept = ace.flags & ~_INHERITANCE | INHERITED
    if not ace.flags & wanted:
        if passed:
            yield replace(ace, flags=kept | passed | INHERIT_ONLY)
        return
    effective = replace(ace, mask=_mapped(ace.mask, rights), sid=_creator(ace.sid, above))
    if not passed or (effective.mask, effective.sid) == (ace.mask, ace.sid):
        yield replace(effective, flags=kept | passed)
        return
    yield replace(effective, flags=kept)
    yield replace(ace, flags=kept | passed | INHERIT_ONLY)


def _creator(sid: str, above: SecurityDescriptor) -> str:
    if sid == _CREATOR_OWNER:
        return above.owner or sid
    if sid == _CREATOR_GROUP:
        return above.group or sid
    return sid


def _map_effective(ace: Ace, rights: GenericMapping) -> Ace:
    if ace.flags & INHERIT_ONLY:
        return ace
    return replace(ace, mask=_mapped(ace.mask, rights))


def _mapped(mask: int, rights: GenericMapping) -> int:
    specific = mask & ~_GENERIC
    for generic, meaning in rights.items():
        if mask & generic:
            specific |= meaning
    return specific


def _acl(data: bytes, offset: int, *, present: bool) -> Acl | None:
    return Acl.from_bytes(_from(data, offset)) if present and offset else None


def _from(data: bytes, offset: int) -> bytes:
    if not 20 <= offset < len(data):
        raise DamagedSecurity(f"offset {offset} in {len(data)} bytes")
    return data[offset:]


def _guid(data: bytes) -> UUID:
    if len(data) != 16:
        raise DamagedSecurity("object entry is cut short")
    return UUID(bytes_le=data)
