"""Hives as other people's programs read them: the judges of our writer."""

import csv
import io
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyregf
import pytest
from regipy.registry import RegistryHive
from Registry import Registry

from wimsmith.offline.registry import Hive

Values = frozenset[tuple[str, int, bytes]]
Dump = dict[str, Values]
"""All values (name, type, data) of all keys, by path below the root."""


def ours(data: bytes) -> Dump:
    """What our own reader sees."""
    return {
        key.path: frozenset((value.name, value.type, value.data) for value in key.values())
        for key in Hive.parse(data).walk()
    }


def libregf_agrees(data: bytes, expected: Dump | None = None) -> bool:
    """Whether libregf sees the same hive as `expected` says, or else as we do.

    It misreads data of 1 to 3 bytes, and cuts texts at their first NUL: that much is not compared.
    """
    return _libregf_view(by_libregf(data)) == _libregf_view(expected or ours(data))


def python_registry_agrees(data: bytes, expected: Dump | None = None) -> bool:
    """Whether python-registry sees the same hive as `expected` says, or else as we do.

    It misreads data of up to 3 bytes and numbers that are big-endian or have another size than
    their type says, and cuts types to 16 bits: that much is not compared.
    """
    seen = by_python_registry(data)
    return _python_registry_view(seen) == _python_registry_view(expected or ours(data))


def by_libregf(data: bytes) -> Dump:
    file = pyregf.file()
    file.open_file_object(io.BytesIO(data))
    dump: Dump = {}
    pending: list[tuple[str, Any]] = [("", file.get_root_key())]
    while pending:
        path, key = pending.pop()
        dump[path] = frozenset(
            (value.name or "", value.type, value.data or b"") for value in key.values
        )
        pending.extend((_join(path, sub.name), sub) for sub in key.sub_keys)
    file.close()
    return dump


def by_python_registry(data: bytes) -> Dump:
    dump: Dump = {}
    pending = [("", Registry.Registry(io.BytesIO(data)).root())]
    while pending:
        path, key = pending.pop()
        dump[path] = frozenset(
            ("" if value.name() == "(default)" else value.name(), value.value_type(), raw)
            for value in key.values()
            for raw in [bytes(value.raw_data())]
        )
        pending.extend((_join(path, sub.name()), sub) for sub in key.subkeys())
    return dump


def by_regipy(data: bytes, folder: Path) -> Dump:
    """Keys, and values as their vk records and data cells say; regipy wants a file."""
    path = folder / "regipy.hive"
    path.write_bytes(data)
    dump: Dump = {}
    regipy: Any = RegistryHive
    pending: list[tuple[str, Any]] = [("", regipy(path).root)]
    while pending:
        key_path, key = pending.pop()
        values = key.iter_values(trim_values=False) if key.values_count else ()
        dump[key_path] = frozenset(
            ("" if value.name == "(default)" else value.name, _REGIPY_TYPES[value.value_type], raw)
            for value in values
            for raw in [_regipy_bytes(value)]
        )
        if key.subkey_count:
            pending.extend((_join(key_path, sub.name), sub) for sub in key.iter_subkeys())
    return dump


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What reglookup says of a key."""

    time: str
    owner: str
    dacl: str
    class_name: str


def by_reglookup(data: bytes, folder: Path) -> tuple[dict[str, KeyRow], set[str]]:
    """Keys with times, security and class, and the paths of all values."""
    if shutil.which("reglookup") is None:
        pytest.skip("needs the program reglookup")
    path = folder / "reglookup.hive"
    path.write_bytes(data)
    done = subprocess.run(
        ["reglookup", "-s", path],
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        text=True,
    )
    # It warns of other scripts and of text that is none, and prints both in a form of its own.
    doubts = [line for line in done.stderr.splitlines() if " quoting " not in line]
    assert [line for line in doubts if " converting " not in line] == []
    csv.field_size_limit(1 << 24)
    keys: dict[str, KeyRow] = {}
    values: set[str] = set()
    for row in csv.DictReader(io.StringIO(done.stdout)):
        name = unquote(row["PATH"]).lstrip("/")
        if row["TYPE"] == "KEY":
            keys[name] = KeyRow(row["MTIME"], row["OWNER"], row["DACL"], row["CLASS"])
        else:
            values.add(name)
    return keys, values


_REGIPY_TYPES = {"REG_NONE": 0, "REG_BINARY": 3, "REG_DWORD": 4, "REG_QWORD": 11}


def _regipy_bytes(value: Any) -> bytes:
    match value.value_type:
        case "REG_DWORD":
            return struct.pack("<I", value.value)
        case "REG_QWORD":
            return struct.pack("<Q", value.value)
        case _:
            return bytes(value.value)


def _libregf_view(dump: Dump) -> Dump:
    return {
        path: frozenset((name, kind, _libregf_data(kind, data)) for name, kind, data in values)
        for path, values in dump.items()
    }


def _libregf_data(kind: int, data: bytes) -> bytes:
    if len(data) < 4:
        return bytes(len(data))
    if kind not in {1, 2}:
        return data
    units = (data[at : at + 2] for at in range(0, len(data), 2))
    return b"".join(takewhile(lambda unit: unit != b"\0\0", units))


def _python_registry_view(dump: Dump) -> Dump:
    return {
        path: frozenset(
            (name, kind & 0xFFFF, b"" if len(data) < 5 or kind in {4, 5} else data)
            for name, kind, data in values
        )
        for path, values in dump.items()
    }


def _join(path: str, name: str) -> str:
    return f"{path}\\{name}" if path else name
