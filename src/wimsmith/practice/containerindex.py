"""Cabinets with a container index: numbered members, identical copies and deltas.

The layout is that of packages for Windows 7 and 8.1: manifests and catalogs are members under
their names, payload is stored as deltas under numbers, and the index stands beside them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wimsmith.practice.deltas import build_delta
from wimsmith.practice.xmltext import Node, node, render

INDEX_NAME = "_manifest_.cix.xml"
_NAMESPACE = "urn:ContainerIndex"
_ARCHIVE = "32"


@dataclass(frozen=True, slots=True)
class _Made:
    """How one file is stored: the member, its type and bytes, and the id of the basis."""

    member: str = ""
    kind: str = ""
    data: bytes = b""
    basis: int | None = None


def indexed_cabinet(
    files: Mapping[str, bytes], *, filetime: int, sha256: bool = True
) -> dict[str, bytes]:
    r"""Members of a cabinet that expands to `files`.

    What repeats is a copy; a file below a folder is a delta against an earlier one of its name, or
    against nothing; everything else is a member as it is.
    """
    members: dict[str, bytes] = {}
    nodes = []
    seen: dict[bytes, int] = {}
    by_base_name: dict[str, tuple[int, bytes]] = {}
    algorithm = "SHA256" if sha256 else "SHA1"
    for number, (name, data) in enumerate(files.items(), 1):
        base_name = name.rpartition("\\")[2]
        if data in seen:
            made = _Made(basis=seen[data])
        elif "\\" in name:
            basis, base = by_base_name.get(base_name, (None, b""))
            stored = build_delta(base, data, filetime=filetime)
            made = _Made(str(len(members)), "PA30", stored, basis)
        else:
            made = _Made(name, "RAW", data)
        if made.member:
            members[made.member] = made.data
        seen.setdefault(data, number)
        by_base_name[base_name] = number, data
        nodes.append(_file(number, name, data, made, algorithm, filetime))
    return {INDEX_NAME: _index(nodes, sum(map(len, members.values()))), **members}


def _index(files: Sequence[Node], length: int) -> bytes:
    """The index; files stand before their bases, as they do in real ones."""
    content = (node("Description"), Node("Files", {}, tuple(reversed(files))))
    attributes = {"name": "practice.cab", "type": "CAB", "length": str(length), "version": "1"}
    return render(Node("Container", {**attributes, "xmlns": _NAMESPACE}, content))


def _file(number: int, name: str, data: bytes, made: _Made, algorithm: str, filetime: int) -> Node:
    parts = []
    if made.member:
        source = {"type": made.kind, "name": made.member}
        parts.append(Node("Source", source, (_hash(made.data, algorithm),)))
    if made.basis is not None:
        parts.append(Node("Basis", {"file": str(made.basis)}))
    attributes = {
        "id": str(number),
        "name": name,
        "length": str(len(data)),
        "time": str(filetime),
        "attr": _ARCHIVE,
    }
    return Node("File", attributes, (_hash(data, algorithm), Node("Delta", {}, tuple(parts))))


def _hash(data: bytes, algorithm: str) -> Node:
    digest = hashlib.new(algorithm.lower(), data, usedforsecurity=False).hexdigest()
    return Node("Hash", {"alg": algorithm, "value": digest})
