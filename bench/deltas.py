"""Expanding PA30 deltas: the compiled decoder and the same source interpreted.

With the real files: the 3.26 MB manifest, the programs of KB2999226 one by one, and all of its 118
files through the child process. Without them: a made manifest of the same size.
"""

import random
from collections.abc import Callable
from pathlib import Path

from bench.rows import REAL, Row, measure
from offline.packages.indexed import Index, real_indexes
from offline.packages.interpreted import interpreted, is_compiled
from offline.packages.made import Copy, delta, patch_stream
from wimsmith.offline.packages.deltas import delta as installed

Apply = Callable[..., bytes]
_MANIFEST_ROUNDS = 10
_MADE_BYTES = 3_000_000


def run(work: Path) -> list[Row]:
    """One row per input and form of the decoder."""
    in_python: Apply = interpreted()["delta"].apply_delta
    forms = [("interpreted", in_python)]
    if is_compiled():
        forms.append(("compiled", installed.apply_delta))
    base, stored = _manifest()
    rows = [
        measure(
            f"manifest, {form}",
            lambda apply=apply: _many(apply, base, stored),
            peer="manifest, interpreted" if form == "compiled" else None,
        )
        for form, apply in forms
    ]
    return rows + (_package(work, forms) if REAL.is_dir() else [])


def _manifest() -> tuple[bytes, bytes]:
    if not REAL.is_dir():
        return _made_manifest()
    stored = next((REAL / "dcm").glob("wow64_*.manifest")).read_bytes()
    return (REAL / "dcm" / "base_manifest.bin").read_bytes(), stored[4:]


def _made_manifest() -> tuple[bytes, bytes]:
    """Words and copies of what came before, about as in a manifest."""
    chance = random.Random(1)
    operations: list[bytes | Copy] = [chance.randbytes(3000)]
    size = 3000
    while size < _MADE_BYTES:
        operations += [chance.randbytes(chance.randrange(1, 5))]
        size += len(operations[-1])  # type: ignore[arg-type]
        length = chance.randrange(10, 300)
        operations.append(Copy(length, distance=chance.randrange(1, 3000)))
        size += length
    made = delta(patch_stream(operations), b"", size=size, digest=b"", algorithm=0)
    return b"", made


def _many(apply: Apply, base: bytes, stored: bytes) -> int:
    return sum(
        len(apply(base, stored, proved_elsewhere=True)) for _round in range(_MANIFEST_ROUNDS)
    )


def _package(work: Path, forms: list[tuple[str, Apply]]) -> list[Row]:
    _name, index, _expected = next(iter(real_indexes(REAL, work)))
    folder = work / "expanded"
    folder.mkdir()
    paths = index.expand(folder)
    rows = [
        measure(
            f"programs of KB2999226, {form}",
            lambda apply=apply: _programs(apply, index, paths),
            peer="programs of KB2999226, interpreted" if form == "compiled" else None,
        )
        for form, apply in forms
    ]
    again = work / "again"
    again.mkdir()
    rows.append(measure("all files of KB2999226, child process", lambda: _all(index, again)))
    return rows


def _programs(apply: Apply, index: Index, paths: dict[int, Path]) -> int:
    """Expand each delta between programs against the base that is there already."""
    total = 0
    for stored, kind, basis in index.sources.values():
        if kind == "PA30" and stored is not None and basis is not None:
            total += len(apply(paths[basis].read_bytes(), stored.read_bytes()))
    return total


def _all(index: Index, folder: Path) -> int:
    return sum(path.stat().st_size for path in index.expand(folder).values())
