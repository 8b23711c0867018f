"""The worker process: same results as the library itself, and every way to end it is one error."""

import contextlib
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wimsmith.errors import Cancelled, DamagedWim, WorkerFailed
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format.codec import Codec, Compression
from wimsmith.offline.wim.workers import _frames
from wimsmith.offline.wim.workers._libwim import LibwimCodec
from wimsmith.offline.wim.workers.child import Worker
from wimsmith.offline.wim.workers.worker import CodecPool, WorkerCodec
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


def test_a_frame_carries_the_largest_chunk_both_ways(codec: WorkerCodec) -> None:
    data = os.urandom(1 << 16) + bytes((1 << 26) - (1 << 16))
    (packed,) = codec.compress(Compression.LZMS, 1 << 26, 1, [data])
    assert packed is not None
    assert len(packed) > 1 << 16
    assert codec.decompress(Compression.LZMS, 1 << 26, [(packed, len(data))]) == [data]


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
        "import time; from wimsmith.offline.wim.workers.child import Worker;"
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


SLOW = b"".join(b"%d and %d;" % (number, number * number % 977) for number in range(3_000_000))


def slow_call(codec: Codec) -> None:
    """Solid LZMS at its slowest: one chunk takes the library many seconds without a pause."""
    codec.compress(Compression.LZMS, 1 << 25, 100, [SLOW[: 1 << 25]])


class Stop:
    """A beat that cancels some time after it was first called."""

    def __init__(self, after_s: float = 0.5) -> None:
        self.after_s = after_s
        self.first = 0.0
        self.raised = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        self.first = self.first or now
        if now - self.first > self.after_s:
            self.raised = self.raised or now
            raise Cancelled("by the test")


def test_a_beat_ends_a_worker_in_the_middle_of_solid_compression() -> None:
    stop = Stop()
    with WorkerCodec(beat=stop) as codec:
        with pytest.raises(Cancelled, match="by the test"):
            slow_call(codec)
        worker = pid_of(codec)
        assert time.monotonic() - stop.raised < 2
        assert not is_alive(worker)
        stop.after_s = 1e9
        assert codec.compress(LZX, CHUNK, 20, TEXT)
        assert pid_of(codec) != worker


def test_a_beat_ends_a_worker_that_takes_no_more_input() -> None:
    """A stopped process does not empty its pipe: writing to it must not wait for ever."""
    stop = Stop()
    with WorkerCodec(beat=stop) as codec:
        stop.after_s = 1e9
        codec.compress(LZX, CHUNK, 20, TEXT)
        os.kill(pid_of(codec), signal.SIGSTOP)
        stop.first, stop.after_s = 0.0, 0.5
        with pytest.raises(Cancelled):
            codec.compress(Compression.LZMS, 1 << 25, 1, [SLOW[: 1 << 25]])


def test_a_pool_runs_as_many_workers_as_there_are_calls() -> None:
    with CodecPool(3) as pool:
        assert (pool.workers, pool.pids) == (3, [])
        packed = pool.compress(LZX, CHUNK, 20, TEXT)
        assert len(pool.pids) == 1
        for _ in range(5):
            assert unpack(pool, packed, [len(data) for data in TEXT]) == TEXT
        assert len(pool.pids) == 1
        barrier = threading.Barrier(3)

        def call() -> list[bytes | None]:
            barrier.wait()
            return [pool.compress(LZX, CHUNK, 100, [SLOW[:CHUNK]] * 30)[0]]

        with ThreadPoolExecutor(3) as threads:
            results = [future.result() for future in [threads.submit(call) for _ in range(3)]]
        assert results[0] == results[1] == results[2]
        pids = pool.pids
        assert len(pids) == 3
    assert pool.pids == []
    assert not any(is_alive(pid) for pid in pids)


def test_more_calls_than_workers_wait_for_each_other() -> None:
    with CodecPool(2) as pool, ThreadPoolExecutor(8) as threads:
        mine = [[b"%d" % number * 3000] * 20 for number in range(40)]
        packed = list(threads.map(lambda data: pool.compress(LZX, CHUNK, 20, data), mine))
        sizes = [[len(data) for data in chunks] for chunks in mine]
        assert list(threads.map(lambda one, size: unpack(pool, one, size), packed, sizes)) == mine
        assert len(pool.pids) <= 2


def test_a_killed_worker_of_a_pool_is_the_error_of_its_call_alone() -> None:
    with CodecPool(2) as pool, ThreadPoolExecutor(2) as threads:
        first = threads.submit(slow_call, pool)
        assert soon(lambda: len(pool.pids) == 1)
        (victim,) = pool.pids
        second = threads.submit(pool.compress, LZX, CHUNK, 20, TEXT)
        assert second.result() == LibwimCodec().compress(LZX, CHUNK, 20, TEXT)
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(WorkerFailed, match="SIGKILL"):
            first.result()
        assert pool.compress(LZX, CHUNK, 20, TEXT)
        assert pool.compress(LZX, CHUNK, 20, TEXT)


def test_cancel_reaches_those_who_wait_for_a_free_worker() -> None:
    stop = Stop()
    with CodecPool(1, beat=stop) as pool, ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(slow_call, pool) for _ in range(3)]
        for call in calls:
            with pytest.raises(Cancelled):
                call.result(30)
    assert time.monotonic() - stop.raised < 10


def test_processor_time_without_end_is_one_error() -> None:
    header = {"compression": "lzms", "chunk_size": 1 << 25, "level": 100, "sizes": [1 << 25]}
    with Worker(limits=Limits(cpu_s=3)) as worker:
        with pytest.raises(WorkerFailed, match="more processor time than any known input needs"):
            worker.ask({"do": "compress", **header}, [SLOW[: 1 << 25]])
        assert worker.ended


FILTERED = """
import socket, subprocess
from wimsmith.offline._libsandbox import refuse_calls
if not refuse_calls():
    print("no filter"); raise SystemExit
for attempt in (
    lambda: socket.socket(),
    lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
    lambda: socket.socket(socket.AF_UNIX),
    lambda: subprocess.run(["true"]),
):
    try:
        attempt()
    except PermissionError:
        print("refused")
    else:
        print("succeeded")
print(len(open("/proc/self/status").read()) > 100)
"""


def test_filtered_means_no_sockets_and_no_programs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILTERED],
        capture_output=True,
        check=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "src")},
    )
    if done.stdout == "no filter\n":
        pytest.skip("no numbers of system calls for this architecture, or no seccomp")
    assert done.stdout.split() == ["refused"] * 4 + ["True"]


def test_a_worker_has_a_temporary_folder_of_its_own_or_none(tmp_path: Path) -> None:
    for writable, expected in ([], "/nonexistent"), ([tmp_path], str(tmp_path)):
        with Worker(writable=writable, opens_files=True) as worker:
            variables = Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")
            assert f"TMPDIR={expected}".encode() in variables
            status = Path(f"/proc/{worker.pid}/status").read_text()
            assert "Seccomp:\t2" in status
            limits = Path(f"/proc/{worker.pid}/limits").read_text()
            assert re.search(r"Max file size +0 +0", limits)
            assert re.search(r"Max open files +64 +64", limits)
            assert re.search(r"Max address space +2147483648 ", limits)
