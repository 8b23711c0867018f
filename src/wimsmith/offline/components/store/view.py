"""What the component engine needs of an image: `wimsmith.offline.image.ImageView` has it."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from wimsmith.offline.registry.hive import Hive
from wimsmith.offline.wim.format.tree import Entry


class View(Protocol):
    """Files and hives of one index, read-only."""

    @property
    def stated_architecture(self) -> int | None:
        """`ARCH` of the description: 0 x86, 5 ARM, 9 amd64, 12 ARM64; None if it says nothing."""

    def find(self, path: str) -> Entry | None:
        """The entry at `path`, or None."""

    def exists(self, path: str) -> bool:
        """Whether there is an entry at `path`."""

    def read(self, path: str) -> bytes:
        """Content of the file at `path`."""

    def read_many(self, wanted: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Path and content of those files that exist, in any order."""

    def hive(self, name: str) -> Hive:
        """The hive with a mount name such as SOFTWARE."""

    def has_hive(self, name: str) -> bool:
        """Whether the image has that hive."""
