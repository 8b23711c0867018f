"""Cabinets with a container index, made for tests field by field."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from xml.sax.saxutils import quoteattr

from wimsmith.practice.cabinet import build_cabinet
from wimsmith.practice.deltas import build_delta

HEAD = '<?xml version="1.0" encoding="utf-8"?>'
FIRST = b"".join(b"line %d of the first library\r\n" % number for number in range(200))
SECOND = FIRST.replace(b"line 100", b"line one hundred")


@cache
def delta_of(base: bytes, target: bytes) -> bytes:
    return build_delta(base, target)


def digest(data: bytes, algorithm: str = "SHA1") -> str:
    return hashlib.new(algorithm.lower(), data).hexdigest()


@dataclass
class Entry:
    """A `File` element; None leaves an attribute or element out."""

    id: str | None
    name: str | None
    data: bytes = b""
    member: str | None = None
    kind: str = "RAW"
    stored: bytes | None = None
    basis: str | None = None
    algorithm: str = "SHA1"
    length: str | None = None
    value: str | None = None
    source_value: str | None = None
    time: str | None = "130818897022739288"
    attr: str | None = "32"
    more: str = ""

    @property
    def stored_bytes(self) -> bytes:
        return self.data if self.stored is None else self.stored

    def xml(self) -> str:
        length = str(len(self.data)) if self.length is None else self.length
        about = _attributes(
            id=self.id, name=self.name, length=length, time=self.time, attr=self.attr
        )
        value = digest(self.data, self.algorithm) if self.value is None else self.value
        own = f"<Hash{_attributes(alg=self.algorithm, value=value)}/>"
        return f"<File{about}>{own}<Delta>{self._source()}{self._basis()}</Delta>{self.more}</File>"

    def _source(self) -> str:
        if self.member is None:
            return ""
        value = self.source_value
        if value is None:
            value = digest(self.stored_bytes, self.algorithm)
        of_source = f"<Hash{_attributes(alg=self.algorithm, value=value)}/>"
        return f"<Source{_attributes(type=self.kind, name=self.member)}>{of_source}</Source>"

    def _basis(self) -> str:
        return "" if self.basis is None else f"<Basis{_attributes(file=self.basis)}/>"


@dataclass
class MadeIndex:
    """An index and the members of its cabinet."""

    entries: list[Entry]
    search: str = ""
    kind: str = "CAB"
    members: dict[str, bytes] = field(default_factory=dict)

    def xml(self) -> bytes:
        files = "".join(entry.xml() for entry in self.entries)
        head = f'<Container name="made.cab" type="{self.kind}" length="1" version="1"'
        return (
            f'{HEAD}{head} xmlns="urn:ContainerIndex"><Description/>{self.search}'
            f"<Files>{files}</Files></Container>"
        ).encode()

    def cabinet(self, changes: Mapping[str, bytes | None] | None = None) -> bytes:
        files: dict[str, bytes | None] = {"_manifest_.cix.xml": self.xml()}
        files |= {one.member: one.stored_bytes for one in self.entries if one.member is not None}
        files |= self.members
        files |= changes or {}
        return build_cabinet({name: data for name, data in files.items() if data is not None})

    def write(self, path: Path, changes: Mapping[str, bytes | None] | None = None) -> Path:
        path.write_bytes(self.cabinet(changes))
        return path


def made_index(top: bytes = b"<a/>", algorithm: str = "SHA1") -> MadeIndex:
    """Every kind of file: a member as it is, a null delta, a delta, and copies of each."""
    files = [
        Entry("9", "update.mum", top, member="update.mum"),
        Entry("8", "made\\copy of the second.dll", SECOND, basis="4"),
        Entry("7", "made\\copy of a copy.dll", SECOND, basis="8"),
        Entry("5", "made\\empty.txt", b"", member="12"),
        Entry(
            "4",
            "made\\second.dll",
            SECOND,
            member="1",
            kind="PA30",
            stored=delta_of(FIRST, SECOND),
            basis="3",
        ),
        Entry(
            "3",
            "made\\first.dll",
            FIRST,
            member="0",
            kind="PA30",
            stored=delta_of(b"", FIRST),
        ),
    ]
    for one in files:
        one.algorithm = algorithm
    return MadeIndex(files)


def _attributes(**values: str | None) -> str:
    kept = {name: value for name, value in values.items() if value is not None}
    return "".join(f" {name}={quoteattr(value)}" for name, value in kept.items())
