"""`$filehashes$.dat`: digests of the files of a cabinet as they are stored.

A text in UTF-16 with sections `[sha1]` and `[sha256]` and lines `PATH=DIGEST,SIZE`, both numbers in
hexadecimal. No catalog lists it: it shows damage, and proves nothing about who made a file.
"""

from dataclasses import dataclass

from wimsmith.errors import DamagedPackage
from wimsmith.offline import paths
from wimsmith.offline.packages.containers.msu import text_of

HASH_LIST = "$filehashes$.dat"
MAX_HASH_LIST_BYTES = 128 << 20
_DIGEST_BYTES = {"sha1": 20, "sha256": 32}


@dataclass(frozen=True, slots=True)
class ListedHash:
    """A digest and the size in bytes of a file."""

    algorithm: str
    digest: bytes
    size_bytes: int


def parse_hash_list(data: bytes) -> dict[str, ListedHash]:
    """Digests by folded path, SHA-256 where a file has both. Other sections are passed over.

    Raises:
        DamagedPackage: a line is malformed.
    """
    found: dict[str, ListedHash] = {}
    section = ""
    for line in map(str.strip, text_of(data).splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].lower()
        elif line and section in _DIGEST_BYTES:
            name, listed = _listed(line, section)
            known = found.get(name)
            if known is None or len(known.digest) < len(listed.digest):
                found[name] = listed
    return found


def _listed(line: str, algorithm: str) -> tuple[str, ListedHash]:
    name, _, value = line.rpartition("=")
    digest_text, _, size_text = value.partition(",")
    try:
        digest, size_bytes = bytes.fromhex(digest_text), int(size_text, 16)
    except ValueError as error:
        raise DamagedPackage(f"the list of hashes has the line {line[:200]!r}") from error
    if not name or len(digest) != _DIGEST_BYTES[algorithm]:
        raise DamagedPackage(f"the list of hashes has the line {line[:200]!r}")
    return paths.fold(paths.join(name)), ListedHash(algorithm, digest, size_bytes)
