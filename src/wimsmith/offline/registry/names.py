"""Names of keys and values: how they compare, sort, hash and are stored."""

from wimsmith.errors import DamagedHive, UnsafePath
from wimsmith.offline.upcase import upcase

MAX_KEY_NAME_CHARACTERS = 255
MAX_VALUE_NAME_CHARACTERS = 16_383


def sort_key(name: str) -> bytes:
    """Sorts as subkeys are stored: by the UTF-16 code units of the upper-case name."""
    return upcase(name).encode("utf-16-be", "surrogatepass")


def name_hash(name: str) -> int:
    """The 32-bit hash that a hash leaf (`lh`) keeps of a name."""
    units = sort_key(name)
    result = 0
    for position in range(0, len(units), 2):
        result = (result * 37 + (units[position] << 8 | units[position + 1])) & 0xFFFFFFFF
    return result


def name_hint(name: str) -> int:
    """The first four characters that a fast leaf (`lf`) keeps of a name; 0 for other scripts."""
    start = name[:4]
    if any(character > "\xff" for character in start):
        return 0
    return int.from_bytes(start.encode("latin-1"), "little")


def decode_name(raw: bytes, *, compressed: bool) -> str:
    """Text of a stored name: one byte a character if compressed, else UTF-16.

    Raises:
        DamagedHive: UTF-16 of odd length.
    """
    if compressed:
        return raw.decode("latin-1")
    if len(raw) & 1:
        raise DamagedHive(f"UTF-16 name of {len(raw)} bytes")
    return raw.decode("utf-16-le", "surrogatepass")


def encode_name(name: str) -> tuple[bytes, bool]:
    """Stored bytes of a name, and whether they are compressed, as Windows decides it."""
    if all(character <= "\xff" for character in name):
        return name.encode("latin-1"), True
    return name.encode("utf-16-le", "surrogatepass"), False


def utf16_size_bytes(name: str) -> int:
    """Size of a name in UTF-16, which the fields for the largest name count in."""
    return len(name.encode("utf-16-le", "surrogatepass"))


def check_key_name(name: str) -> str:
    r"""Return `name` if a key can have it.

    Raises:
        UnsafePath: empty, above 255 UTF-16 units, or with a `\` or NUL in it.
    """
    size_bytes = utf16_size_bytes(name)
    if not 0 < size_bytes <= MAX_KEY_NAME_CHARACTERS * 2 or "\\" in name or "\0" in name:
        raise UnsafePath(f"registry key {name[:80]!r}")
    return name


def check_value_name(name: str) -> str:
    """Return `name` if a value can have it.

    Raises:
        UnsafePath: above 16,383 UTF-16 units.
    """
    if utf16_size_bytes(name) > MAX_VALUE_NAME_CHARACTERS * 2:
        raise UnsafePath(f"registry value {name[:80]!r}")
    return name


def split_path(path: str) -> list[str]:
    r"""Names of a key path; `\` separates, empty names are dropped."""
    return [name for name in path.split("\\") if name]
