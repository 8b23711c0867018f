"""What a worker process prints, as log records."""

import logging

log = logging.getLogger("wimsmith.offline")

_LOG_LINE_BYTES = 4096


class LogLines:
    """Turns what libwim writes to stderr into log records."""

    def __init__(self) -> None:
        self._rest = b""
        self.last = ""
        self.last_error = ""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[:_LOG_LINE_BYTES]
        for line in lines:
            self._log(line[:_LOG_LINE_BYTES].decode("utf-8", "replace").strip())

    def _log(self, line: str) -> None:
        if not line:
            return
        self.last = line
        if line.startswith("[ERROR]"):
            self.last_error = line.removeprefix("[ERROR]").strip()
            log.error("libwim: %s", self.last_error)
        elif line.startswith("[WARNING]"):
            log.warning("libwim: %s", line.removeprefix("[WARNING]").strip())
        else:
            log.info("libwim: %s", line)
