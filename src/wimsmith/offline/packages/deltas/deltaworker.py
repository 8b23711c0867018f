"""The child process that expands deltas. Started by `deltas.py`, never by hand.

Argument: the one folder it may write to. On stdin it gets a list of jobs as JSON. Ends with 0, or
with 3 and what went wrong as JSON on stdout, or with 4 if memory ran out.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from wimsmith.errors import DamagedDelta, NotSupported, WimsmithError
from wimsmith.offline import _libsandbox
from wimsmith.offline.manifests.xmlreader import MAX_XML_BYTES
from wimsmith.offline.packages.deltas.dcm import expand_dcm, is_dcm
from wimsmith.offline.packages.deltas.delta import apply_delta, stated_bytes

FAILED_STATUS = 3
MEMORY_STATUS = 4


@dataclass(frozen=True, slots=True)
class Work:
    """One job as it crosses to this process."""

    delta: str
    base: str | None
    target: str
    size_bytes: int | None
    proved_elsewhere: bool

    def do(self) -> None:
        """Expand the delta into its target, which must not exist."""
        stored = Path(self.delta).read_bytes()
        base = b"" if self.base is None else Path(self.base).read_bytes()
        expanded = expand_dcm(stored, base) if is_dcm(stored) else self._expanded(stored, base)
        if self.size_bytes not in {None, len(expanded)}:
            raise DamagedDelta(f"{len(expanded)} bytes instead of {self.size_bytes}")
        with Path(self.target).open("xb") as file:
            file.write(expanded)

    def _expanded(self, stored: bytes, base: bytes) -> bytes:
        stated = stated_bytes(stored)
        if self.size_bytes not in {None, stated}:
            raise DamagedDelta(f"it states {stated} bytes instead of {self.size_bytes}")
        return apply_delta(
            base,
            stored,
            max_bytes=MAX_XML_BYTES if self.size_bytes is None else self.size_bytes,
            proved_elsewhere=self.proved_elsewhere,
        )


def main() -> int:
    """Do all jobs in their order, up to the first that fails."""
    jobs = json.load(sys.stdin)
    _libsandbox.leave_network()
    _libsandbox.confine([Path(sys.argv[1])])
    for number, fields in enumerate(jobs):
        try:
            Work(*fields).do()
        except MemoryError:
            return MEMORY_STATUS
        except WimsmithError as error:
            reason = error.reason if isinstance(error, NotSupported) else ""
            text = str(error.args[-1]) if error.args else ""
            failure = {"job": number, "code": error.code, "reason": reason, "text": text}
            json.dump(failure, sys.stdout)
            return FAILED_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main())
