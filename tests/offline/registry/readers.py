"""Hives as other people's programs read them: the judges of our writer."""

import csv
import ctypes
import io
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
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


Detail = tuple[int, str]
"""Time of last write (FILETIME) and class of a key."""


def ours(data: bytes) -> Dump:
    """What our own reader sees."""
    return {
        key.path: frozenset((value.name, value.type, value.data) for value in key.values())
        for key in Hive.parse(data).walk()
    }


def libregf_agrees(data: bytes, expected: Dump | None = None) -> bool:
    """Whether libregf sees the same hive as `expected` says, or else as we do.

    It misreads data of 1 to 3 bytes, fills texts up to whole characters and cuts them at their
    first NUL: that much is not compared.
    """
    return not libregf_differs(data, expected or ours(data))


def python_registry_agrees(data: bytes, expected: Dump | None = None) -> bool:
    """Whether python-registry sees the same hive as `expected` says, or else as we do.

    It misreads data of up to 3 bytes and numbers that are big-endian or have another size than
    their type says, and cuts types to 16 bits: short data, numbers and high halves of types are not
    compared.
    """
    return not python_registry_differs(data, expected or ours(data))


def libregf_differs(data: bytes, expected: Dump) -> Dump:
    """What libregf sees otherwise than expected, apart from its defects."""
    return _difference(_libregf_view(by_libregf(data)), _libregf_view(expected))


def python_registry_differs(data: bytes, expected: Dump) -> Dump:
    """What python-registry sees otherwise than expected, apart from its defects."""
    seen = by_python_registry(data)
    return _difference(_python_registry_view(seen), _python_registry_view(expected))


def hivex_differs(data: bytes, expected: Dump, folder: Path) -> Dump:
    """What libhivex sees otherwise than expected; it has no defect that shows here."""
    return _difference(by_hivex(data, folder), expected)


def _difference(seen: Dump, expected: Dump) -> Dump:
    if seen == expected:
        return {}
    return {
        path: seen.get(path, frozenset()) ^ expected.get(path, frozenset())
        for path in seen.keys() | expected.keys()
        if seen.get(path) != expected.get(path)
    }


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


def details_by_libregf(data: bytes) -> dict[str, Detail]:
    """Times and classes of all keys by path."""
    file = pyregf.file()
    file.open_file_object(io.BytesIO(data))
    details: dict[str, Detail] = {}
    pending: list[tuple[str, Any]] = [("", file.get_root_key())]
    while pending:
        path, key = pending.pop()
        details[path] = key.get_last_written_time_as_integer(), key.class_name or ""
        pending.extend((_join(path, sub.name), sub) for sub in key.sub_keys)
    file.close()
    return details


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


@lru_cache(maxsize=1)
def _libhivex() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libhivex.so.0")
    except OSError:
        pytest.skip("needs the library libhivex")
    library.hivex_open.restype = ctypes.c_void_p
    library.hivex_open.argtypes = [ctypes.c_char_p, ctypes.c_int]
    library.hivex_close.argtypes = [ctypes.c_void_p]
    library.hivex_root.restype = ctypes.c_size_t
    library.hivex_root.argtypes = [ctypes.c_void_p]
    for name in ("node_name", "node_children", "node_values", "value_key"):
        function = getattr(library, f"hivex_{name}")
        function.restype = ctypes.c_void_p
        function.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.hivex_value_value.restype = ctypes.c_void_p
    library.hivex_value_value.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_int),
        ctypes.POINTER(ctypes.c_size_t),
    ]
    return library


_libc = ctypes.CDLL(None)
_libc.free.argtypes = [ctypes.c_void_p]


def by_hivex(data: bytes, folder: Path) -> Dump:
    """All keys and values as libhivex gives them; it wants a file."""
    library = _libhivex()
    path = folder / "hivex.hive"
    path.write_bytes(data)
    hive = library.hivex_open(bytes(path), 0)
    assert hive, "libhivex does not open it"
    dump: Dump = {}
    pending: list[tuple[str, int]] = [("", library.hivex_root(hive))]
    try:
        while pending:
            key_path, key = pending.pop()
            dump[key_path] = frozenset(_hivex_values(library, hive, key))
            for child in _hivex_list(library.hivex_node_children, hive, key):
                name = _hivex_text(library.hivex_node_name, hive, child)
                pending.append((_join(key_path, name), child))
    finally:
        library.hivex_close(hive)
    return dump


def _hivex_values(library: Any, hive: int, key: int) -> Iterator[tuple[str, int, bytes]]:
    for value in _hivex_list(library.hivex_node_values, hive, key):
        kind, size = ctypes.c_int(), ctypes.c_size_t()
        content = library.hivex_value_value(hive, value, ctypes.byref(kind), ctypes.byref(size))
        assert content, "libhivex does not read a value"
        name = _hivex_text(library.hivex_value_key, hive, value)
        yield name, kind.value & 0xFFFFFFFF, ctypes.string_at(content, size.value)
        _libc.free(content)


def _hivex_list(function: Callable[[int, int], int], hive: int, node: int) -> list[int]:
    found = function(hive, node)
    assert found, "libhivex does not read a list"
    offsets = ctypes.cast(found, ctypes.POINTER(ctypes.c_size_t))
    result: list[int] = []
    while offset := offsets[len(result)]:
        result.append(offset)
    _libc.free(found)
    return result


def _hivex_text(function: Callable[[int, int], int], hive: int, node: int) -> str:
    found = function(hive, node)
    assert found, "libhivex does not read a name"
    text = ctypes.string_at(found).decode()
    _libc.free(found)
    return text


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
    if kind not in {1, 2}:
        return bytes(len(data)) if len(data) < 4 else data
    if len(data) < 3:
        return b""
    even = data + bytes(len(data) % 2)
    units = (even[at : at + 2] for at in range(0, len(even), 2))
    return b"".join(takewhile(lambda unit: unit != b"\0\0", units))


def _python_registry_view(dump: Dump) -> Dump:
    return {
        path: frozenset(
            (name, kind & 0xFFFF, b"" if len(data) < 5 or kind in {4, 5, 11} else data)
            for name, kind, data in values
        )
        for path, values in dump.items()
    }


def _join(path: str, name: str) -> str:
    return f"{path}\\{name}" if path else name
