"""syncfs(2) through ctypes: Python has fsync(2) for one file and sync(2) for all disks only."""

import ctypes
import os


def sync_filesystem(descriptor: int) -> None:
    """Bring all of the file system that holds an open file or folder to the disk.

    Raises:
        OSError: some of it could not be written.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(ctypes.c_int(descriptor)):
        code = ctypes.get_errno()
        raise OSError(code, f"syncfs: {os.strerror(code)}")
