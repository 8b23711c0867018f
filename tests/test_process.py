"""Starting other programs: what they get, what they may use, and that they end."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wimsmith.errors import Cancelled, LimitExceeded, WorkerFailed
from wimsmith.process import Limits, describe_status, run, spawn


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code, *arguments]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends between the calls
        return False


def soon(condition: Callable[[], bool], timeout_s: float = 5) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_program_hears_its_input_and_its_output_is_returned() -> None:
    data = os.urandom(3 << 20)
    done = run(["cat"], stdin=data)
    assert done.stdout == data
    assert done.stderr == b""
    assert done.returncode == 0


def test_a_program_gets_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIMSMITH_PASSWORD", "secret")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    done = run(["env"], environment={"GIVEN": "yes"})
    names = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    assert "WIMSMITH_PASSWORD" not in names
    assert names["GIVEN"] == "yes"
    assert names["LC_ALL"] == "C.UTF-8"


def test_a_program_is_found_on_our_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "wimlib-imagex"
    fake.write_text("#!/bin/sh\necho fake\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert run(["wimlib-imagex"]).stdout == b"fake\n"


def test_arguments_reach_no_shell(tmp_path: Path) -> None:
    assert run(["printf", "%s", "$(id); `id` *"], cwd=tmp_path).stdout == b"$(id); `id` *"


def test_failure_is_one_error_and_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(WorkerFailed, match=r"sh ended with status 3: no such image$"):
        run(["sh", "-c", "echo first >&2; echo no such image >&2; exit 3"])
    (record,) = caplog.records
    assert record.name == "wimsmith.offline"
    assert record.levelno == logging.ERROR
    assert "exit 3" in record.getMessage()


def test_failure_can_be_looked_at_instead() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.returncode, done.stdout, done.error_text) == (3, b"out\n", "err")


def test_a_program_that_does_not_exist_is_an_error_of_ours() -> None:
    with pytest.raises(WorkerFailed, match="no-such-program cannot be started: "):
        run(["no-such-program"])


def test_a_slow_program_and_what_it_started_are_ended(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    started = time.monotonic()
    with pytest.raises(WorkerFailed, match="took too long"):
        run(["sh", "-c", f"sleep 60 & echo $! > {note}; sleep 60"], timeout_s=0.3)
    assert time.monotonic() - started < 3
    assert soon(lambda: not is_alive(int(note.read_text())))


def test_a_program_that_ignores_sigterm_is_killed() -> None:
    code = (
        "import signal, time; signal.signal(15, signal.SIG_IGN);"
        "print(1, flush=True); time.sleep(60)"
    )
    child = spawn(python(code))
    assert child.stdout.readline() == b"1\n"
    assert child.end(grace_s=0.2) == -signal.SIGKILL


def test_what_a_finished_program_left_running_is_ended(tmp_path: Path) -> None:
    done = run(["sh", "-c", "sleep 60 & echo $!"], timeout_s=10)
    assert soon(lambda: not is_alive(int(done.stdout)))
    assert done.duration_s < 3


def test_a_program_that_closed_its_output_is_waited_for(tmp_path: Path) -> None:
    flag = tmp_path / "done"
    run(["sh", "-c", f"exec >&- 2>&-; sleep 0.3; touch {flag}"])
    assert flag.exists()


def test_cancel_ends_the_program() -> None:
    asked: list[int] = []

    def poll() -> None:
        asked.append(1)
        if len(asked) > 2:
            raise Cancelled("by the test")

    started = time.monotonic()
    with pytest.raises(Cancelled):
        run(["sleep", "60"], poll=poll)
    assert time.monotonic() - started < 3


def test_endless_output_is_cut_off() -> None:
    with pytest.raises(LimitExceeded, match="wrote more than 1000000 bytes"):
        run(["cat", "/dev/zero"], output_limit_bytes=1_000_000)


def test_endless_complaints_are_kept_short() -> None:
    done = run(python("import sys; sys.stderr.write('x' * 9_000_000 + '\\nlast')"))
    assert len(done.stderr) == 65_536
    assert done.error_text == "last"


def test_a_program_may_use_only_so_much_memory() -> None:
    code = "data = bytearray(int(input())); print(len(data))"
    limits = Limits(memory_bytes=300 << 20)
    assert run(python(code), stdin=b"1000000\n", limits=limits).stdout == b"1000000\n"
    with pytest.raises(WorkerFailed, match="MemoryError"):
        run(python(code), stdin=b"900000000\n", limits=limits)


def test_limits_are_in_force_before_the_first_input() -> None:
    code = (
        "import resource as r; input();"
        "limits = (r.RLIMIT_CORE, r.RLIMIT_CPU, r.RLIMIT_FSIZE, r.RLIMIT_NOFILE);"
        "print([r.getrlimit(limit)[1] for limit in limits])"
    )
    limits = Limits(cpu_s=50, file_bytes=1 << 20, open_files=32)
    assert run(python(code), stdin=b"\n", limits=limits).stdout == b"[0, 50, 1048576, 32]\n"


def test_a_program_does_not_inherit_our_files(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        listed = run(["ls", "-l", "/proc/self/fd"]).stdout.decode()
    assert "secret" not in listed


def test_a_spawned_worker_sees_that_its_parent_died() -> None:
    code = (
        "import sys, time; from wimsmith.process import spawn;"
        "child = spawn([sys.executable, '-I', '-S', '-c', 'import sys; sys.stdin.read()']);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert is_alive(worker)
        parent.kill()
    assert soon(lambda: not is_alive(worker))


def test_ending_twice_is_harmless() -> None:
    child = spawn(["sleep", "60"])
    assert child.end() == -signal.SIGTERM
    assert child.end() == -signal.SIGTERM
    assert child.ended


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with status 0"),
        (-9, "was ended by signal SIGKILL"),
        (-63, "was ended by signal 63"),
    ],
)
def test_a_status_reads_as_words(status: int, words: str) -> None:
    assert describe_status(status) == words
