"""What has been found out about an image once, kept for as long as its view is in use.

Reading a whole store takes seconds, and many updates go into one image. What a view was found to be
before the first change holds afterwards: changes of the engine are checked where they are made.
"""

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from wimsmith.offline.components.gate.calibration import FAMILIES_ONLY, calibrate
from wimsmith.offline.components.gate.report import CalibrationReport
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.store.view import View
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.verdicts import Finding

_REPORTS: WeakKeyDictionary[View, CalibrationReport] = WeakKeyDictionary()


def calibrated(store: Store, progress: Progress = silent) -> CalibrationReport:
    """The calibration report of an image, made when first asked for; raises as `calibrate`."""
    view = store.draft.view
    if view not in _REPORTS:
        _REPORTS[view] = calibrate(store, progress)
    return _REPORTS[view]


def remember(view: View, report: CalibrationReport) -> None:
    """Take as the report of an image what has been found out about it under another view."""
    _REPORTS[view] = report


def calibration_findings(
    store: Store, families: Iterable[AssemblyIdentity] = (), progress: Progress = silent
) -> tuple[Finding, ...]:
    """What calibration has against writing into an image.

    Args:
        store: the image before the change that is about to be written.
        families: components and packages that the change touches; they are looked at each time.
        progress: told of what is read; may raise to cancel.

    Raises: as `calibrate`.
    """
    base = calibrated(store, progress)
    touched = calibrate(store, progress, families=families, sample=FAMILIES_ONLY)
    return tuple({one.code: one for one in (*touched.findings, *base.findings)}.values())
