"""The worker process: libwim behind a pipe. Started by `worker.py`, never by hand.

It answers requests on stdin one after the other until stdin closes, which also happens when its
parent dies. Foreign bytes meet C code only here, and here there is little to gain: no write access
but to the folders named in the first message, no network, no programs to start, limits on memory.
"""

import os
import select
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from wimsmith.errors import Cancelled, WimsmithError, WorkerFailed
from wimsmith.offline import _libsandbox
from wimsmith.offline.progress import Event
from wimsmith.offline.wim import _frames, _libwim
from wimsmith.offline.wim.codec import STANDARD_CHUNK_BYTES, Compression

_PROGRESS_INTERVAL_S = 0.1
_ABORT_GRACE_S = 2.0
_ABANDONED_STATUS = 3


class Pipe:
    """The worker's end of its pipes."""

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self._sink = sink
        self._space = _frames.Space()
        self._poll = select.poll()
        self._poll.register(source, select.POLLIN)
        os.set_blocking(source, False)

    def receive(self) -> tuple[_frames.Header, memoryview] | None:
        """Next request, or None when the parent is gone or done."""
        head = self._read(_frames.HEAD.size)
        if head is None:
            return None
        header_bytes, payload_bytes = _frames.unpack_head(head)
        rest = self._read(header_bytes + payload_bytes)
        if rest is None:
            return None
        return _frames.unpack_header(rest[:header_bytes]), rest[header_bytes:]

    def send(self, header: dict[str, Any], payload: _frames.Buffer = b"") -> None:
        """Send one frame."""
        _frames.write_all(self._sink, _frames.pack(header, len(payload)), payload)

    def wait(self) -> None:
        """Sleep until there is something to read, or the parent is gone."""
        self._poll.poll()

    def _read(self, size_bytes: int) -> memoryview | None:
        buffer = self._space.take(size_bytes)
        filled = 0
        while filled < size_bytes:
            count = _frames.read_soon(self.source, buffer[filled:])
            if count == 0:
                return None
            if count is None:
                self.wait()
            filled += count or 0
        return buffer


class Reporter:
    """Progress of a heavy verb: passes events on, not too many, and sees the wish to stop.

    The parent says stop by one byte, or by going away.
    """

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._stop = threading.Event()
        self._phase = ""
        self._due = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def __call__(self, event: Event) -> None:
        if self._stop.is_set():
            raise Cancelled("by its caller")
        now = time.monotonic()
        if event.phase == self._phase and now < self._due and event.done != event.total:
            return
        self._phase, self._due = event.phase, now + _PROGRESS_INTERVAL_S
        self._pipe.send(
            {
                "is": "progress",
                "phase": event.phase,
                "done": event.done,
                "total": event.total,
                "unit": event.unit,
            }
        )

    def _watch(self) -> None:
        self._pipe.wait()
        orphaned = not os.read(self._pipe.source, 1)
        self._stop.set()
        if orphaned:
            time.sleep(_ABORT_GRACE_S)
            os._exit(_ABANDONED_STATUS)


def main() -> int:
    """Serve requests until there are no more."""
    pipe = _take_pipes()
    start = pipe.receive()
    if start is None:
        return 0
    try:
        pipe.send(_prepared(start[0]))
        codec = _libwim.LibwimCodec()
        while (request := pipe.receive()) is not None:
            header, payload = request
            if header["do"] in _CHUNK_VERBS:
                _answer(pipe, _CHUNK_VERBS[header["do"]], codec, header, payload)
            else:
                _answer(pipe, _FILE_VERBS[header["do"]], header, Reporter(pipe))
                return 0
    except WimsmithError as error:
        pipe.send(_described(error))
        return 1
    return 0


def _take_pipes() -> Pipe:
    """Move the pipes away from stdin and stdout, where a stray print would break them."""
    source, sink = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return Pipe(source, sink)


