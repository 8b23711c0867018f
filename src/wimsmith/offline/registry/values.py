"""Values of registry keys: types, and what their bytes mean."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from wimsmith.errors import DamagedHive


class ValueType(IntEnum):
    """The named value types; any other 32-bit number is a legal type, too."""

    NONE = 0
    SZ = 1
    EXPAND_SZ = 2
    BINARY = 3
    DWORD = 4
    DWORD_BIG_ENDIAN = 5
    LINK = 6
    MULTI_SZ = 7
    RESOURCE_LIST = 8
    FULL_RESOURCE_DESCRIPTOR = 9
    RESOURCE_REQUIREMENTS_LIST = 10
    QWORD = 11


@dataclass(frozen=True, slots=True)
class Value:
    """A value as stored; the default value of a key has the empty name."""

    name: str
    type: int
    data: bytes

    def text(self) -> str:
        """The data as text: UTF-16 up to the first NUL, which may be missing."""
        return _decode(self.data).split("\0", 1)[0]

    def strings(self) -> tuple[str, ...]:
        """The data as a list of texts: each ends in a NUL, the list in one more."""
        texts = _decode(self.data).split("\0")
        while texts and not texts[-1]:
            texts.pop()
        return tuple(texts)

    def dword(self) -> int:
        """The data as an unsigned 32-bit number, in the byte order of the type.

        Raises:
            DamagedHive: the data are not 4 bytes.
        """
        return self._number(4)

    def qword(self) -> int:
        """The data as an unsigned 64-bit number.

        Raises:
            DamagedHive: the data are not 8 bytes.
        """
        return self._number(8)

    def _number(self, size_bytes: int) -> int:
        if len(self.data) != size_bytes:
            raise DamagedHive(f"value {self.name!r} has {len(self.data)} bytes, not {size_bytes}")
        big = self.type == ValueType.DWORD_BIG_ENDIAN
        return int.from_bytes(self.data, "big" if big else "little")


def encode_text(text: str) -> bytes:
    """Data of a SZ, EXPAND_SZ or LINK value, with the NUL at its end."""
    return text.encode("utf-16-le", "surrogatepass") + b"\0\0"


def encode_multi_text(texts: Iterable[str]) -> bytes:
    """Data of a MULTI_SZ value."""
    return b"".join(map(encode_text, texts)) + b"\0\0"


def encode_dword(number: int) -> bytes:
    """Data of a DWORD value."""
    return number.to_bytes(4, "little")


def encode_qword(number: int) -> bytes:
    """Data of a QWORD value."""
    return number.to_bytes(8, "little")


def _decode(data: bytes) -> str:
    return data[: len(data) & ~1].decode("utf-16-le", "surrogatepass")
