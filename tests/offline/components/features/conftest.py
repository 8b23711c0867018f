"""The workshops of the tests of removal."""

from offline.components.removal.conftest import workshop, workshops

__all__ = ["workshop", "workshops"]
