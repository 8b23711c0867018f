"""Reading all content of a WIM and comparing its hashes, against `wimlib-imagex verify`.

The file has an integrity table, which both check as well.
"""

import subprocess
from functools import partial
from pathlib import Path

from bench.inputs import large_image
from bench.rows import Row, measure
from wimsmith.offline.wim.verbs.verify import verify_wim

_RUNS = 2


def run(work: Path) -> list[Row]:
    """Both, with one worker and with all."""
    image = large_image(work)
    theirs = "wimlib-imagex verify"
    return [
        measure(theirs, partial(_by_wimlib, image), runs=_RUNS),
        measure("verify", partial(_by_us, image, None), peer=theirs, runs=_RUNS),
        measure("verify, one worker", partial(_by_us, image, 1), peer=theirs, runs=_RUNS),
    ]


def _by_us(image: Path, workers: int | None) -> int:
    report = verify_wim(image, workers=workers)
    report.check()
    return image.stat().st_size


def _by_wimlib(image: Path) -> int:
    subprocess.run(
        ["wimlib-imagex", "verify", image],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return image.stat().st_size
