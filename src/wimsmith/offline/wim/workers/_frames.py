"""Messages between a worker process and its parent, over pipes.

One frame: u32 length of a JSON object, u64 length of a binary payload (little endian), then both.
Lengths are checked before anything is allocated: the other side may have been taken over by the
foreign bytes it was fed.
"""

import json
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any

from wimsmith.errors import WorkerFailed

HEAD = struct.Struct("<IQ")
MAX_HEADER_BYTES = 16 << 20
MAX_PAYLOAD_BYTES = 1 << 28
BATCH_BYTES = 8 << 20
"""Chunks are sent in frames of about this size; a larger single chunk travels alone."""

_LOOKS = 100
_MOST_PARTS = 512

Header = dict[str, Any]
Buffer = bytes | bytearray | memoryview


def pack(header: Mapping[str, object], payload_size_bytes: int) -> bytes:
    """Head and header of a frame; the payload follows as it is."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    return HEAD.pack(len(text), payload_size_bytes) + text


def unpack_head(head: Buffer) -> tuple[int, int]:
    """Lengths of header and payload in bytes.

    Raises:
        WorkerFailed: they are beyond what this protocol uses.
    """
    header_bytes, payload_bytes = HEAD.unpack(head)
    if header_bytes > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise WorkerFailed(f"a message of {header_bytes} + {payload_bytes} bytes")
    return header_bytes, payload_bytes


def unpack_header(text: Buffer) -> Header:
    """The JSON object of a frame.

    Raises:
        WorkerFailed: it is not a JSON object.
    """
    try:
        header = json.loads(bytes(text))
    except ValueError as error:
        raise WorkerFailed("a message that is not JSON") from error
    if not isinstance(header, dict):
        raise WorkerFailed("a message that is not an object")
    return header


class Space:
    """Memory for incoming frames, used again for each: new memory costs more than reading."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def take(self, size_bytes: int) -> memoryview:
        """Room for one frame; what `take` gave before is overwritten."""
        if size_bytes > len(self._buffer):
            self._buffer = bytearray(size_bytes)
        return memoryview(self._buffer)[:size_bytes]


def write_all(descriptor: int, *parts: Buffer, wait: Callable[[], None] | None = None) -> None:
    """Write one frame to a pipe; `wait` is called when a non-blocking one is full.

    Raises:
        BrokenPipeError: the other side is gone.
    """
    unsent = [memoryview(part) for part in parts if len(part)]
    unsent.reverse()
    while unsent:
        try:
            sent = os.writev(descriptor, unsent[: -_MOST_PARTS - 1 : -1])
        except BlockingIOError:
            if wait is None:
                raise
            wait()
            continue
        while unsent and sent >= len(unsent[-1]):
            sent -= len(unsent.pop())
        if sent:
            unsent[-1] = unsent[-1][sent:]


def read_soon(descriptor: int, buffer: memoryview) -> int | None:
    """Read what is or soon will be there from a non-blocking pipe; None if nothing came.

    Waking a sleeping process on another core takes about 40 microseconds, more than unpacking a
    small file. So both sides look again a few times, giving way to others in between, before they
    sleep; this made small requests nine times as fast where it was measured.
    """
    for _ in range(_LOOKS):
        try:
            return os.readv(descriptor, [buffer])
        except BlockingIOError:
            os.sched_yield()
    return None
