"""Progress of long engine work: the one interface from the bottom of the engine to the user."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """How far one phase of a long operation is.

    `total` is 0 while it is not known. `unit` is "bytes", "files" or "items".
    """

    phase: str
    done: int = 0
    total: int = 0
    unit: str = "items"

    @property
    def fraction(self) -> float | None:
        """Share done between 0 and 1, or None while the total is not known."""
        return min(self.done / self.total, 1.0) if self.total else None


Progress = Callable[[Event], None]
"""Called often; may raise `wimsmith.errors.Cancelled`, which unwinds the operation."""


def silent(_event: Event) -> None:
    """Progress for callers who do not watch."""
