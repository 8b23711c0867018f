"""Snapshots of component stores, taken where an image is at hand."""

import os
from pathlib import Path

from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.store.view import View
from wimsmith.offline.planning.snapshot import Snapshot, take

_NO_SPOOL = Path(os.devnull)
"""A draft that is only read keeps no content."""


def snapshot_of(view: View) -> Snapshot:
    """The state of one index, with what its health says against changing it.

    Raises:
        NotFound: it has no hives of Windows.
        DamagedInput: a hive cannot be read, or does not say which Windows this is.
    """
    store = Store(Draft(view, _NO_SPOOL, 0))
    return take(store, health_findings(store))