def _prepared(start: _frames.Header) -> _frames.Header:
    _libwim.library()
    offline = _libsandbox.leave_network()
    dropped = _libsandbox.drop_root() if start["drop_root"] else False
    confined = _libsandbox.confine([Path(path) for path in start["writable"]])
    return {
        "is": "ready",
        "libwim": _libwim.version(),
        "offline": offline,
        "dropped": dropped,
        "confined": confined,
    }


def _answer(pipe: Pipe, verb: Any, *arguments: Any) -> None:
    try:
        header, payload = verb(*arguments)
    except WimsmithError as error:
        header, payload = _described(error), b""
    except MemoryError:
        header, payload = _described(WorkerFailed("it ran out of memory")), b""
    except Exception as error:  # noqa: BLE001 - the parent must hear of everything
        traceback.print_exc()
        header, payload = _described(WorkerFailed(f"{type(error).__name__}: {error}")), b""
    pipe.send({"is": "result"} | header, payload)


def _described(error: WimsmithError) -> _frames.Header:
    about = [str(part) for part in error.args]
    return {"is": "error", "code": error.code, "about": about, "hint": error.hint}


def _decompress(
    codec: _libwim.LibwimCodec, header: _frames.Header, payload: memoryview
) -> tuple[_frames.Header, _frames.Buffer]:
    compression, chunk_size = Compression(header["compression"]), header["chunk_size"]
    return {}, codec.decompress_all(compression, chunk_size, payload, header["sizes"])


def _compress(
    codec: _libwim.LibwimCodec, header: _frames.Header, payload: memoryview
) -> tuple[_frames.Header, bytes]:
    compression, chunk_size = Compression(header["compression"]), header["chunk_size"]
    chunks, place = [], 0
    for size in header["sizes"]:
        chunks.append(bytes(payload[place : place + size]))
        place += size
    packed = codec.compress(compression, chunk_size, header["level"], chunks)
    sizes = [-1 if data is None else len(data) for data in packed]
    return {"sizes": sizes}, b"".join(data for data in packed if data is not None)


def _export(header: _frames.Header, progress: Reporter) -> tuple[_frames.Header, bytes]:
    source, target = Path(header["source"]), Path(header["target"])
    _libwim.set_compression_level(header["level"])
    with _libwim.WimHandle.open(source, progress) as whole:
        facts = whole.info()
        compression = Compression(header["compression"] or facts.compression)
        is_asked_for = header["compression"] is not None
        chunk_size = facts.chunk_size
        if is_asked_for and not _is_standard(compression, facts):
            chunk_size = header["chunk_size"]
        with _libwim.WimHandle.new(compression, chunk_size, progress) as part:
            for index in header["indexes"]:
                whole.export_to(part, index, bootable=index == facts.boot_index)
            part.write(
                target,
                threads=header["threads"],
                recompress=header["recompress"],
                solid=header["solid"],
            )
    if header["check"]:
        with _libwim.WimHandle.open(target, progress) as written:
            written.verify()
    return {}, b""


def _is_standard(compression: Compression, facts: _libwim.WimInfo) -> bool:
    """Whether a file with these facts is packed as asked, in chunks that Windows accepts."""
    low, high = STANDARD_CHUNK_BYTES[compression]
    return compression is facts.compression and low <= facts.chunk_size <= high


def _extract(header: _frames.Header, progress: Reporter) -> tuple[_frames.Header, bytes]:
    with _libwim.WimHandle.open(Path(header["source"]), progress) as wim:
        wim.extract(header["index"], Path(header["target"]), header["patterns"])
    return {}, b""


def _verify(header: _frames.Header, progress: Reporter) -> tuple[_frames.Header, bytes]:
    source = Path(header["source"])
    with _libwim.WimHandle.open(source, progress, check_integrity=header["integrity"]) as wim:
        wim.verify()
    return {}, b""


_CHUNK_VERBS = {"decompress": _decompress, "compress": _compress}
_FILE_VERBS = {"export": _export, "extract": _extract, "verify": _verify}


def _end() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _end()
