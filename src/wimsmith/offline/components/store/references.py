"""References to deployments: who pinned, staged or installed them, as values of their keys."""

import struct
from dataclasses import dataclass

from wimsmith.offline.registry.values import Value

MARKS = frozenset(["p!", "s!", "i!"])


@dataclass(frozen=True, slots=True)
class Reference:
    """A `p!`, `s!` or `i!` value of a deployment.

    `identifier` is `package.update`; the meaning of `data` is not public.
    """

    mark: str
    identifier: str
    data: bytes

    def to_bytes(self) -> bytes:
        """Two lengths, the identifier, the data."""
        identifier = self.identifier.encode("ascii")
        return struct.pack("<II", len(identifier), len(self.data)) + identifier + self.data


def parse_reference(value: Value) -> Reference | None:
    """A reference from a value of a deployment key, None if the value is something else."""
    mark = value.name[:2]
    if mark not in MARKS or len(value.data) < 8:
        return None
    name_bytes, data_bytes = struct.unpack_from("<II", value.data)
    if 8 + name_bytes + data_bytes != len(value.data):
        return None
    identifier = value.data[8 : 8 + name_bytes]
    if not identifier.isascii():
        return None
    return Reference(mark, identifier.decode("ascii"), value.data[8 + name_bytes :])


def split_identifier(identifier: str) -> tuple[str, str]:
    """Package name and update name of `name~token~arch~lang~1.2.3.4.update`."""
    head, _, tail = identifier.rpartition("~")
    parts = tail.split(".", 4)
    return f"{head}~{'.'.join(parts[:4])}", parts[4] if len(parts) > 4 else ""
