"""NTFS volumes in image files and block devices, seen from outside: what they are, who uses them.

The boot sector and the volume's own record (number 3 of the master file table) are read; layout
from the NTFS documentation of the Linux-NTFS project.
"""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import DamagedInput, InvalidState, NotFound, NotSupported, WorkerFailed

_BOOT_BYTES = 512
_LOOK_BYTES = 4096
_VOLUME_RECORD = 3
_VOLUME_INFORMATION, _END = 0x70, 0xFFFFFFFF
_DIRTY = 0x1
_MAX_RECORD_BYTES = 1 << 16
_ATTACH = (
    "Attach it with `losetup --find --show --partscan FILE` and name the partition, "
    "for example /dev/loop0p3."
)
_CHECK = "Check it in Windows (`chkdsk /f`), and the disk that it is on."
_LOOP_GET_STATUS64 = 0x4C05
_LOOP_INFO64_BYTES = 232
_UNREADABLE = tuple(os.strerror(code) for code in (errno.EIO, errno.EINVAL, errno.ELOOP))
_OTHERS: dict[str, tuple[int, bytes]] = {
    "BitLocker": (3, b"-FVE-FS-"),
    "ReFS": (3, b"ReFS"),
    "exFAT": (3, b"EXFAT   "),
    "FAT": (54, b"FAT"),
    "FAT32": (82, b"FAT32"),
    "ext4": (1080, b"\x53\xef"),
    "WIM": (0, b"MSWIM"),
}


@dataclass(frozen=True, slots=True)
class NtfsVolume:
    """An NTFS volume and the geometry in its boot sector.

    `size_bytes` is without the spare boot sector behind the volume. `is_dirty` says that Windows
    did not close it: files may be older than what was last written.
    """

    path: Path
    is_device: bool
    sector_bytes: int
    cluster_bytes: int
    size_bytes: int
    first_sector: int
    sectors_per_track: int
    heads: int
    is_dirty: bool


