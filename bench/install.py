"""Installing an update of 100 components into a store of 10,000, and a newer version of all 1,000
components of one that is there.

What is expanding, what deciding and what writing are rows of their own. Bytes are those of the
files that the update brings; of rows that write, those of the new file.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.rows import Row, measure
from bench.stores import MAKER, component, large_store, package, replaced, signer
from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.commit import commit
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.image import open_view
from wimsmith.offline.packages.package import expand
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.workers.budget import codec_workers
from wimsmith.offline.wim.workers.worker import CodecPool, WorkerCodec
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import PackageSpec
from wimsmith.practice.updates import build_update

_NOW = 133_600_000_000_000_000
_PER_COMPONENT_BYTES = 6_000
_NEW = 100


def run(work: Path) -> list[Row]:
    """Rows of both updates, and of the same files put in by wimlib."""
    image, root = large_store(work), signer(work)
    new = [component(f"Practice-New-{number:05}", 300) for number in range(_NEW)]
    updates = {
        f"{_NEW} new": package("KB7777778", "10.0.1.0", new),
        "1000 newer": package("KB7777777", "10.0.1.3", replaced(3)),
    }
    rows = []
    for number, (name, spec) in enumerate(updates.items()):
        count = sum(len(one.deployment.components) for one in spec.updates if one.deployment)
        size_bytes = count * _PER_COMPONENT_BYTES
        update = work / f"{number}.cab"
        measure("making it", partial(_build, spec, update, root))  # so that this stays small
        put, target = f"{name}, wimlib: copy, add the files", work / "target.wim"
        fresh = partial(target.unlink, missing_ok=True)
        decide = partial(_decide, image, update, root, size_bytes)
        write = partial(_install, image, update, root, target)
        rows += [
            measure(f"{name}, expanding", partial(_expand, update, size_bytes)),
            measure(f"{name}, deciding", decide),
            measure(put, partial(_put, image, update, target), prepare=fresh),
            measure(f"{name}, with commit", write, prepare=fresh, peer=put),
        ]
        fresh()
    return rows


def _build(spec: PackageSpec, target: Path, root: PracticeRoot) -> int:
    return build_update(MAKER.update(spec.identifier, spec), target, root=root).stat().st_size


def _expand(update: Path, size_bytes: int) -> int:
    with tempfile.TemporaryDirectory(dir=update.parent) as folder:
        expand(update, Path(folder))
    return size_bytes


@contextmanager
def _applied(image: Path, update: Path, root: PracticeRoot) -> Iterator[tuple[Wim, ChangeSet]]:
    trust = TrustPolicy(Anchors(), test=Anchors((root.certificate,)), allow_test_roots=True)
    with (
        tempfile.TemporaryDirectory(dir=update.parent) as folder,
        WorkerCodec() as codec,
        open_wim(image, codec) as wim,
    ):
        expanded = expand(update, Path(folder))
        outcome = apply(expanded, open_view(wim, 1), ApplyOptions(trust, _NOW))
        assert outcome.changes is not None, outcome.findings
        yield wim, outcome.changes


def _decide(image: Path, update: Path, root: PracticeRoot, size_bytes: int) -> int:
    with _applied(image, update, root) as (_, changes):
        assert changes
    return size_bytes


def _install(image: Path, update: Path, root: PracticeRoot, target: Path) -> int:
    with _applied(image, update, root) as (wim, changes):
        workers = codec_workers(wim.compression, wim.chunk_size)
        with CodecPool(workers) as codec:
            commit(wim, {1: [changes]}, target, codec=codec, modified=_NOW)
    return target.stat().st_size


def _put(image: Path, update: Path, target: Path) -> int:
    """What writing alone takes: a copy, with as many files of the update added as it brings."""
    with tempfile.TemporaryDirectory(dir=update.parent) as folder:
        expand(update, Path(folder) / "update")
        shutil.copy(image, target)
        command = ["wimlib-imagex", "update", str(target), "1", "--rebuild"]
        command += ["--command", f'add "{folder}/update" /Windows/Added']
        subprocess.run(command, check=True, capture_output=True)
    return target.stat().st_size
