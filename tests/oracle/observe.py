"""An index of a WIM as `wimlib-imagex` and python-registry read it."""

import io
import re
import struct
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyregf
from Registry import Registry

from oracle.state import Entry, ImageState, Key, Keys, Value

HIVE_PATHS: Mapping[str, str] = {
    "SOFTWARE": "Windows/System32/config/SOFTWARE",
    "SYSTEM": "Windows/System32/config/SYSTEM",
    "COMPONENTS": "Windows/System32/config/COMPONENTS",
    "DEFAULT": "Windows/System32/config/DEFAULT",
    "NTUSER": "Users/Default/NTUSER.DAT",
}
_RULE = re.compile(r"^-{20,}$", re.MULTILINE)
_FIELD = re.compile(r"^([A-Z][A-Za-z ]+?) += (.*)$")
_NOT_ABOUT_THE_FILE = frozenset(
    ["Compressed size", "Offset in WIM", "Part Number", "Reference Count", "Flags", "Link Count"]
)
_SEGMENT_BYTES = 0x3FD8
_INLINE = 0x80000000


def observe(wim: Path, index_number: int) -> ImageState:
    """Everything in an index that an installation may change."""
    entries = list_files(wim, index_number)
    present = {name: path for name, path in HIVE_PATHS.items() if path.lower() in entries}
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            f"--dest-dir={folder}",
            "--no-acls",
            "--no-attributes",
            "--preserve-dir-structure",
        ]
        _wimlib("extract", wim, str(index_number), *present.values(), *arguments)
        hives = {
            name: read_hive((Path(folder) / path).read_bytes()) for name, path in present.items()
        }
    return ImageState(entries, hives, partial(read_file, wim, index_number))


def read_file(wim: Path, index_number: int, path: str) -> bytes:
    """Content of one file of an index."""
    command = ["wimlib-imagex", "extract", str(wim), str(index_number), path, "--to-stdout"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def list_files(wim: Path, index_number: int) -> dict[str, Entry]:
    """All entries by lower-case path; the root is the empty path."""
    listing = _wimlib("dir", wim, str(index_number), "--detailed")
    found = [_fields(block) for block in _RULE.split(listing) if "Full Path" in block]
    groups: dict[str, set[str]] = defaultdict(set)
    for fields, _ in found:
        groups[fields["Link Group ID"]].add(_path(fields).lower())
    return {_path(fields).lower(): _entry(fields, rest, groups) for fields, rest in found}


def read_hive(data: bytes) -> Keys:
    """All keys of a hive. A second reader has to see the same keys and as many values."""
    keys: dict[str, Key] = {}
    pending: list[tuple[str, Any]] = [("", Registry.Registry(io.BytesIO(data)).root())]
    while pending:
        path, key = pending.pop()
        values = [_value(value) for value in key.values()]
        keys[path.lower()] = Key(path, _security(key), {one.name.lower(): one for one in values})
        pending.extend((f"{path}\\{sub.name()}".lstrip("\\"), sub) for sub in key.subkeys())
    counted = {name: len(key.values) for name, key in keys.items()}
    assert dict(_counts_by_libregf(data)) == counted, "two readers see different hives"
    return keys


def _wimlib(verb: str, wim: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["wimlib-imagex", verb, wim, *arguments], check=True, capture_output=True, encoding="utf-8"
    )
    return done.stdout


def _fields(block: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Fields of a listed entry by name, and what there is besides, in the order of the listing."""
    fields: dict[str, str] = {}
    rest: list[str] = []
    for line in block.splitlines():
        match = _FIELD.match(line)
        if match and match[1] in _NOT_ABOUT_THE_FILE:
            continue
        if match and match[1] in _KNOWN and match[1] not in fields:
            fields[match[1]] = match[2]
        elif line.strip():
            rest.append(line.strip())
    return fields, tuple(rest)


_KNOWN = frozenset(
    ["Full Path", "Short Name", "Attributes", "Security Descriptor", "Link Group ID", "Hash"]
)


def _path(fields: Mapping[str, str]) -> str:
    return fields["Full Path"].strip('"').lstrip("/")


def _entry(
    fields: Mapping[str, str], rest: tuple[str, ...], groups: Mapping[str, set[str]]
) -> Entry:
    group, path = fields["Link Group ID"], _path(fields)
    alone = int(group, 16) == 0
    return Entry(
        path=path,
        attributes=int(fields["Attributes"], 16),
        security=bytes.fromhex(fields.get("Security Descriptor", "").removeprefix("0x")),
        sha1=fields.get("Hash", "").removeprefix("0x"),
        short_name=fields["Short Name"].strip('"'),
        links=frozenset([path.lower()] if alone else groups[group]),
        rest=rest,
    )


def _value(value: Any) -> Value:
    """A value exactly as stored; the library's own decoding loses some types and short data."""
    record = value._vkrecord
    name = "" if not record.has_name() else record.name()
    return Value(name, record.unpack_dword(0xC), _data(record))


def _data(record: Any) -> bytes:
    length = record.unpack_dword(0x4)
    if length & _INLINE:
        return bytes(record.unpack_binary(0x8, length & ~_INLINE))
    cell = Registry.RegistryParse.HBINCell(
        record._buf, record.abs_offset_from_hbin_offset(record.unpack_dword(0x8)), record
    )
    if length > _SEGMENT_BYTES and cell.data_id() == b"db":
        return bytes(cell.child().large_data(length))
    return bytes(cell.raw_data()[:length])


def _security(key: Any) -> bytes:
    node = key._nkrecord
    at = node.abs_offset_from_hbin_offset(node.unpack_dword(0x2C)) + 4
    signature, size = struct.unpack_from("<2s14xI", node._buf, at)
    assert signature == b"sk"
    return bytes(node._buf[at + 20 : at + 20 + size])


def _counts_by_libregf(data: bytes) -> Iterator[tuple[str, int]]:
    file = pyregf.file()
    file.open_file_object(io.BytesIO(data))
    pending: list[tuple[str, Any]] = [("", file.get_root_key())]
    while pending:
        path, key = pending.pop()
        yield path.lower(), key.number_of_values
        pending.extend((f"{path}\\{sub.name}".lstrip("\\"), sub) for sub in key.sub_keys)
    file.close()
