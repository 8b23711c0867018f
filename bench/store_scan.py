"""Looking at a store of 10,000 components: calibrating, and examining it with and without content.

Bytes are those of all content of the image; of rows about manifests those of the ones that are not
compressed, of rows about a hive those of the hive.
"""

import hashlib
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.rows import Row, apart, measure
from bench.stores import MANIFESTS, large_store
from wimsmith.offline.components.gate.calibration import DEFAULT_SAMPLE, Sample, calibrate
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.verification.examine import examine
from wimsmith.offline.hiveproof import read_hive
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.manifests.component import parse_component
from wimsmith.offline.planning.snapshot import pack, take
from wimsmith.offline.registry.hive import Hive
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec

_HIVE = "Windows/System32/config/COMPONENTS"
_DCM = b"DCM\x01"
_VERIFY = "wimlib-imagex verify"
_ETREE = "xml.etree, plain manifests"
_HIVEXML = "hivexml, COMPONENTS"


def run(work: Path) -> list[Row]:
    """Rows of ours name a program that reads the same bytes and draws no conclusions."""
    image = large_store(work)
    hive, folder = work / "COMPONENTS", work / "manifests"
    size_bytes = apart(partial(_take_out, image, hive, folder))
    looks: dict[str, Callable[[ImageView], object]] = {
        "opening the image": lambda view: view.hive("SOFTWARE"),
        "gate": lambda view: health_findings(_store(view)),
        "calibrate, sample": partial(_calibrate, DEFAULT_SAMPLE),
        "calibrate, all": partial(_calibrate, None),
        "examine, without content": partial(_examine, content=False),
        "examine": partial(_examine, content=True),
        "snapshot for planning": lambda view: pack(take(_store(view)).as_data()),
        "SHA-1 of all content, nothing else": _hashed,
    }
    return [
        measure(_VERIFY, partial(_verify, image, size_bytes)),
        *(
            measure(name, partial(_looked, image, look, size_bytes), peer=_VERIFY)
            for name, look in looks.items()
        ),
        measure(_ETREE, partial(_parsed, folder, ET.fromstring)),
        measure("plain manifests", partial(_parsed, folder, parse_component), peer=_ETREE),
        measure(_HIVEXML, partial(_walked_by_hivexml, hive)),
        measure("COMPONENTS", partial(_walked, hive), peer=_HIVEXML),
        measure("COMPONENTS, second reader", partial(_read_again, hive), peer=_HIVEXML),
    ]


def _take_out(image: Path, hive: Path, folder: Path) -> int:
    """Take the hive and plain manifests out of the image; the size of all content in bytes."""
    folder.mkdir()
    with WorkerCodec() as codec, open_wim(image, codec) as wim:
        view = open_view(wim, 1)
        hive.write_bytes(view.read(_HIVE))
        names = [one.path for one in view.tree.walk() if one.path.startswith(f"{MANIFESTS}/")]
        for number, (_, data) in enumerate(view.read_many(names)):
            if not data.startswith(_DCM):
                (folder / str(number)).write_bytes(data)
        return sum(blob.size_bytes for blob in wim.blobs.values())


def _store(view: ImageView) -> Store:
    return Store(Draft(view, Path(os.devnull), 0))


def _looked(image: Path, look: Callable[[ImageView], object], size_bytes: int) -> int:
    with WorkerCodec() as codec, open_wim(image, codec) as wim:
        look(open_view(wim, 1))
    return size_bytes


def _calibrate(sample: Sample | None, view: ImageView) -> None:
    report = calibrate(_store(view), sample=sample)
    assert not report.findings, report.findings


def _examine(view: ImageView, *, content: bool) -> None:
    report = examine(view, content=content)
    assert report.is_sound, report.problems


def _hashed(view: ImageView) -> None:
    """Read every file once and hash it, as `verify` does."""
    paths = {one.inode.sha1: one.path for one in view.tree.walk() if one.inode.sha1}
    for _, data in view.read_many(paths.values()):
        hashlib.sha1(data, usedforsecurity=False).digest()


def _verify(image: Path, size_bytes: int) -> int:
    subprocess.run(["wimlib-imagex", "verify", str(image)], check=True, capture_output=True)
    return size_bytes


def _parsed(folder: Path, parse: Callable[[bytes], object]) -> int:
    size_bytes = 0
    for path in folder.iterdir():
        data = path.read_bytes()
        parse(data)
        size_bytes += len(data)
    return size_bytes


def _walked(path: Path) -> int:
    data = path.read_bytes()
    for key in Hive.parse(data).walk():
        for value in key.values():
            len(value.data)
    return len(data)


def _read_again(path: Path) -> int:
    data = path.read_bytes()
    for key in read_hive(data):
        len(key.values)
    return len(data)


def _walked_by_hivexml(path: Path) -> int:
    subprocess.run(["hivexml", str(path)], check=True, stdout=subprocess.DEVNULL)
    return path.stat().st_size
