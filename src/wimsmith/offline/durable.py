"""What makes a rename survive a power cut."""

import os
from pathlib import Path


def fsync_folder(folder: Path) -> None:
    """Bring the names in `folder` to the disk: those just made, renamed or removed."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
