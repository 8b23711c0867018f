"""The worker process: same results as the library itself, and every way to end it is one error."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wimsmith.errors import Cancelled, DamagedWim, WorkerFailed
from wimsmith.offline.progress import Event
from wimsmith.offline.wim import _frames
from wimsmith.offline.wim._libwim import LibwimCodec
from wimsmith.offline.wim.codec import Codec, Compression
from wimsmith.offline.wim.worker import Worker, WorkerCodec
from wimsmith.process import Limits

LZX, CHUNK = Compression.LZX, 32768
TEXT = [(b"line %d of a text that packs well\r\n" % number) * 200 for number in range(40)]


@pytest.fixture
def codec() -> Iterator[WorkerCodec]:
    with WorkerCodec() as codec:
        yield codec


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def soon(condition: Callable[[], bool], timeout_s: float = 5) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def pid_of(codec: WorkerCodec) -> int:
    assert codec.pid is not None
    return codec.pid


def end_stopped(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def unpack(codec: Codec, packed: list[bytes | None], sizes: list[int]) -> list[bytes]:
    pairs = [(data or b"", size) for data, size in zip(packed, sizes, strict=True)]
    return codec.decompress(LZX, CHUNK, pairs)


def test_the_worker_packs_and_unpacks_as_the_library_does(codec: WorkerCodec) -> None:
    packed = codec.compress(LZX, CHUNK, 20, [*TEXT, os.urandom(500)])
    assert packed == [*LibwimCodec().compress(LZX, CHUNK, 20, TEXT), None]
    assert unpack(codec, packed[:-1], [len(data) for data in TEXT]) == TEXT


def test_nothing_is_asked_for_nothing(codec: WorkerCodec) -> None:
    assert codec.compress(LZX, CHUNK, 20, []) == []
    assert codec.decompress(LZX, CHUNK, []) == []
    assert codec.pid is None


def test_more_than_a_frame_is_sent_in_parts(codec: WorkerCodec) -> None:
    data = [bytes([number % 251]) * CHUNK for number in range(600)]
    assert sum(map(len, data)) > 2 * _frames.BATCH_BYTES
    packed = codec.compress(LZX, CHUNK, 20, data)
    assert unpack(codec, packed, [CHUNK] * 600) == data


def test_one_chunk_may_be_larger_than_a_frame(codec: WorkerCodec) -> None:
    chunk = 1 << 25
    data = bytes(1 << 25)
    (packed,) = codec.compress(Compression.LZMS, chunk, 1, [data])
    assert packed is not None
    assert codec.decompress(Compression.LZMS, chunk, [(packed, len(data))]) == [data]


def test_a_damaged_chunk_is_an_error_and_the_worker_goes_on(codec: WorkerCodec) -> None:
    packed = codec.compress(LZX, CHUNK, 20, TEXT)
    worker = codec.pid
    with pytest.raises(DamagedWim, match="invalid lzx data in a chunk of 3 bytes"):
        codec.decompress(LZX, CHUNK, [(b"\xff\xff\xff", 30_000)])
    assert unpack(codec, packed, [len(data) for data in TEXT]) == TEXT
    assert codec.pid == worker


@pytest.fixture(scope="module")
def shared_codec() -> Iterator[WorkerCodec]:
    with WorkerCodec() as codec:
        yield codec


@pytest.mark.parametrize("compression", [Compression.XPRESS, Compression.LZX, Compression.LZMS])
@given(data=st.binary(min_size=1, max_size=600), size=st.integers(0, 32768))
@settings(max_examples=300, deadline=None)
def test_foreign_bytes_unpack_or_are_refused(
    shared_codec: WorkerCodec, compression: Compression, data: bytes, size: int
) -> None:
    before = shared_codec.pid
    try:
        (unpacked,) = shared_codec.decompress(compression, CHUNK, [(data, size)])
    except DamagedWim:
        pass
    else:
        assert len(unpacked) == size
    assert before in {None, shared_codec.pid}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_killed_worker_is_one_error_and_the_next_call_has_a_new_one(
    codec: WorkerCodec, number: signal.Signals
) -> None:
    codec.compress(LZX, CHUNK, 20, TEXT)
    first = pid_of(codec)
    os.kill(first, signal.SIGSTOP)
    threading.Timer(0.2, end_stopped, (first, number)).start()
    with pytest.raises(WorkerFailed, match=f"it was ended by signal {number.name}") as caught:
        codec.compress(LZX, CHUNK, 20, TEXT)
    assert "short of memory" in (caught.value.hint or "")
    codec.compress(LZX, CHUNK, 20, TEXT)
    assert pid_of(codec) != first


def test_a_worker_killed_between_calls_is_replaced(codec: WorkerCodec) -> None:
    codec.compress(LZX, CHUNK, 20, TEXT)
    first = pid_of(codec)
    os.kill(first, signal.SIGKILL)
    assert soon(lambda: not is_alive(first))
    assert codec.compress(LZX, CHUNK, 20, TEXT)


def test_a_codec_whose_worker_died_can_be_closed(codec: WorkerCodec) -> None:
    codec.compress(LZX, CHUNK, 20, TEXT)
    os.kill(pid_of(codec), signal.SIGSTOP)
    threading.Timer(0.2, end_stopped, (pid_of(codec), signal.SIGKILL)).start()
    with pytest.raises(WorkerFailed):
        codec.compress(LZX, CHUNK, 20, TEXT)
    codec.close()
    codec.close()


def test_out_of_memory_is_one_error() -> None:
    with (
        WorkerCodec(Limits(memory_bytes=150 << 20)) as codec,
        pytest.raises(WorkerFailed, match="memory"),
    ):
        codec.compress(Compression.LZMS, 1 << 26, 50, [bytes(1 << 26)])


def test_threads_may_share_a_codec(codec: WorkerCodec) -> None:
    failures: list[object] = []

    def work(number: int) -> None:
        mine = [b"%d" % number * 3000] * 20
        for _ in range(20):
            packed = codec.compress(LZX, CHUNK, 20, mine)
            if unpack(codec, packed, [len(data) for data in mine]) != mine:
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_closed_codec_leaves_no_process(codec: WorkerCodec) -> None:
    codec.compress(LZX, CHUNK, 20, TEXT)
    worker = pid_of(codec)
    codec.close()
    assert codec.pid is None
    assert not Path(f"/proc/{worker}").exists()


def test_a_forgotten_codec_leaves_no_process() -> None:
    codec: WorkerCodec | None = WorkerCodec()
    assert codec is not None
    codec.compress(LZX, CHUNK, 20, TEXT)
    worker = pid_of(codec)
    codec = None
    gc.collect()
    assert not Path(f"/proc/{worker}").exists()


def test_a_worker_does_not_outlive_a_killed_parent() -> None:
    code = (
        "import time; from wimsmith.offline.wim.worker import Worker;"
        "worker = Worker(); print(worker.pid, flush=True); time.sleep(60)"
    )
    source = Path(__file__).parents[3] / "src"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(source)},
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert is_alive(worker)
        parent.kill()
    assert soon(lambda: not is_alive(worker))


def test_a_silent_worker_is_noticed_and_can_be_cancelled_meanwhile(tmp_path: Path) -> None:
    worker = Worker()
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(WorkerFailed, match="no sign of life"):
        worker.ask({"do": "compress"}, stall_s=0.3)
    assert worker.ended

    def cancel(_event: Event) -> None:
        raise Cancelled("by the test")

    worker = Worker()
    os.kill(worker.pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(Cancelled):
        worker.ask({"do": "compress"}, progress=cancel)
    assert time.monotonic() - started < 2
    assert worker.ended


def test_a_codec_worker_gives_up_root(codec: WorkerCodec) -> None:
    codec.compress(LZX, CHUNK, 20, TEXT)
    status = Path(f"/proc/{codec.pid}/status").read_text().splitlines()
    facts = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    if os.geteuid() == 0:
        assert facts["Uid"].split() == ["65534"] * 4
        assert facts["Groups"].strip() == ""
        assert int(facts["CapEff"], 16) == 0
    assert facts["NoNewPrivs"] == "1"


CONFINED = """
import socket, subprocess, sys
from pathlib import Path
from wimsmith.offline._libsandbox import confine
inside, outside = map(Path, sys.argv[1:])
if not confine([inside]):
    print("no landlock"); sys.exit()
