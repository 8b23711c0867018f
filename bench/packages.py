"""Expanding update packages: plain cabinets against cabextract and 7-Zip, and a whole index.

With the real files: the cabinets of an optional package, and KB2999226 from `.msu` to 118 files.
Without them, made packages; the cabinet holds programs and text, packed as MSZIP.
"""

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.rows import REAL, Row, measure
from wimsmith.offline.packages.containers.cabinet import expand_cabinet
from wimsmith.offline.packages.package import expand
from wimsmith.practice.cabinet import build_cabinet
from wimsmith.practice.presets import preset
from wimsmith.practice.updates import build_update

_MADE_FILES = 200
_MADE_FILE_BYTES = 500_000
_OTHERS = {
    "cabextract": ["cabextract", "-q", "-d", "{target}", "{cabinet}"],
    "7z": ["7z", "x", "-y", "-o{target}", "{cabinet}"],
}


def run(work: Path) -> list[Row]:
    """One row per cabinet and program, and one per package with an index."""
    rows = []
    for name, cabinet in _cabinets(work):
        ours = f"{name}, wimsmith"
        rows.append(measure(ours, _fresh(work, lambda to, one=cabinet: expand_cabinet(one, to))))
        for program, arguments in _OTHERS.items():
            if shutil.which(program):
                do = _fresh(work, lambda to, one=cabinet, how=arguments: _other(how, one, to))
                rows.append(measure(f"{name}, {program}", do, peer=ours))
    update = _indexed(work)
    rows.append(measure(f"{update.stem}, all", _fresh(work, lambda to: expand(update, to))))
    return rows


def _cabinets(work: Path) -> Iterator[tuple[str, Path]]:
    if REAL.is_dir():
        yield "package of 292 kB", next((REAL / "cbs").glob("*amd64~~.cab"))
    made = work / "made.cab"
    measure("making it", lambda: _make(made))  # in a process of its own, so that this stays small
    yield "made cabinet", made


def _make(target: Path) -> int:
    chance = random.Random(1)
    words = [chance.randbytes(chance.randrange(2, 12)) for _ in range(5000)]
    files = {
        f"folder\\{number}.dll": b"".join(chance.choices(words, k=_MADE_FILE_BYTES // 7))
        for number in range(_MADE_FILES)
    }
    return target.write_bytes(build_cabinet(files))


def _indexed(work: Path) -> Path:
    if REAL.is_dir():
        return next((REAL / "msu").glob("*KB2999226*.msu"))
    return build_update(preset("container-index"), work / "container-index.cab")


def _other(arguments: list[str], cabinet: Path, target: Path) -> None:
    filled = [one.format(target=target, cabinet=cabinet) for one in arguments]
    subprocess.run(filled, check=True, capture_output=True)


def _fresh(work: Path, do: Callable[[Path], object]) -> Callable[[], int]:
    """Expand into a folder that is not there yet; count what is in it, and remove it."""

    def run_once() -> int:
        target = work / "expanded"
        try:
            do(target)
            return sum(one.stat().st_size for one in target.rglob("*") if one.is_file())
        finally:
            shutil.rmtree(target, ignore_errors=True)

    return run_once
