"""Keys and values as people and programs read them."""

import base64
from typing import Any

from wimsmith.offline.registry import Value, ValueType

_TEXTS = frozenset({ValueType.SZ, ValueType.EXPAND_SZ, ValueType.LINK})
_NUMBERS = {ValueType.DWORD: 4, ValueType.DWORD_BIG_ENDIAN: 4, ValueType.QWORD: 8}


def type_name(kind: int) -> str:
    """`REG_SZ` and so on; a type without a name as its number."""
    try:
        return f"REG_{ValueType(kind).name}"
    except ValueError:
        return f"{kind:#x}"


def visible(text: str) -> str:
    """Text whose every character is seen: controls and the like as `<U+000A>`."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else f"<U+{ord(one):04X}>" for one in text)


def value_name(name: str) -> str:
    return visible(name) or "(Default)"


def data_text(value: Value) -> str:
    r"""Data in the way of `reg query`: text, `a\0b`, `0x1f`, or bytes in hexadecimal."""
    meaning = _meaning(value)
    if isinstance(meaning, str):
        return visible(meaning)
    if isinstance(meaning, int):
        return f"{meaning:#x}"
    if isinstance(meaning, tuple):
        return "\\0".join(map(visible, meaning))
    return value.data.hex()


def value_row(value: Value) -> dict[str, Any]:
    """All of a value: its bytes, and what they mean where that can be said."""
    row: dict[str, Any] = {
        "name": value.name,
        "type": value.type,
        "type_name": type_name(value.type),
        "size_bytes": len(value.data),
        "base64": base64.b64encode(value.data).decode("ascii"),
    }
    meaning = _meaning(value)
    if isinstance(meaning, str):
        row["text"] = meaning
    elif isinstance(meaning, int):
        row["number"] = meaning
    elif isinstance(meaning, tuple):
        row["texts"] = list(meaning)
    return row


def _meaning(value: Value) -> str | int | tuple[str, ...] | None:
    """What the data say; None if they are only bytes or not of their type."""
    kind, size = value.type, len(value.data)
    if kind in _TEXTS and size % 2 == 0:
        return value.text()
    if kind == ValueType.MULTI_SZ and size % 2 == 0:
        return value.strings()
    for number, size_bytes in _NUMBERS.items():
        if kind == number and size == size_bytes:
            return value.dword() if size_bytes == 4 else value.qword()
    return None
