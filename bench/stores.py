"""A component store as large as that of a Windows, made once; see `inputs.py` for where.

10,000 components with two files, a key and two values each: 8,000 of a Windows that is 40 packages,
1,000 of an update, and 1,000 of the version of it that has superseded that. A quarter of the
manifests are compressed against a text in the servicing stack, as later Windows keep all of them.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.inputs import kept
from offline.components.test_compressed import BASE, compressed
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.workers import budget
from wimsmith.offline.wim.workers.worker import CodecPool
from wimsmith.offline.wim.writing.write import write_wim
from wimsmith.practice.content import ContentPool
from wimsmith.practice.generations import facts
from wimsmith.practice.image import image_model, package_assembler
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.root import PracticeRoot, practice_root
from wimsmith.practice.spec import (
    ComponentSpec,
    FileSpec,
    Generation,
    ImageSpec,
    KeySpec,
    PackageSpec,
    PackageState,
    UpdateEntry,
    ValueSpec,
)
from wimsmith.practice.writer import TreeMaker, put_hives

INBOX, REPLACED = 8_000, 1_000
PER_DEPLOYMENT = 50
MANIFESTS = "Windows/WinSxS/Manifests"
MAKER = Maker(Generation.WINDOWS_10)
_INBOX_PACKAGES = 40
_COMPRESSED_EVERY = 4
_KEYS = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Practice"


def large_store(work: Path) -> Path:
    """A LZX file with one image that has the store."""
    return kept(work, "store.wim", _make)


def signer(work: Path) -> PracticeRoot:
    """The root that signed what is in the store."""
    folder = work.parent / "inputs"
    folder.mkdir(exist_ok=True)
    return practice_root(folder)


def component(name: str, revision: int) -> ComponentSpec:
    """A component with two files of 6,000 bytes together, a key and two values."""
    lower = name.lower()
    files = tuple(
        FileSpec(f"{lower}{suffix}", program(f"{name} {revision} {suffix}", 3_000))
        for suffix in (".dll", ".exe")
    )
    values = (
        ValueSpec("Version", "REG_DWORD", f"0x{revision:08x}"),
        ValueSpec("Path", "REG_EXPAND_SZ", rf"%SystemRoot%\System32\{lower}.dll"),
    )
    return replace(
        MAKER.component(name, revision), files=files, keys=(KeySpec(rf"{_KEYS}\{name}", values),)
    )


def package(
    article: str, version: str, components: list[ComponentSpec], **changes: object
) -> PackageSpec:
    """A package with an update for every 50 components."""
    revision = components[0].identity.version.rpartition(".")[2]
    updates = [
        UpdateEntry(
            f"{article}-{start}",
            MAKER.deployment(
                f"Practice-{article}-{start}",
                int(revision),
                *components[start : start + PER_DEPLOYMENT],
            ),
        )
        for start in range(0, len(components), PER_DEPLOYMENT)
    ]
    return MAKER.package(article, version, *updates, **changes)


def replaced(step: int) -> list[ComponentSpec]:
    """A version of the components that an update, and a later one of it, brings."""
    return [component(f"Practice-Replaced-{number:05}", 300 + step) for number in range(REPLACED)]


def _packages() -> Iterator[PackageSpec]:
    share = INBOX // _INBOX_PACKAGES
    for number in range(_INBOX_PACKAGES):
        first = number * share
        parts = [component(f"Practice-Inbox-{one:05}", 1) for one in range(first, first + share)]
        yield package(f"KB60000{number:02}", "10.0.1.0", parts, permanence="permanent")
    yield package("KB7777777", "10.0.1.1", replaced(1), state=PackageState.SUPERSEDED)
    yield package("KB7777777", "10.0.1.2", replaced(2), state=PackageState.INSTALLED)


def _make(path: Path) -> None:
    spec = ImageSpec(components=4, base_manifest=BASE, extra_packages=tuple(_packages()))
    with tempfile.TemporaryDirectory(dir=path.parent) as spool:
        pool = ContentPool(Path(spool))
        tree = _tree(spec, pool, practice_root(path.parent))
        with CodecPool(budget.codec_workers(Compression.LZX, 1 << 15)) as codec:
            write_wim(path, trees={1: tree}, new_content=pool.contents, codec=codec)


def _tree(spec: ImageSpec, pool: ContentPool, root: PracticeRoot) -> Tree:
    generation = facts(spec.generation)
    image = image_model(spec, 1, pool, package_assembler(spec, pool, root))
    folder = f"{MANIFESTS}/"
    manifests = sorted(one for one in image.files if one.startswith(folder))
    for name in manifests[::_COMPRESSED_EVERY]:
        data = compressed(pool.read(image.files[name].content.sha1))
        image.files[name] = replace(image.files[name], content=pool.add(data))
    put_hives(image, pool, generation.filetime, version_minor=generation.hive_minor)
    return TreeMaker(image, pool, generation.filetime).tree()
