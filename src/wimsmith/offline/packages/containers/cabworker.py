"""The child process that expands one cabinet. Started by `cabinet.py`, never by hand.

Arguments: the cabinet and an empty folder. Files are written there as 0, 1, 2 ... in the order of
the cabinet; numbers on stdin, if there are any, are the only files to write. Ends with 0, or with
3 and a sentence on stderr if the cabinet is damaged, or with 4 if memory ran out.
"""

import sys
from collections.abc import Set as AbstractSet
from pathlib import Path

import libarchive
from libarchive.exception import ArchiveError

from wimsmith.offline import _libsandbox

_DAMAGED_STATUS = 3
_MEMORY_STATUS = 4


def expand(cabinet: Path, folder: Path, numbers: AbstractSet[int]) -> None:
    """Write files of `cabinet` into `folder`; all of them if there are no `numbers`.

    Raises:
        ArchiveError: libarchive met something broken.
    """
    with libarchive.file_reader(str(cabinet), format_name="cab", filter_name="none") as archive:
        for number, entry in enumerate(archive):
            if numbers and number not in numbers:
                continue
            with (folder / str(number)).open("xb") as file:
                for block in entry.get_blocks():
                    file.write(block)


def main() -> int:
    """Expand what the command line names; from here on only the folder can be written to."""
    cabinet, folder = Path(sys.argv[1]), Path(sys.argv[2])
    numbers = frozenset(map(int, sys.stdin.read().split()))
    _libsandbox.leave_network()
    _libsandbox.confine([folder])
    try:
        expand(cabinet, folder, numbers)
    except ArchiveError as error:
        sys.stderr.write(f"{error.msg}\n")
        return _DAMAGED_STATUS
    except MemoryError:
        return _MEMORY_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main())
