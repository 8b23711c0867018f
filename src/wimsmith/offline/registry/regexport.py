r"""Keys of a hive as a `.reg` file, written as the Registry Editor of Windows writes it.

Where its form would lose something, the bytes are written: a text that is not exactly one text
with a NUL at its end, or that has a line break in it, becomes `hex(1):`. Facts about the format:
docs/internals/reg-files.md.

    Path("out.reg").write_bytes(b"".join(export_reg(hive, r"HKEY_LOCAL_MACHINE\SOFTWARE")))
"""

from codecs import BOM_UTF16_LE
from collections.abc import Iterator

from wimsmith.errors import NotFound, NotSupported
from wimsmith.offline.registry.hive import Hive, Key
from wimsmith.offline.registry.regfile import (
    ANSI_TEXT_TYPES,
    WESTERN_CODE_PAGE,
    RegVersion,
    code_page_codec,
    is_unclear_key_name,
    is_unclear_value_name,
    long_root,
)
from wimsmith.offline.registry.values import Value, ValueType, encode_text

LAST_COLUMN = 76
"""A line of bytes ends behind the first comma to the right of this column."""

_INDENTATION = "  "
_BREAK = "\r\n"


def export_reg(
    hive: Hive,
    prefix: str,
    path: str = "",
    *,
    version: RegVersion = RegVersion.V5,
    code_page: int = WESTERN_CODE_PAGE,
) -> Iterator[bytes]:
    r"""Blocks of the `.reg` file that holds the key at `path` and all below it.

    Security, classes, times, and that a key is a link have no place in such a file.

    Args:
        hive: Where the keys are.
        prefix: Path of the hive's root, such as `HKEY_LOCAL_MACHINE\SOFTWARE`.
        path: Key in the hive; "" is its root.
        version: V5 is UTF-16 with a byte order mark; V4 is in `code_page`, with its text values.
        code_page: For V4.

    Raises:
        NotFound: there is no key at `path`.
        NotSupported: `registry-name`, a name that such a file cannot hold; `code-page`, text that
            the code page cannot hold.
        InvalidInput: a code page that is not known.
        DamagedHive: the hive is broken.
    """
    codec = None if version is RegVersion.V5 else code_page_codec(code_page)
    if codec is None:
        yield BOM_UTF16_LE
    for text in export_reg_text(hive, prefix, path, codec=codec):
        yield text.encode(codec) if codec else text.encode("utf-16-le", "surrogatepass")


def export_reg_text(
    hive: Hive, prefix: str, path: str = "", *, codec: str | None = None
) -> Iterator[str]:
    """The same as text, a block a key: version 5, or version 4 with its bytes in `codec`."""
    if hive.key(path) is None:
        raise NotFound(f"the registry key {path}")
    root, _, below = prefix.partition("\\")
    prefix = "\\".join((long_root(root), *filter(None, below.split("\\"))))
    yield f"{(RegVersion.V4 if codec else RegVersion.V5).value}{_BREAK}{_BREAK}"
    for key in hive.walk(path):
        yield _block(key, prefix, codec)


def _block(key: Key, prefix: str, codec: str | None) -> str:
    if key.path and any(map(is_unclear_key_name, key.path.split("\\"))):
        raise NotSupported(
            "registry-name", f"no .reg file can hold the name of the key {key.path!r}"
        )
    title = f"{prefix}\\{key.path}" if key.path else prefix
    lines = [f"[{_in_code_page(title, codec)}]"]
    lines += [_line(key, value, codec) for value in key.values()]
    return "".join(line + _BREAK for line in (*lines, ""))


def _line(key: Key, value: Value, codec: str | None) -> str:
    if is_unclear_value_name(value.name):
        text = f"no .reg file can hold the name of the value {value.name!r} of {key.path}"
        raise NotSupported("registry-name", text)
    name = f'"{_escaped(_in_code_page(value.name, codec))}"=' if value.name else "@="
    plain = _plain_text(value.data) if value.type == ValueType.SZ else None
    if plain is not None:
        return f'{name}"{_escaped(_in_code_page(plain, codec))}"'
    if value.type == ValueType.DWORD and len(value.data) == 4:
        return f"{name}dword:{value.dword():08x}"
    kind = "hex:" if value.type == ValueType.BINARY else f"hex({value.type:x}):"
    data = value.data
    if codec is not None and value.type in ANSI_TEXT_TYPES:
        data = _text_in_code_page(key, value, codec)
    return _wrapped(name + kind, data)


def _plain_text(data: bytes) -> str | None:
    """The text between quotation marks that gives exactly these bytes again, if there is one."""
    if len(data) < 2 or len(data) % 2:
        return None
    text = data[:-2].decode("utf-16-le", "surrogatepass")
    is_plain = encode_text(text) == data and not any(part in text for part in "\0\r\n")
    return text if is_plain else None


def _wrapped(start: str, data: bytes) -> str:
    """Bytes with commas between, broken as the Registry Editor breaks them."""
    lines: list[str] = []
    at = 0
    while at < len(data) or not lines:
        room = max(1, (LAST_COLUMN - len(start)) // 3 + 1)
        part = data[at : at + room]
        at += room
        lines.append(start + part.hex(",") + (",\\" if at < len(data) else ""))
        start = _INDENTATION
    return _BREAK.join(lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _in_code_page(text: str, codec: str | None) -> str:
    if codec is not None:
        _to_code_page(text, codec, text)
    return text


def _text_in_code_page(key: Key, value: Value, codec: str) -> bytes:
    """Bytes that become the data again when they are read as text in the code page."""
    try:
        text = value.data.decode("utf-16-le")
    except UnicodeDecodeError:
        raise _not_in_code_page(f"{key.path}: {value.name}", codec) from None
    return _to_code_page(text, codec, f"{key.path}: {value.name}")


def _to_code_page(text: str, codec: str, about: str) -> bytes:
    try:
        data = text.encode(codec)
        if data.decode(codec) == text:
            return data
    except UnicodeError:
        pass
    raise _not_in_code_page(about, codec)


def _not_in_code_page(text: str, codec: str) -> NotSupported:
    return NotSupported(
        "code-page",
        f"{codec} cannot hold {text[:120]!r}",
        hint="Version 5 of .reg files holds every text.",
    )
