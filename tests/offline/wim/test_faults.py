"""A fault at every call that changes the disk: the old file or the new one, and nothing else."""

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offline.wim.images import TIMES, rich, sha1
from offline.wim.judges import accept
from wimsmith.errors import NotEnoughSpace
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.verbs.split import split_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec
from wimsmith.offline.wim.writing.write import write_wim

CALLS = ("pwrite", "copy_file_range", "ftruncate", "fsync", "replace", "link", "unlink")
NEW = b"new content " * 5000
Work = Callable[[Path], None]


class Faults:
    """Counts calls that change the disk, and lets one of them fail."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: Counter[str] = Counter()
        self.failing: tuple[str, int] | None = None
        self.code = errno.EIO
        for name in CALLS:
            patch.setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.seen[name] += 1
            if self.failing == (name, self.seen[name]):
                raise OSError(self.code, os.strerror(self.code))
            return real(*arguments, **named)

        return call

    def points(self, work: Work, folder: Path) -> list[tuple[str, int]]:
        self.seen.clear()
        work(folder)
        return [(name, number + 1) for name in CALLS for number in range(self.seen[name])]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base" / "base.wim"
    path.parent.mkdir()
    practice = rich()
    write_wim(path, trees={1: practice.tree}, new_content=practice.content, codec=LibwimCodec())
    return path


def edit(base: Path, target: Path) -> None:
    codec = LibwimCodec()
    with open_wim(base, codec) as wim:
        tree = wim.tree(1)
        tree.put_file("new.txt", sha1(NEW), times=TIMES)
        new = {sha1(NEW): NEW}
        write_wim(
            target, base=wim, trees={1: tree}, new_content=new, overwrite=True, guid=bytes(16)
        )


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["broken", "full"])
def test_a_file_is_the_old_or_the_new_one_whatever_call_fails(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    target = folder / "target.wim"
    old = base.read_bytes()
    faults = Faults(monkeypatch)
    target.write_bytes(old)
    points = faults.points(lambda folder: edit(base, folder / "target.wim"), folder)
    assert {name for name, _ in points} >= {"pwrite", "fsync", "replace", "ftruncate"}
    accept(target)
    faults.code = code
    outcomes: Counter[tuple[str, str]] = Counter()
    for name, number in points:
        target.write_bytes(old)
        faults.seen.clear()
        faults.failing = name, number
        try:
            edit(base, target)
            outcome = "done"
        except (OSError, NotEnoughSpace) as error:
            outcome = type(error).__name__
        faults.failing = None
        outcomes[name, outcome] += 1
        now = target.read_bytes()
        assert now == old or outcome == "done" or (name == "fsync" and len(now) > len(old)), name
        if now != old:
            accept(target)
        assert [path.name for path in folder.iterdir()] == ["target.wim"], (name, number)
    kind = "NotEnoughSpace" if code == errno.ENOSPC else "OSError"
    assert {outcome for _, outcome in outcomes} <= {kind, "done"}
    print(dict(outcomes))  # noqa: T201 - which phases were reached, for whoever runs it


def test_a_set_is_there_or_not_whatever_call_fails(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def split(folder: Path) -> None:
        split_wim(base, folder / "part.swm", 60_000, check=False)

    faults = Faults(monkeypatch)
    points = [point for point in faults.points(split, folder) if point[0] != "unlink"]
    whole = sorted(path.name for path in folder.iterdir())
    assert len(whole) > 2
    for name, number in points:
        for path in folder.iterdir():
            path.unlink()
        faults.seen.clear()
        faults.failing = name, number
        with contextlib.suppress(OSError):
            split(folder)
        faults.failing = None
        left = sorted(path.name for path in folder.iterdir())
        assert left in ([], whole), (name, number)


def test_the_calls_that_can_fail_include_conversion(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packing anew writes through the same calls, none of which goes unseen."""
    faults = Faults(monkeypatch)
    practice = rich()

    def pack(folder: Path) -> None:
        write_wim(
            folder / "new.wim",
            trees={1: practice.tree},
            new_content=practice.content,
            codec=LibwimCodec(),
            compression=Compression.XPRESS,
        )

    points = faults.points(pack, tmp_path)
    (tmp_path / "new.wim").unlink()
    for name, number in points:
        if name in {"link", "unlink"}:
            continue
        faults.seen.clear()
        faults.failing = name, number
        with pytest.raises(OSError, match="Input/output error"):
            pack(tmp_path)
        faults.failing = None
        (tmp_path / "new.wim").unlink(missing_ok=True)
        assert [path.name for path in tmp_path.iterdir()] == ["base"], (name, number)
