"""Asking for the health of an image file."""

from pathlib import Path

from wimsmith.offline.components.verification.examine import examine
from wimsmith.offline.components.verification.report import HealthReport
from wimsmith.offline.image import open_view
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec


def examined(path: Path, *, content: bool = True) -> HealthReport:
    with WorkerCodec() as codec, open_wim(path, codec) as wim:
        return examine(open_view(wim, 1), content=content)


def codes(report: HealthReport) -> set[str]:
    return {one.code for one in report.problems}
