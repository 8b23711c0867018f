"""Small things in the forms in which images keep them."""

from hashlib import sha1

from oracle.state import EMPTY_SHA1


def sha1_of(data: bytes) -> str:
    """The hash under which a WIM keeps content; nothing is kept for an empty file."""
    return sha1(data, usedforsecurity=False).hexdigest() if data else EMPTY_SHA1


def sz(text: str) -> bytes:
    return (text + "\0").encode("utf-16-le")


def text_of(data: bytes) -> str:
    return data.decode("utf-16-le").rstrip("\0")


def dword(number: int) -> bytes:
    return number.to_bytes(4, "little")


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
