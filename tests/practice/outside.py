"""Readers that are not ours: wimlib for images, three libraries for hives."""

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyregf
from regipy.registry import RegistryHive
from Registry.Registry import Registry

from wimsmith.practice.spec import ImageSpec

Builder = Callable[[ImageSpec], Path]
"""Generates an image and gives its path."""

Keys = Mapping[str, Mapping[str, tuple[int, bytes]]]
"""Values by name, below the lower-case path of their key."""

_FIELD = re.compile(r'^(\t?)([A-Z][A-Za-z -]+?)\s*=\s*"?(.*?)"?$', re.MULTILINE)


def listing(wim: Path, index: int = 1) -> dict[str, dict[str, str]]:
    """wimlib's detailed listing of an image, by path."""
    output = run("wimlib-imagex", "dir", "--detailed", wim, str(index))
    entries = {}
    for block in output.split("-" * 76)[1:]:
        fields: dict[str, str] = {}
        for _, name, value in _FIELD.findall(block):
            fields.setdefault(name, value)
        if fields:
            fields["Streams"] = ",".join(re.findall(r'Named data stream "(.*)"', block))
            entries[fields["Full Path"]] = fields
    return entries


def unpack(wim: Path, index: int, target: Path, *paths: str) -> Path:
    """Extract files of an image into `target`, flat."""
    run("wimlib-imagex", "extract", wim, str(index), *paths, f"--dest-dir={target}", "--no-acls")
    return target


def run(*command: str | Path) -> str:
    """Output of a program that ends well."""
    return subprocess.run(list(command), check=True, capture_output=True, text=True).stdout


def apply(wim: Path, index: int, target: Path) -> Path:
    """Extract a whole image into `target`."""
    run("wimlib-imagex", "apply", wim, str(index), target, "--no-acls")
    return target


def python_registry(path: Path) -> Keys:
    """Every key and value as python-registry reads them."""
    return dict(_registry_keys(Registry(str(path)).root(), ""))


def _registry_keys(key: Any, path: str) -> Iterator[tuple[str, dict[str, tuple[int, bytes]]]]:
    values = {_value_name(one.name()): (one.value_type(), _data(one)) for one in key.values()}
    yield path.lower(), values
    for child in key.subkeys():
        yield from _registry_keys(child, f"{path}\\{child.name()}" if path else child.name())


def _data(value: Any) -> bytes:
    """Data of a value; the library gives four bytes where fewer are stored in place."""
    data: bytes = value.raw_data()
    return data[: value._vkrecord.data_length()]


def libregf(path: Path) -> Keys:
    """Every key and value as libregf reads them; it misreads data of one to three bytes."""
    file = pyregf.file()
    file.open(str(path))
    try:
        return dict(_libregf_keys(file.get_root_key(), ""))
    finally:
        file.close()


def _libregf_keys(key: Any, path: str) -> Iterator[tuple[str, dict[str, tuple[int, bytes]]]]:
    values = {one.name or "": (one.type, one.data or b"") for one in key.values}
    yield path.lower(), values
    for child in key.sub_keys:
        yield from _libregf_keys(child, f"{path}\\{child.name}" if path else child.name)


def regipy_names(path: Path) -> dict[str, set[str]]:
    """Names of all values by key as regipy reads them."""
    hive: Any = RegistryHive(str(path))  # type: ignore[no-untyped-call]
    found = {"": {_value_name(value.name) for value in hive.root.iter_values()}}
    for entry in hive.recurse_subkeys(as_json=False):
        names = {_value_name(value.name) for value in entry.values or []}
        found[entry.path.strip("\\").lower()] = names
    return found


def _value_name(name: str) -> str:
    """Readers invent a name for the default value, which has none."""
    return "" if name.lower() == "(default)" else name


def text_of(value: tuple[int, bytes]) -> str:
    return value[1].decode("utf-16-le").rstrip("\0")


def number_of(value: tuple[int, bytes]) -> int:
    return int.from_bytes(value[1], "little")
