"""DER writing, as much as catalogs need ([X.690] 8 and 10)."""

from collections.abc import Iterable


def tlv(tag: int, content: bytes) -> bytes:
    """One element: tag, length, content."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, b"".join(parts))


def set_of(parts: Iterable[bytes]) -> bytes:
    """A SET OF: its elements stand in the order of their bytes."""
    return tlv(0x31, b"".join(sorted(parts)))


def octets(data: bytes) -> bytes:
    return tlv(0x04, data)


def null() -> bytes:
    return tlv(0x05, b"")


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(text: str) -> bytes:
    first, second, *rest = (int(part) for part in text.split("."))
    return tlv(0x06, b"".join(_base128(arc) for arc in (40 * first + second, *rest)))


def utc_time(text: str) -> bytes:
    """A UTCTime from `YYMMDDhhmmssZ`."""
    return tlv(0x17, text.encode("ascii"))


def bmp_string(text: str) -> bytes:
    return tlv(0x1E, text.encode("utf-16-be"))


def explicit(number: int, *parts: bytes) -> bytes:
    """Context-specific, constructed."""
    return tlv(0xA0 | number, b"".join(parts))


def implicit(number: int, content: bytes = b"") -> bytes:
    """Context-specific, primitive."""
    return tlv(0x80 | number, content)


def _base128(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | value & 0x7F)
    return bytes(reversed(groups))
