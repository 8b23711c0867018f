"""Which processor an image is for, from all that says so: hives, a program, the description."""

import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from wimsmith.offline.components.store.lookups import Store

_ARCHITECTURES: Mapping[int, str] = MappingProxyType({0: "x86", 5: "arm", 9: "amd64", 12: "arm64"})
"""Numbers of `PROCESSOR_ARCHITECTURE_*` in the public headers of Windows."""
_MACHINES: Mapping[int, str] = MappingProxyType(
    {0x014C: "x86", 0x01C4: "arm", 0x8664: "amd64", 0xAA64: "arm64"}
)
_KERNEL = "System32/ntoskrnl.exe"
_PE_OFFSET_AT = 0x3C
_HEAD_BYTES = 4096


def disagreement(store: Store) -> str:
    """What the sources that disagree say; empty if all that there are agree."""
    stated = dict(_stated(store))
    if len(set(stated.values())) < 2:
        return ""
    said = ", ".join(f"{source}: {name}" for source, name in stated.items())
    return f"the image is not of one architecture ({said})"


def _stated(store: Store) -> Iterator[tuple[str, str]]:
    if store.image.architecture:
        yield "SYSTEM", store.image.architecture
    kernel = _machine(store)
    if kernel:
        yield "ntoskrnl.exe", kernel
    if store.draft.stated_architecture is not None:
        yield "description of the image", _named(store.draft.stated_architecture)
    value = store.components.value("", "StoreArchitecture")
    if value is not None and len(value.data) in {1, 2, 4}:
        yield "COMPONENTS", _named(int.from_bytes(value.data, "little"))


def _named(number: int) -> str:
    return _ARCHITECTURES.get(number, f"number {number}")


def _machine(store: Store) -> str:
    """What the header of the kernel says; nothing where there is no kernel, or no header."""
    path = f"{store.image.windows}/{_KERNEL}"
    data = dict(store.draft.read_many([path])).get(path, b"")
    if len(data) < _PE_OFFSET_AT + 4 or not data.startswith(b"MZ"):
        return ""
    (offset,) = struct.unpack_from("<I", data, _PE_OFFSET_AT)
    if offset > _HEAD_BYTES or data[offset : offset + 4] != b"PE\0\0" or len(data) < offset + 6:
        return ""
    (machine,) = struct.unpack_from("<H", data, offset + 4)
    return _MACHINES.get(machine, f"machine {machine:#06x}")
