"""DER and BER elements ([X.690] 8): their bounds, found without recursion and with limits.

Foreign signed messages go through `check_shape` before a general ASN.1 reader sees them; lists with
very many members are read with `element` and `elements` alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

MAX_DEPTH = 40
MAX_ELEMENTS = 4_000_000

SEQUENCE = 0x30
SET = 0x31
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06

_CONSTRUCTED = 0x20
_LONG_TAG = 0x1F
_INDEFINITE = 0x80
_MAX_LENGTH_BYTES = 4


class Element(NamedTuple):
    """An element of definite length: its tag octet and the bounds of its content."""

    tag: int
    start: int
    end: int


def element(data: bytes, at: int, limit: int) -> Element:
    """The element at `at`, which has to end at `limit` or before.

    Raises:
        ValueError: there is none, its length is indefinite, or it reaches beyond `limit`.
    """
    tag, start, size = _header(data, at, limit)
    if size is None:
        raise ValueError("an element of indefinite length")
    return Element(tag, start, start + size)


def elements(data: bytes, parent: Element) -> Iterator[Element]:
    """The elements in the content of another.

    Raises:
        ValueError: as `element`.
    """
    at = parent.start
    while at < parent.end:
        found = element(data, at, parent.end)
        yield found
        at = found.end


def expect(found: Element, tag: int) -> Element:
    """The element itself, if it has this tag.

    Raises:
        ValueError: it has another.
    """
    if found.tag != tag:
        raise ValueError(f"an element with tag {found.tag:#x} where {tag:#x} should be")
    return found


def check_shape(data: bytes) -> int:
    """Follow the first element of `data` and all below it; return where it ends.

    Raises:
        ValueError: lengths that do not fit, more than `MAX_DEPTH` levels or `MAX_ELEMENTS`.
    """
    open_ends: list[int | None] = []
    limits = [len(data)]
    at = 0
    for _count in range(MAX_ELEMENTS):
        tag, start, size = _header(data, at, limits[-1])
        at = start
        if size is None:
            if not tag & _CONSTRUCTED:
                raise ValueError("a primitive element of indefinite length")
            open_ends.append(None)
            limits.append(limits[-1])
        elif tag & _CONSTRUCTED:
            open_ends.append(start + size)
            limits.append(start + size)
        else:
            at = start + size
        if len(open_ends) > MAX_DEPTH:
            raise ValueError(f"elements nested more than {MAX_DEPTH} deep")
        at = _closed(data, at, open_ends, limits)
        if not open_ends:
            return at
    raise ValueError(f"more than {MAX_ELEMENTS} elements")


def _closed(data: bytes, at: int, open_ends: list[int | None], limits: list[int]) -> int:
    """Leave all elements that end at `at`; where the next one begins."""
    while open_ends:
        if open_ends[-1] is None:
            if data[at : at + 2] != b"\0\0" or at + 2 > limits[-1]:
                return at
            at += 2
        elif open_ends[-1] != at:
            return at
        open_ends.pop()
        limits.pop()
    return at


def _header(data: bytes, at: int, limit: int) -> tuple[int, int, int | None]:
    """Tag, start of the content and its size, None for an indefinite one."""
    if at + 2 > limit:
        raise ValueError("an element is cut off")
    tag, size = data[at], data[at + 1]
    start = at + 2
    if tag & _LONG_TAG == _LONG_TAG:
        raise ValueError("a tag of several bytes")
    if size == _INDEFINITE:
        return tag, start, None
    if size > _INDEFINITE:
        width = size - _INDEFINITE
        if width > _MAX_LENGTH_BYTES or start + width > limit:
            raise ValueError("a length that is cut off or too large")
        size = int.from_bytes(data[start : start + width], "big")
        start += width
    if start + size > limit:
        raise ValueError("an element reaches beyond what holds it")
    return tag, start, size
