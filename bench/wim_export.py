"""Exporting an image: packed as it is, packed anew, and packed together."""

import subprocess
from functools import partial
from pathlib import Path

from bench.inputs import large_image, small_image
from bench.rows import Row, measure
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.verbs.export import export_images
from wimsmith.offline.wim.writing.making import AS_IT_IS, Packing

_RUNS = 2
_LEVEL = 20


def run(work: Path) -> list[Row]:
    """The large image as it is; the small one as LZX of level 20, and solid."""
    large, small, target = large_image(work), small_image(work), work / "target.wim"
    fresh = partial(target.unlink, missing_ok=True)
    anew = Packing(level=_LEVEL, recompress=True)
    solid = Packing(compression=Compression.LZMS, solid=True)
    cases = [
        ("as it is", large, [], AS_IT_IS, _RUNS),
        (f"LZX:{_LEVEL} anew", small, [f"--compress=LZX:{_LEVEL}", "--recompress"], anew, _RUNS),
        ("solid", small, ["--solid"], solid, 1),
    ]
    rows = []
    for name, image, options, packing, runs in cases:
        theirs = f"wimlib-imagex export, {name}"
        do = partial(_by_wimlib, image, target, options)
        rows.append(measure(theirs, do, runs=runs, prepare=fresh))
        ways = (
            [("export", False), ("export and check", True)]
            if image is large
            else [("export and check", True)]
        )
        for way, check in ways:
            do = partial(_by_us, image, target, packing, check=check)
            rows.append(measure(f"{way}, {name}", do, peer=theirs, runs=runs, prepare=fresh))
    fresh()
    return rows


def _by_us(image: Path, target: Path, packing: Packing, *, check: bool) -> int:
    export_images(image, [1], target, packing=packing, check=check)
    return image.stat().st_size


def _by_wimlib(image: Path, target: Path, options: list[str]) -> int:
    subprocess.run(
        ["wimlib-imagex", "export", image, "1", target, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return image.stat().st_size