(inside / "new").write_text("yes")
(inside / "new").rename(inside / "renamed")
print(outside.joinpath("file").read_text())
for attempt in (
    lambda: outside.joinpath("file").write_text("changed"),
    lambda: outside.joinpath("file").open("a"),
    lambda: outside.joinpath("file").unlink(),
    lambda: outside.joinpath("file").rename(inside / "file"),
    lambda: outside.joinpath("new").mkdir(),
    lambda: outside.joinpath("new").symlink_to("x"),
    lambda: subprocess.run(["true"]),
):
    try:
        attempt()
    except OSError as error:
        print(type(error).__name__)
    else:
        print("succeeded")
"""


def test_confined_means_root_too_writes_in_one_place_only(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "file").write_text("source")
    source = Path(__file__).parents[3] / "src"
    done = subprocess.run(
        [sys.executable, "-c", CONFINED, inside, outside],
        capture_output=True,
        check=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(source)},
    )
    if done.stdout == "no landlock\n":
        pytest.skip("this kernel has no Landlock")
    first, *attempts = done.stdout.splitlines()
    assert first == "source"
    assert len(attempts) == 7
    assert set(attempts) <= {"PermissionError", "OSError"}
    assert (inside / "renamed").read_text() == "yes"
    assert (outside / "file").read_text() == "source"


@pytest.mark.parametrize(
    "head",
    [_frames.HEAD.pack(1 << 30, 0), _frames.HEAD.pack(2, 1 << 60), b"\xff" * 12],
)
def test_lengths_from_the_other_side_are_not_believed(head: bytes) -> None:
    with pytest.raises(WorkerFailed, match="a message of"):
        _frames.unpack_head(head)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"nul"])
def test_only_objects_are_messages(text: bytes) -> None:
    with pytest.raises(WorkerFailed, match="a message that is not"):
        _frames.unpack_header(text)
