"""Bringing a growing file to the disk while it grows, so that the last fsync has little to do."""

import os
import threading

_EVERY_BYTES = 128 << 20


class EarlyFlush:
    """Flushes a file in a thread of its own, one call at a time.

    Nobody waits for a flush whose file is given up: it ends by itself.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._grown_bytes = 0
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def grown(self, count: int) -> None:
        """Say that so many bytes were appended."""
        self._grown_bytes += count
        is_running = self._thread is not None and self._thread.is_alive()
        if self._grown_bytes >= _EVERY_BYTES and not is_running:
            self._grown_bytes = 0
            own = os.dup(self._descriptor)
            self._thread = threading.Thread(target=self._flush, args=(own,), daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Wait for the flush that runs.

        Raises:
            OSError: the disk did not take all; a later fsync need not tell it again.
        """
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _flush(self, own: int) -> None:
        try:
            os.fdatasync(own)
        except OSError as error:
            self._error = self._error or error
        finally:
            os.close(own)
