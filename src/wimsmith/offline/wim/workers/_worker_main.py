"""The worker process: libwim behind a pipe. Started by `worker.py`, never by hand.

It answers requests on stdin one after the other until stdin closes, which also happens when its
parent dies. Foreign bytes meet C code only here, and here there is little to gain: no write access
but to the folders named in the first message, no network, no programs to start, limits on memory.
"""

import os
import resource
import select
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from wimsmith.errors import Cancelled, WimsmithError, WorkerFailed
from wimsmith.offline import _libsandbox
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.workers import _frames, _libwim

if TYPE_CHECKING:
    from wimsmith.offline.wim.workers._reading import Reading

_PROGRESS_INTERVAL_S = 0.1
_PROCESSOR_S = 1800
"""Per core, from one sign of life to the next; solid LZMS takes a minute or two."""
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


class Teller:
    """Progress of one request: passes events on, but not too many."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._phase = ""
        self._due = 0.0

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if event.phase == self._phase and now < self._due and event.done != event.total:
            return
        self._phase, self._due = event.phase, now + _PROGRESS_INTERVAL_S
        _allow_processor_time()
        self._pipe.send(
            {
                "is": "progress",
                "phase": event.phase,
                "done": event.done,
                "total": event.total,
                "unit": event.unit,
            }
        )


class Reporter:
    """Progress of a heavy verb: passes events on, not too many, and sees the wish to stop.

    The parent says stop by one byte, or by going away.
    """

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._tell = Teller(pipe)
        self._stop = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def __call__(self, event: Event) -> None:
        if self._stop.is_set():
            raise Cancelled("by its caller")
        self._tell(event)

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
        reading: Reading | None = None
        while (request := pipe.receive()) is not None:
            header, payload = request
            _allow_processor_time()
            if header["do"] in _CHUNK_VERBS:
                _answer(pipe, _CHUNK_VERBS[header["do"]], codec, header, payload)
            elif header["do"] in _VOLUME_VERBS:
                _answer(pipe, _volume_verb, header, Reporter(pipe))
                return 0
            else:
                reading = reading or _reading(codec)
                _answer(pipe, reading.verbs[header["do"]], header, payload, Teller(pipe))
    except WimsmithError as error:
        pipe.send(_described(error))
        return 1
    return 0


def _allow_processor_time() -> None:
    """Let a loop without end be ended by the kernel, also when nobody watches any more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    most = int(used.ru_utime + used.ru_stime) + _PROCESSOR_S * (os.cpu_count() or 1)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard - 1)  # at the hard limit the signal does not say why
    resource.setrlimit(resource.RLIMIT_CPU, (most, hard))


def _reading(codec: _libwim.LibwimCodec) -> "Reading":
    from wimsmith.offline.wim.workers._reading import Reading  # noqa: PLC0415 - many never need it

    return Reading(codec)


def _take_pipes() -> Pipe:
    """Move the pipes away from stdin and stdout, where a stray print would break them."""
    source, sink = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return Pipe(source, sink)


def _prepared(start: _frames.Header) -> _frames.Header:
    _libwim.library()
    offline = _libsandbox.leave_network()
    filtered = _libsandbox.refuse_calls()
    dropped = _libsandbox.drop_root() if start["drop_root"] else False
    places = [Path(path) for path in start["writable"]]
    confined = _libsandbox.confine(places, links=start["links"])
    return {
        "is": "ready",
        "libwim": _libwim.version(),
        "offline": offline or filtered,
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
) -> tuple[_frames.Header, _frames.Buffer]:
    compression, chunk_size = Compression(header["compression"]), header["chunk_size"]
    packed, sizes = codec.compress_all(
        compression, chunk_size, header["level"], payload, header["sizes"]
    )
    return {"sizes": sizes}, packed


_CHUNK_VERBS = {"decompress": _decompress, "compress": _compress}
_VOLUME_VERBS = frozenset(["capture", "apply-volume", "read-back", "look"])


def _volume_verb(header: _frames.Header, progress: Reporter) -> tuple[_frames.Header, bytes]:
    from wimsmith.offline.wim.workers import _worker_volumes  # noqa: PLC0415 - workers start soon without

    return _worker_volumes.VERBS[header["do"]](header, progress)


def _end() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _end()
