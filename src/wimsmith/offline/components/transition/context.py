"""One index while a change to what is installed is drafted: before it, and with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.store.siblings import Siblings
from wimsmith.offline.components.store.view import View


@dataclass(frozen=True, slots=True)
class Context:
    """The image as it was (`before`) and as it is being made (`store`, which reads `draft`).

    `siblings` and `reader` look at the image as it was.
    """

    draft: Draft
    store: Store
    before: Store
    siblings: Siblings
    reader: ManifestReader

    @classmethod
    def of(cls, view: View, spool: Path, now: int) -> Self:
        """Start a draft of `view`; new content is kept below `spool`, new files carry `now`.

        Raises:
            DamagedHive, NotFound: the image is not one of Windows, or cannot be read.
        """
        draft = Draft(view, spool, now)
        before = Store(Draft(view, spool, now))
        return cls(draft, Store(draft), before, Siblings(before), ManifestReader(before))
