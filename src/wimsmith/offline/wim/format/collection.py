"""Building many objects that all stay: the collector of cycles would go through them in vain."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Let Python not look for unused cycles in here; it halves the time of parsing metadata.

    Several threads may do so at once: whoever ends first lets the collector run again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
