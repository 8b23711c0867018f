"""Deltas and packages made for tests, by code that shares nothing with what it tests."""

import base64
import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wimsmith.practice.cabinet import build_cabinet
from wimsmith.practice.catalogs import CatalogSpec, build_catalog
from wimsmith.practice.names import Identity, component_key
from wimsmith.practice.root import PracticeRoot

TOKEN = "0123456789abcdef"


class BitWriter:
    """Bits of a PA30 stream, lowest bit of each byte first."""

    def __init__(self) -> None:
        self._bits = [0, 0, 0]

    def bits(self, value: int, count: int) -> None:
        self._bits += [value >> index & 1 for index in range(count)]

    def number(self, value: int) -> None:
        digits = max(1, (value.bit_length() + 3) // 4)
        self.bits(1 << (digits - 1), digits)
        self.bits(value, 4 * digits)

    def buffer(self, data: bytes) -> None:
        self.number(len(data))
        self._bits += [0] * (-len(self._bits) % 8)
        for byte in data:
            self.bits(byte, 8)

    def done(self) -> bytes:
        padding = -len(self._bits) % 8
        bits = [padding & 1, padding >> 1 & 1, padding >> 2 & 1, *self._bits[3:], *[0] * padding]
        bytes_ = [bits[start : start + 8] for start in range(0, len(bits), 8)]
        return bytes(sum(bit << index for index, bit in enumerate(byte)) for byte in bytes_)


def flat_code(symbol: int, alphabet: int) -> tuple[int, int]:
    """Code (to be written first bit first) and its length, in the default tables."""
    long_bits = (alphabet - 1).bit_length()
    short_count = (1 << long_bits) - alphabet
    long_count = alphabet - short_count
    if symbol < short_count:
        code, length = long_count // 2 + symbol, long_bits - 1
    else:
        code, length = symbol - short_count, long_bits
    return int(f"{code:0{length}b}"[::-1], 2), length


@dataclass(frozen=True)
class Copy:
    """Copy `length` bytes from `distance` back; `slot` 3 to 6 names the distance otherwise."""

    length: int
    distance: int = 0
    slot: int | None = None


def patch_stream(operations: Iterable[bytes | Copy]) -> bytes:
    """A patch with default tables: literal bytes and copies."""
    writer = BitWriter()
    writer.bits(0, 1)
    writer.bits(1, 1)
    for operation in operations:
        if isinstance(operation, bytes):
            for byte in operation:
                writer.bits(*flat_code(byte, 600))
        else:
            _write_copy(writer, operation)
    return writer.done()


def _write_copy(writer: BitWriter, copy: Copy) -> None:
    slot, extra, extra_bits, low = _slot(copy)
    length = copy.length - 1
    short = length if 0 < length < 8 else 0
    writer.bits(*flat_code(256 + 8 * slot + short, 600))
    writer.bits(extra, extra_bits)
    if low is not None:
        writer.bits(*flat_code(low, 16))
    if not short:
        symbol = length - 7 if 8 <= length < 263 else 0
        writer.bits(*flat_code(symbol, 256))
        if symbol == 0:
            rest = length - 7
            width = rest.bit_length() - 1
            writer.bits(1 << (width - 8), width - 7)
            writer.bits(rest - (1 << width), width)


def _slot(copy: Copy) -> tuple[int, int, int, int | None]:
    """Slot, extra bits with their number, aligned symbol."""
    if copy.slot is not None:
        return copy.slot, 0, 0, None
    if copy.distance <= 3:
        return copy.distance + 7, 0, 0, None
    width = copy.distance.bit_length() - 2
    code = 2 * (width + 1) + (copy.distance >> width & 1)
    extra = copy.distance & ((1 << width) - 1)
    if width < 4:
        return code + 7, extra, width, None
    return code + 7, extra >> 4, width - 4, extra & 15


def delta(
    patch: bytes,
    target: bytes,
    *,
    file_type: int = 1,
    flags: int = 0x20000,
    type_set: int = 1,
    size: int | None = None,
    algorithm: int = 0x800C,
    digest: bytes | None = None,
    preprocess: bytes = b"",
) -> bytes:
    """A PA30 file around a patch stream."""
    writer = BitWriter()
    stated = len(target) if size is None else size
    for value in (type_set, file_type, flags, stated, algorithm):
        writer.number(value)
    writer.buffer(hashlib.sha256(target).digest() if digest is None else digest)
    writer.buffer(preprocess)
    writer.buffer(patch)
    return b"PA30" + struct.pack("<Q", 0x01D0_0000_0000_0000) + writer.done()


def identity_xml(
    name: str, version: str = "1.2.3.4", architecture: str = "amd64", scope: str = ""
) -> str:
    return (
        f'<assemblyIdentity name="{name}" version="{version}" language="neutral" '
        f'processorArchitecture="{architecture}" publicKeyToken="{TOKEN}"{scope}/>'
    )


def component_identity(name: str, version: str = "1.2.3.4") -> str:
    return identity_xml(name, version, scope=' versionScope="nonSxS"')


def mum(
    name: str,
    inside: str = "",
    *,
    version: str = "1.2.3.4",
    attributes: str = 'identifier="KB1234567" releaseType="Update"',
) -> bytes:
    """A package manifest."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0" '
        f'description="Fix for KB1234567" displayName="default">{identity_xml(name, version)}'
        f"<package {attributes}>{inside}</package></assembly>"
    ).encode()


def component(name: str, files: Mapping[str, bytes], inside: str = "") -> bytes:
    """A component manifest that states the SHA-256 of its files."""
    return (
        '<assembly xmlns="urn:schemas-microsoft-com:asm.v3">'
        f"{component_identity(name)}{''.join(map(_file_xml, files, files.values()))}"
        f"{inside}</assembly>"
    ).encode()


def _file_xml(name: str, data: bytes) -> str:
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return (
        f'<file name="{name}" destinationPath="$(runtime.system32)\\">'
        '<asmv2:hash xmlns:asmv2="urn:schemas-microsoft-com:asm.v2" '
        'xmlns:dsig="http://www.w3.org/2000/09/xmldsig#"><dsig:Transforms><dsig:Transform '
        'Algorithm="urn:schemas-microsoft-com:HashTransforms.Identity"/></dsig:Transforms>'
        '<dsig:DigestMethod Algorithm="http://www.w3.org/2000/09/xmldsig#sha256"/>'
        f"<dsig:DigestValue>{digest}</dsig:DigestValue></asmv2:hash></file>"
    )


PROGRAM = b"MZ a small program" * 50
DEPLOYMENT = "Made-Deployment"
COMPONENT = "Made-Component"


@dataclass(frozen=True)
class MadePackage:
    """Files of a package by name; change any of them, then write the cabinet."""

    files: dict[str, bytes]
    component_keyform: str
    root: PracticeRoot

    def changed(self, changes: Mapping[str, bytes | None]) -> "MadePackage":
        """The same package with other content under some names; None removes a file."""
        files = {**self.files, **changes}
        kept = {name: data for name, data in files.items() if data is not None}
        return MadePackage(kept, self.component_keyform, self.root)

    @property
    def payload_name(self) -> str:
        return f"{self.component_keyform}\\tool.exe"

    def write(self, path: Path) -> Path:
        path.write_bytes(build_cabinet(self.files))
        return path


def made_keyform(name: str) -> str:
    """Name of a made component in the store, by the code of the practice generator."""
    return component_key(Identity(name, "1.2.3.4", token=TOKEN))


def made_package(root: PracticeRoot) -> MadePackage:
    """A signed package with one deployment, one component and one program."""
    part = component_identity(COMPONENT)
    manifests = {
        f"{made_keyform(COMPONENT)}.manifest": component(COMPONENT, {"tool.exe": PROGRAM}),
        f"{made_keyform(DEPLOYMENT)}.manifest": component(
            DEPLOYMENT,
            {},
            '<deployment/><dependency discoverable="no"><dependentAssembly '
            f'dependencyType="install">{part}</dependentAssembly></dependency>',
        ),
    }
    top = mum(
        "Made-Package",
        f"<parent>{identity_xml('Made-Parent', '1.0.0.0')}</parent>"
        f'<update name="u"><component>{component_identity(DEPLOYMENT)}</component></update>',
    )
    catalog = signed_catalog(root, [top, *manifests.values()])
    name = f"Made-Package~{TOKEN}~amd64~~1.2.3.4"
    files = {
        "update.mum": top,
        "update.cat": catalog,
        f"{name}.mum": top,
        f"{name}.cat": catalog,
        **manifests,
        f"{made_keyform(COMPONENT)}\\tool.exe": PROGRAM,
    }
    return MadePackage(files, made_keyform(COMPONENT), root)


def signed_catalog(root: PracticeRoot, members: Sequence[bytes], *, sha256: bool = True) -> bytes:
    return build_catalog(CatalogSpec(tuple(members), sha256=sha256), root)
