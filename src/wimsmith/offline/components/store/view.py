"""What the component engine needs of an image: `wimsmith.offline.image.ImageView` has it."""

from typing import Protocol

from wimsmith.offline.registry.hive import Hive
from wimsmith.offline.wim.format.tree import Entry


class View(Protocol):
    """Files and hives of one index, read-only."""

    def find(self, path: str) -> Entry | None:
        """The entry at `path`, or None."""

    def exists(self, path: str) -> bool:
        """Whether there is an entry at `path`."""

    def read(self, path: str) -> bytes:
        """Content of the file at `path`."""

    def hive(self, name: str) -> Hive:
        """The hive with a mount name such as SOFTWARE."""

    def has_hive(self, name: str) -> bool:
        """Whether the image has that hive."""
