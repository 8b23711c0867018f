"""The lines of Windows' own log about what applies, and a way to judge without them.

A run writes them once for each package. A list of all updates of a site for all indexes of an image
would bury them.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

log = logging.getLogger("wimsmith.offline.planning")

_untold: ContextVar[bool] = ContextVar("untold", default=False)


@contextmanager
def untold() -> Iterator[None]:
    """Write no lines while this lasts, in this context only."""
    token = _untold.set(True)
    try:
        yield
    finally:
        _untold.reset(token)


def _is_told(_record: logging.LogRecord) -> bool:
    return not _untold.get()


log.addFilter(_is_told)
