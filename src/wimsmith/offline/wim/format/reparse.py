"""What a reparse point is, and where it leads.

Tags and layouts are those of the open specification [MS-FSCC] 2.1.2. A WIM keeps the data behind
the header of the reparse buffer: it begins with the fields of the tag's own kind.
"""

import struct

SYMBOLIC_LINK, JUNCTION, APP_LINK, LINUX_LINK = 0xA000_000C, 0xA000_0003, 0x8000_001B, 0xA000_001D
MAX_REPARSE_BYTES = 16 << 10
_NAMES = {
    JUNCTION: "junction",
    SYMBOLIC_LINK: "symbolic link",
    APP_LINK: "app link",
    LINUX_LINK: "Linux symbolic link",
    0x8000_0005: "drive extender",
    0x8000_0006: "hierarchical storage",
    0x8000_0007: "single instance store",
    0x8000_0008: "mounted WIM file",
    0x8000_0009: "cluster shared volume",
    0x8000_000A: "distributed file system",
    0x8000_0012: "DFS replication",
    0x8000_0013: "deduplicated",
    0x8000_0014: "NFS",
    0x8000_0017: "WOF compressed",
    0x8000_0018: "container isolation",
    0x8000_001E: "storage sync",
    0x8000_0021: "OneDrive",
    0x8000_0023: "AF_UNIX socket",
    0x8000_0024: "Linux pipe",
    0x8000_0025: "Linux character device",
    0x8000_0026: "Linux block device",
}
_CLOUD, _CLOUD_MASK = 0x9000_001A, 0xFFFF_0FFF


def kind_of(tag: int) -> str:
    """What a reparse point with this tag is, in words."""
    if tag & _CLOUD_MASK == _CLOUD:
        return "cloud file"
    return _NAMES.get(tag, f"tag 0x{tag:08x}")


def target_of(tag: int, data: bytes) -> str | None:
    """Where a reparse point leads: the path for people, else the one that Windows follows.

    None for kinds that lead nowhere, and for data that does not follow its layout.
    """
    if tag in {JUNCTION, SYMBOLIC_LINK}:
        return _names(data, 8 if tag == JUNCTION else 12)
    if tag == APP_LINK and data[:4] == b"\x03\0\0\0":
        parts = _utf16(data[4:]).split("\0")
        return parts[2] if len(parts) > 2 else None
    if tag == LINUX_LINK and len(data) > 4:
        return data[4:].decode("utf-8", "replace")
    return None


def _names(data: bytes, head: int) -> str | None:
    if len(data) < head:
        return None
    real_at, real_size, shown_at, shown_size = struct.unpack_from("<4H", data)
    names = data[head:]
    for at, size in ((shown_at, shown_size), (real_at, real_size)):
        if size and size % 2 == 0 and at + size <= len(names):
            return _utf16(names[at : at + size])
    return None


def _utf16(data: bytes) -> str:
    return data[: len(data) & ~1].decode("utf-16-le", "surrogatepass")
