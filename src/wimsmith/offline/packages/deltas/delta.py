"""Deltas of update packages: what a delta says about itself, and expanding it.

PA30 deltas of plain files and of 32-bit and 64-bit x86 programs are expanded, and PA19 patches of
what is no 32-bit program; every other kind is refused by name. Format facts and their public
sources: docs/internals/deltas.md. Every number read is checked before it is used, and the work is
bounded by the size the caller allows.
"""

import hashlib
from dataclasses import dataclass, field

from wimsmith.errors import DamagedDelta, LimitExceeded, NotSupported
from wimsmith.offline.packages.deltas import pa19
from wimsmith.offline.packages.deltas.bits import BitReader
from wimsmith.offline.packages.deltas.copystream import expand
from wimsmith.offline.packages.deltas.pedelta import (
    copy_rift,
    read_target_program,
    restamped,
    rewritten_base,
)
from wimsmith.offline.packages.deltas.rift import Rift
from wimsmith.offline.packages.deltas.x86code import is_native_x86, undo_call_filter

MAGIC = b"PA30"
MAX_TARGET_BYTES = 1 << 30

_NEWER_MAGIC = b"PA31"
_LZMS_MAGIC = b"\x0a\x51\xe5\xc0"
_RAW = 1
_PROGRAMS = {2, 8, 0x10, 0x20}
_REVERSE = 0x100
_CALL_FILTER = 1
_ARCHITECTURES = {4: "IA64", 0x40: "ARM", 0x80: "ARM64"}
_HASHES = {0x8003: "md5", 0x8004: "sha1", 0x800C: "sha256", 0x800D: "sha384", 0x800E: "sha512"}


@dataclass(frozen=True, slots=True)
class DeltaHeader:
    """What a delta says about itself. `target_time` is a FILETIME, `target_hash` may be empty."""

    target_time: int
    file_type_set: int
    file_type: int
    flags: int
    target_size_bytes: int
    hash_algorithm: int
    target_hash: bytes
    preprocess: bytes = field(repr=False)
    patch: bytes = field(repr=False)


def read_header(delta: bytes) -> DeltaHeader:
    """Take a PA30 delta apart without expanding it.

    Raises:
        DamagedDelta: not PA30, or it ends early.
        NotSupported: `delta-kind`, a delta of a newer format.
    """
    if delta.startswith(_NEWER_MAGIC):
        raise NotSupported("delta-kind", "a PA31 delta")
    if not delta.startswith(MAGIC) or len(delta) < 13:
        raise DamagedDelta("it does not start as a PA30 delta")
    reader = BitReader(delta[12:])
    header = DeltaHeader(
        target_time=int.from_bytes(delta[4:12], "little"),
        file_type_set=reader.number(),
        file_type=reader.number(),
        flags=reader.number(),
        target_size_bytes=reader.number(),
        hash_algorithm=reader.number(),
        target_hash=reader.buffer(),
        preprocess=reader.buffer(),
        patch=reader.buffer(),
    )
    reader.check_end()
    return header


def apply_delta(
    base: bytes,
    delta: bytes,
    *,
    max_bytes: int = MAX_TARGET_BYTES,
    proved_elsewhere: bool = False,
) -> bytes:
    """Expand a PA30 delta or a PA19 patch.

    Memory of about twice the sizes of base and target is used.

    Args:
        base: bytes the delta was made against; empty for a null delta.
        delta: the whole delta with its header.
        max_bytes: largest target that is accepted.
        proved_elsewhere: a delta that states no hash, or one of an unknown kind, is accepted,
            because the caller compares the result with one from a catalog or a manifest.

    Raises:
        DamagedDelta: the format is broken, or the target does not have the hash it should have.
        LimitExceeded: the target would be larger than `max_bytes`.
        NotSupported: `delta-kind`, `delta-arch` or `delta-managed`, a kind that is not expanded.
    """
    if delta.startswith(pa19.MAGIC):
        return pa19.apply_patch(base, delta, max_bytes=max_bytes)
    header = read_header(delta)
    _refuse_other_kinds(header)
    if header.target_size_bytes > max_bytes:
        raise LimitExceeded(f"a delta that expands to {header.target_size_bytes} bytes")
    if not proved_elsewhere:
        _refuse_without_proof(header)
    try:
        target = _expanded(header, base)
    except (IndexError, OverflowError) as error:
        raise DamagedDelta(f"a number in it leads nowhere ({error})") from error
    _check_hash(header, target)
    return target


def stated_bytes(delta: bytes) -> int:
    """Size that a delta of either format states for its target.

    Raises:
        DamagedDelta, NotSupported: as `apply_delta`.
    """
    if delta.startswith(pa19.MAGIC):
        return pa19.target_bytes(delta)
    return read_header(delta).target_size_bytes


def _refuse_other_kinds(header: DeltaHeader) -> None:
    if header.file_type_set & _REVERSE:
        raise NotSupported("delta-kind", "a reverse delta")
    if header.file_type in _ARCHITECTURES:
        name = _ARCHITECTURES[header.file_type]
        raise NotSupported("delta-arch", f"a delta between {name} programs")
    if header.file_type != _RAW and header.file_type not in _PROGRAMS:
        raise NotSupported("delta-kind", f"a delta between files of type {header.file_type:#x}")
    if header.file_type == _RAW and header.preprocess:
        raise NotSupported("delta-kind", "a delta of plain files that is told about programs")
    if header.patch.startswith(_LZMS_MAGIC):
        raise NotSupported("delta-kind", "a delta compressed as LZMS")


def _refuse_without_proof(header: DeltaHeader) -> None:
    if not header.target_hash:
        raise NotSupported("delta-kind", "a delta that does not state the hash of its target")
    if header.hash_algorithm not in _HASHES:
        name = f"{header.hash_algorithm:#x}"
        raise NotSupported("delta-kind", f"a delta that proves its target by algorithm {name}")


def _expanded(header: DeltaHeader, base: bytes) -> bytes:
    size_bytes = header.target_size_bytes
    if not size_bytes:
        return b""
    if header.file_type == _RAW or not header.preprocess:
        target = expand(header.patch, base, size_bytes, Rift())
    else:
        program = read_target_program(header.preprocess)
        rewritten = rewritten_base(base, program, header.flags)
        target = expand(header.patch, rewritten, size_bytes, copy_rift(base, program))
        target = restamped(target, base, program)
    if header.flags & _CALL_FILTER and is_native_x86(target):
        target = undo_call_filter(target)
    return target


def _check_hash(header: DeltaHeader, target: bytes) -> None:
    name = _HASHES.get(header.hash_algorithm)
    if name is None or not header.target_hash:
        return
    if hashlib.new(name, target, usedforsecurity=False).digest() != header.target_hash:
        raise DamagedDelta(f"the expanded file does not have its {name}")
