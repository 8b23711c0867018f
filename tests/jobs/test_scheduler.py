"""The scheduler loop: one task at a time, woken at once, undisturbed by errors."""

import threading
import time

import pytest

from wimsmith.jobs.scheduler import Scheduler


def test_tasks_run_in_order_and_never_together() -> None:
    seen: list[str] = []
    running = threading.Lock()
    enough = threading.Event()

    def task(name: str) -> None:
        assert running.acquire(blocking=False)
        seen.append(name)
        time.sleep(0.01)
        running.release()
        if len(seen) >= 6:
            enough.set()

    scheduler = Scheduler((lambda: task("a"), lambda: task("b")), interval_s=0.01)
    scheduler.start()
    assert enough.wait(5)
    scheduler.stop()

    assert seen[:6] == ["a", "b", "a", "b", "a", "b"]


def test_waking_does_not_wait_for_the_interval() -> None:
    called = threading.Semaphore(0)
    scheduler = Scheduler((called.release,), interval_s=3600)
    scheduler.start()
    assert called.acquire(timeout=5)

    scheduler.wake()

    assert called.acquire(timeout=5)
    scheduler.stop()


def test_a_failing_task_is_logged_and_called_again(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise RuntimeError("no database")

    scheduler = Scheduler((fail,), interval_s=3600)
    scheduler.tick()
    scheduler.tick()

    assert len(calls) == 2
    assert "Scheduled task fail failed" in caplog.text


def test_a_scheduler_that_never_started_stops() -> None:
    Scheduler((), 1).stop()
