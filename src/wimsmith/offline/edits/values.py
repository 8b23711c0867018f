r"""Data of registry values as words: `sz hello`, `dword 0x1f`, `multi_sz a\0b`, `hex(7) 61,00`."""

import re

from wimsmith.errors import InvalidInput, LimitExceeded
from wimsmith.offline.registry.values import (
    Value,
    ValueType,
    encode_dword,
    encode_multi_text,
    encode_qword,
    encode_text,
)

MAX_DATA_BYTES = 1 << 20
_TEXTS = frozenset({ValueType.SZ, ValueType.EXPAND_SZ})
_NUMBERS = {ValueType.DWORD: 4, ValueType.QWORD: 8}
_NAMES = {
    "NONE": ValueType.NONE,
    "SZ": ValueType.SZ,
    "EXPAND_SZ": ValueType.EXPAND_SZ,
    "MULTI_SZ": ValueType.MULTI_SZ,
    "DWORD": ValueType.DWORD,
    "QWORD": ValueType.QWORD,
    "BINARY": ValueType.BINARY,
}
_WORDS = {kind: name.lower() for name, kind in _NAMES.items()}
_RAW = re.compile(r"HEX\(([0-9A-F]{1,8})\)")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}")
_TYPES = "Types are sz, expand_sz, multi_sz, dword, qword, binary, none, and hex(N) for any number."


def value_of(kind: str, text: str) -> tuple[int, bytes]:
    r"""Type and data of a value.

    Args:
        kind: `sz`, `expand_sz`, `multi_sz`, `dword`, `qword`, `binary`, `none`, also with `REG_`
            before it; `hex(N)` is the type with the hexadecimal number N.
        text: texts as they are, those of a list with `\0` between; numbers decimal, or
            hexadecimal with `0x`; bytes in hexadecimal, with or without commas or blanks.

    Raises:
        InvalidInput: an unknown type, or data that are not of the type.
        LimitExceeded: more than 1 MiB.
    """
    if len(text) > MAX_DATA_BYTES:
        raise LimitExceeded(f"data of a registry value of more than {MAX_DATA_BYTES} characters")
    upper = kind.upper().removeprefix("REG_")
    if match := _RAW.fullmatch(upper):
        return int(match[1], 16), _bytes(text)
    if upper not in _NAMES:
        raise InvalidInput(f"registry type {kind[:40]!r}", hint=_TYPES)
    number = _NAMES[upper]
    if number in _TEXTS:
        return number, encode_text(text)
    if number == ValueType.MULTI_SZ:
        return number, encode_multi_text(_texts(text))
    if number in _NUMBERS:
        return number, _number(text, _NUMBERS[number])
    return number, _bytes(text)


def words_of(kind: int, data: bytes) -> tuple[str, str]:
    """Words that `value_of` makes exactly this type and these data of."""
    named = _WORDS.get(ValueType(kind)) if kind in _WORDS else None
    text = _plain(kind, data) if named else None
    if named and text is not None and value_of(named, text) == (kind, data):
        return named, text
    return f"hex({kind:x})", data.hex()


def _plain(kind: int, data: bytes) -> str | None:
    value = Value("", kind, data)
    if kind in _TEXTS and len(data) % 2 == 0:
        return value.text()
    if kind == ValueType.MULTI_SZ and len(data) % 2 == 0:
        return "\\0".join(value.strings())
    if kind in _NUMBERS:
        return (
            str(int.from_bytes(data, "little")) if len(data) == _NUMBERS[ValueType(kind)] else None
        )
    return data.hex() if kind not in _TEXTS and kind != ValueType.MULTI_SZ else None


def _texts(text: str) -> list[str]:
    texts = text.split("\\0") if text else []
    if any(not one for one in texts):
        raise InvalidInput("an empty text in a list", hint="In the registry it would end the list.")
    return texts


def _number(text: str, size_bytes: int) -> bytes:
    if not _NUMBER.fullmatch(text):
        raise InvalidInput("data that are no number", hint="Write it as 31 or as 0x1f.")
    number = int(text, 16 if text[:2].lower() == "0x" else 10)
    if number >> (8 * size_bytes):
        raise InvalidInput(f"a number that does not fit into {size_bytes} bytes")
    return encode_dword(number) if size_bytes == 4 else encode_qword(number)


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace(",", " "))
    except ValueError:
        raise InvalidInput("data that are no bytes in hexadecimal") from None