def open_volume(path: Path) -> NtfsVolume:
    """Read what an image file or block device says it holds; it is not changed.

    Raises:
        NotFound: there is nothing.
        NotSupported: not a file or device, or something else than NTFS, named where it is known.
        DamagedInput: the volume claims to be larger than what it is in, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(path) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise NotSupported("not-a-volume", f"{path} is no image file and no block device")
        boot = os.pread(descriptor, _LOOK_BYTES, 0)
        _refuse_others(path, boot)
        whole_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        return _volume(path, descriptor, boot, whole_bytes, is_device=stat.S_ISBLK(mode))
    finally:
        os.close(descriptor)


def refuse_in_use(path: Path) -> None:
    """Return if nobody has mounted or attached this image file or device.

    Raises:
        InvalidState: somebody has; where, and what to do.
    """
    status = path.stat()
    is_device = stat.S_ISBLK(status.st_mode)
    for number, place, source in _mounts():
        is_same = is_device and number == (os.major(status.st_rdev), os.minor(status.st_rdev))
        if is_same or _is_same_file(source, status):
            raise InvalidState(f"{path} is mounted on {place}", hint=f"Unmount it: umount {place}")
    if is_device:
        _refuse_held(path)
        return
    for name in _loop_devices_on(status):
        hint = f"Detach it: losetup --detach /dev/{name}"
        raise InvalidState(f"{path} is attached to /dev/{name}", hint=hint)


@contextmanager
def blaming(volume: Path) -> Iterator[None]:
    """Let a worker that could not read a volume say that the volume is damaged.

    Raises:
        DamagedInput: in place of a `WorkerFailed` that ends in such an error of the system.
    """
    try:
        yield
    except WorkerFailed as error:
        if any(reason in str(error) for reason in _UNREADABLE):
            raise DamagedInput(f"the file system on {volume}: {error}", hint=_CHECK) from error
        raise


def _refuse_others(path: Path, boot: bytes) -> None:
    if boot[3:11] == b"NTFS    ":
        return
    if boot[512:520] == b"EFI PART" or boot[4096:4104] == b"EFI PART":
        raise NotSupported("whole-disk", f"{path} is a disk with partitions", hint=_ATTACH)
    for name, (place, mark) in _OTHERS.items():
        if boot[place : place + len(mark)] == mark:
            raise NotSupported("not-ntfs", f"{path} is {name}, not an NTFS volume")
    if boot[510:512] == b"\x55\xaa":
        raise NotSupported("whole-disk", f"{path} seems to be a whole disk", hint=_ATTACH)
    raise NotSupported("not-ntfs", f"{path} holds no NTFS volume")


def _volume(
    path: Path, descriptor: int, boot: bytes, whole_bytes: int, *, is_device: bool
) -> NtfsVolume:
    if len(boot) < _BOOT_BYTES:
        raise DamagedInput(f"{path}: a boot sector of {len(boot)} bytes")
    sector_bytes, per_cluster = struct.unpack_from("<HB", boot, 11)
    per_track, heads, first = struct.unpack_from("<HHI", boot, 24)
    sectors, table = struct.unpack_from("<QQ", boot, 40)
    (per_record,) = struct.unpack_from("<b", boot, 64)
    if per_cluster > 0x80:
        per_cluster = 1 << (256 - per_cluster)
    cluster_bytes = sector_bytes * per_cluster
    if sector_bytes not in {256, 512, 1024, 2048, 4096} or not cluster_bytes:
        raise DamagedInput(f"{path}: sectors of {sector_bytes} bytes, {per_cluster} in a cluster")
    if sectors * sector_bytes > whole_bytes:
        raise DamagedInput(
            f"{path}: a volume of {sectors * sector_bytes} bytes in {whole_bytes} bytes"
        )
    record_bytes = 1 << -per_record if per_record < 0 else per_record * cluster_bytes
    if not 0 < record_bytes <= _MAX_RECORD_BYTES:
        raise DamagedInput(f"{path}: file records of {record_bytes} bytes")
    place = table * cluster_bytes + _VOLUME_RECORD * record_bytes
    if place + record_bytes > whole_bytes:
        raise DamagedInput(f"{path}: the master file table is outside of the volume")
    record = os.pread(descriptor, record_bytes, place)
    return NtfsVolume(
        path=path,
        is_device=is_device,
        sector_bytes=sector_bytes,
        cluster_bytes=cluster_bytes,
        size_bytes=sectors * sector_bytes,
        first_sector=first,
        sectors_per_track=per_track,
        heads=heads,
        is_dirty=bool(_volume_flags(path, record) & _DIRTY),
    )


def _volume_flags(path: Path, record: bytes) -> int:
    """Flags in the record of the volume."""
    if record[:4] != b"FILE":
        raise DamagedInput(f"{path}: the record of the volume is not there")
    (place,) = struct.unpack_from("<H", record, 20)
    while place + 24 <= len(record):
        kind, length = struct.unpack_from("<II", record, place)
        if kind == _VOLUME_INFORMATION:
            (value,) = struct.unpack_from("<H", record, place + 20)
            if place + value + 12 > len(record):
                break
            return int(struct.unpack_from("<H", record, place + value + 10)[0])
        if kind == _END or length < 16:
            break
        place += length
    raise DamagedInput(f"{path}: the record of the volume tells nothing of it")


def _mounts() -> Iterator[tuple[tuple[int, int], str, str]]:
    """Device number, place and source of all that is mounted here (proc(5))."""
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        words, source = fields.split(), rest.split()
        if len(words) < 5 or len(source) < 2:
            continue
        major, minor = words[2].split(":")
        yield (int(major), int(minor)), _unescaped(words[4]), _unescaped(source[1])


def _unescaped(text: str) -> str:
    for code in ("040", "011", "012", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text


def _loop_devices_on(status: os.stat_result) -> Iterator[str]:
    """Names of the loop devices that a file is attached to.

    Asked by inode first: the path that the kernel tells is that of the one who attached the file,
    which is another one in a container or a chroot. Who may not open the devices goes by it.
    """
    for device in Path("/dev").glob("loop[0-9]*"):
        with suppress(OSError):  # not attached, a partition, or not to be opened
            if _attached_file(device) == (status.st_dev, status.st_ino):
                yield device.name
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            path = backing.read_text(errors="surrogateescape").rstrip("\n")
            if _is_same_file(path, status):
                yield backing.parts[-3]


def _attached_file(device: Path) -> tuple[int, int]:
    """Device and inode numbers of the file that a loop device stands for, see loop(4)."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64_BYTES))
    finally:
        os.close(descriptor)
    found = struct.unpack_from("<QQ", answer)
    return found[0], found[1]


def _is_same_file(path: str, status: os.stat_result) -> bool:
    if not path.startswith("/"):
        return False
    with suppress(OSError):
        other = Path(path).stat()
        if stat.S_ISBLK(status.st_mode):
            return stat.S_ISBLK(other.st_mode) and other.st_rdev == status.st_rdev
        return os.path.samestat(other, status)
    return False


def _refuse_held(path: Path) -> None:
    """An exclusive open fails while the kernel uses a device, also from another namespace."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise InvalidState(f"{path} is in use: mounted, or part of something larger") from error
