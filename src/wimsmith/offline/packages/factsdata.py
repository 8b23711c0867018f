"""Facts as plain data that every language reads: texts, numbers, lists and mappings."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.package import PackageManifest


def as_data(value: object) -> Any:
    """A fact as plain data.

    Identities become mappings with their `package_name`, versions and paths text, digests
    hexadecimal, sets sorted lists. Whole package manifests are left out: their facts stand
    elsewhere.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str | Path | Version):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): as_data(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(as_data(one) for one in value)
    if isinstance(value, tuple | list):
        return [as_data(one) for one in value]
    if is_dataclass(value):
        return _record(value)
    raise TypeError(f"{type(value).__name__} is no fact")


def _record(value: Any) -> dict[str, Any]:
    parts = ((one.name, getattr(value, one.name)) for one in fields(value))
    found = {name: as_data(one) for name, one in parts if not isinstance(one, PackageManifest)}
    if isinstance(value, AssemblyIdentity):
        found["package_name"] = value.package_name
    return found
