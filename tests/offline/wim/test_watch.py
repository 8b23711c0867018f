"""Cancelling one operation that works in several threads."""

import threading

import pytest

from wimsmith.errors import Cancelled
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.writing.watch import Watch


@pytest.mark.parametrize("ask", ["tell", "beat"])
def test_a_wish_that_one_thread_sees_ends_the_others(ask: str) -> None:
    def cancel(_event: Event) -> None:
        raise Cancelled("by alice")

    watch, ended = Watch(cancel), threading.Event()

    def work() -> None:
        watch.beat()  # before the wish is seen
        waiting.set()
        seen.wait(10)
        try:
            watch.beat()
        except Cancelled:
            ended.set()

    waiting, seen = threading.Event(), threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    assert waiting.wait(10)
    with pytest.raises(Cancelled, match="by alice"):
        watch.tell(Event("compress")) if ask == "tell" else watch.beat()
    seen.set()
    thread.join(10)
    assert ended.is_set()
