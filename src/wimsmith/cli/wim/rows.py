"""Entries of an image as rows: for JSON with everything, for people what they asked for."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from wimsmith.cli.output import human_size
from wimsmith.cli.wimfile import attribute_letters, time_text
from wimsmith.errors import DamagedSecurity, LimitExceeded, NotFound, NotSupported
from wimsmith.offline.descriptors import SecurityDescriptor
from wimsmith.offline.security import display_sddl
from wimsmith.offline.sidnames import name_of
from wimsmith.offline.wim.format.behind import read_behind
from wimsmith.offline.wim.format.container import Wim
from wimsmith.offline.wim.format.lint import shown_path
from wimsmith.offline.wim.format.reparse import MAX_REPARSE_BYTES, kind_of, target_of
from wimsmith.offline.wim.format.tree import MAX_LINKS, Entry, Inode

Row = dict[str, Any]


class Rows:
    """Makes rows of the entries of one image; what many entries share is looked up once."""

    def __init__(self, wim: Wim) -> None:
        self._wim = wim
        self._security: dict[bytes, Row] = {}
        self._link_names: dict[Inode, list[str]] = {}

    def of(self, entry: Entry) -> Row:
        """Everything that is known of an entry."""
        inode = entry.inode
        behind = read_behind(inode.tagged)
        return {
            "path": shown_path(entry),
            "name": entry.name,
            "short_name": entry.short_name,
            "attributes": attribute_letters(inode.attributes),
            "attribute_bits": inode.attributes,
            "size_bytes": self._size(inode.sha1),
            "links": len(inode.entries),
            "link_names": self._names_of(inode),
            "created": time_text(inode.created),
            "accessed": time_text(inode.accessed),
            "written": time_text(inode.written),
            "filetimes": {
                "created": inode.created,
                "accessed": inode.accessed,
                "written": inode.written,
            },
            "sha1": inode.sha1,
            "streams": [
                {
                    "name": stream.name,
                    "size_bytes": self._size(stream.sha1),
                    "sha1": stream.sha1,
                }
                for stream in inode.named_streams
            ],
            "reparse": self._reparse(inode),
            "object_id": behind.object_id,
            "extended_attributes": [
                {"name": one.name.decode("latin-1"), "flags": one.flags, "value": one.value}
                for one in behind.extended_attributes
            ],
            "unix": None if behind.unix is None else asdict(behind.unix),
            "other_items": [{"tag": tag, "data": data} for tag, data in behind.other],
            "security": self._security_of(inode.security),
        }

    def _names_of(self, inode: Inode) -> list[str]:
        if len(inode.entries) < 2:
            return []
        if inode not in self._link_names:
            entries = inode.entries[:MAX_LINKS]
            self._link_names[inode] = [shown_path(entry) for entry in entries]
        return self._link_names[inode]

    def _size(self, sha1: bytes) -> int | None:
        """Size in bytes, None where the content is in another file."""
        try:
            return self._wim.size_of(sha1)
        except NotFound:
            return None

    def _reparse(self, inode: Inode) -> Row | None:
        if inode.reparse is None:
            return None
        try:
            data = self._wim.read_blob(inode.reparse.sha1, MAX_REPARSE_BYTES)
        except (NotFound, NotSupported, LimitExceeded):  # its data is elsewhere, or no link
            data = b""
        tag = inode.reparse.tag
        return {"tag": tag, "kind": kind_of(tag), "target": target_of(tag, data)}

    def _security_of(self, descriptor: bytes | None) -> Row | None:
        if descriptor is None:
            return None
        if descriptor not in self._security:
            self._security[descriptor] = security_facts(descriptor)
        return self._security[descriptor]


def security_facts(descriptor: bytes) -> Row:
    """SDDL of a descriptor, and the names of the well-known accounts in it.

    `sddl` is None where the descriptor has no text form here; `raw` has its bytes in any case.
    """
    facts: Row = {"sddl": None, "owner": None, "group": None, "accounts": {}, "raw": descriptor}
    try:
        value = SecurityDescriptor.from_bytes(descriptor)
        facts |= {"owner": value.owner, "group": value.group}
        facts["accounts"] = {sid: name for sid in _accounts(value) if (name := name_of(sid))}
        facts["sddl"] = display_sddl(descriptor)
    except DamagedSecurity:
        pass
    return facts


def _accounts(value: SecurityDescriptor) -> list[str]:
    aces = [ace for acl in (value.dacl, value.sacl) if acl for ace in acl.aces]
    sids = [value.owner, value.group, *(ace.sid for ace in aces)]
    return list(dict.fromkeys(sid for sid in sids if sid))


def size_text(size_bytes: int | None) -> str:
    return "elsewhere" if size_bytes is None else human_size(size_bytes)


def security_lines(security: Row | None) -> list[tuple[str, str]]:
    """A descriptor for people: SDDL, then who that is."""
    if security is None:
        return [("security", "none: inherits when the image is applied")]
    accounts = security["accounts"]
    lines = [("security", security["sddl"] or f"raw {security['raw'].hex()}")]
    roles = {role: security[role] for role in ("owner", "group") if security[role]}
    lines += [(role, accounts.get(sid, sid)) for role, sid in roles.items()]
    others = [name for sid, name in accounts.items() if sid not in roles.values()]
    return [*lines, ("accounts", ", ".join(others))] if others else lines


def reparse_text(reparse: Mapping[str, Any] | None) -> str:
    if reparse is None:
        return ""
    target = reparse["target"]
    return f"{reparse['kind']} to {target}" if target else str(reparse["kind"])


def stream_lines(row: Row) -> list[tuple[str, str]]:
    return [("stream", f"{one['name']}, {size_text(one['size_bytes'])}") for one in row["streams"]]


def item_lines(row: Row) -> list[tuple[str, str]]:
    """Object id, extended attributes, and whatever else stands behind an entry."""
    lines = [("object id", row["object_id"].hex())] if row["object_id"] else []
    lines += [
        ("extended attribute", f"{one['name']}, {len(one['value'])} B")
        for one in row["extended_attributes"]
    ]
    if row["unix"] is not None:
        unix = row["unix"]
        lines.append(("Unix", f"mode {unix['mode']:o}, user {unix['user']}, group {unix['group']}"))
    lines += [
        ("item", f"tag 0x{one['tag']:08x}, {len(one['data'])} B") for one in row["other_items"]
    ]
    return lines
