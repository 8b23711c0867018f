"""Fixtures of the tests of verbs on whole files."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from offline.wim.verbs import children, fingerprint, imagex, make_tree, meet_strangers, strays


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WIM of three images, the third bootable; as a session file, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    tree, wim = make_tree(folder / "tree"), folder / "three.wim"
    imagex("capture", tree, wim, "One", "the first", "--compress=LZX")
    (tree / "second.txt").write_text("only in the second\n" * 3000)
    imagex("append", tree, wim, "Two", "the second")
    (tree / "Windows/System32/third.dll").write_bytes(os.urandom(40_000))
    imagex("append", tree, wim, "Three", "the third", "--boot")
    return wim


@pytest.fixture
def wim(made: Path, tmp_path: Path) -> Iterator[Path]:
    """The same in a folder of its own, read-only; whatever the test does, it stays as it is."""
    meet_strangers()
    source = tmp_path / "source" / "three.wim"
    source.parent.mkdir()
    shutil.copy(made, source)
    source.chmod(0o444)
    before = fingerprint(source)
    yield source
    assert fingerprint(source) == before
    assert strays(source.parent) == []
    assert children() == []


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WIM whose content unpacks to 300 MB and takes long to pack anew."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "tree").mkdir()
    line = b"%d is a number among many others, and this is the text about it;"
    block = b"".join(line % (number * 7919 % 65_521) for number in range(16_000))
    for number in range(300):
        with (folder / f"tree/{number}.txt").open("wb") as file:
            file.write(b"%d" % number + block)
    imagex("capture", folder / "tree", folder / "large.wim", "Large", "--compress=XPRESS:10")
    shutil.rmtree(folder / "tree")
    return folder / "large.wim"
