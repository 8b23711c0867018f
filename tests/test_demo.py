"""The demo keeps its word, and tells when it cannot."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from wimsmith.demo import Disappointment, main, sorted_out

DEMO = (sys.executable, "-m", "wimsmith.demo")


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"TMPDIR": str(folder), "PATH": "/usr/bin:/bin"}
    return subprocess.run(DEMO, env=environment, capture_output=True, text=True, check=False)


def test_the_demo_services_an_image_and_shows_before_and_after(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    short = tmp_path_factory.mktemp("d")  # the path of a socket has 107 characters at most
    done = demo(short)
    assert done.returncode == 0, done.stdout + done.stderr
    builds = re.findall(r"index 1: .*, build ([\d.]+)", done.stdout)
    assert len(builds) == 2
    assert builds[0] != builds[1]
    assert "Successful" in done.stdout
    assert "absent -> " in done.stdout
    assert "The source file is untouched" in done.stdout
    assert "experimental" in done.stdout
    (folder,) = short.glob("wimsmith-demo-*")
    assert "Processing started" in (folder / "state/logs/OfflineServicingMgr.log").read_text()
    assert str(folder) in done.stdout


def test_a_service_that_cannot_start_ends_the_demo_with_its_reason(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    done = demo(long)
    assert done.returncode == 1
    assert "the service does not start" in done.stderr
    assert "use a shorter state directory" in done.stderr


def test_files_of_the_user_are_sorted_by_what_they_are(tmp_path: Path) -> None:
    wim, cab, msu = (tmp_path / name for name in ("a.WIM", "b.cab", "c.msu"))
    for path in (wim, cab, msu):
        path.touch()
    assert sorted_out([cab, wim, msu]) == ([wim], [cab, msu])


@pytest.mark.parametrize("names", [("a.iso",), ("missing.wim",), ("a.wim", "b.wim")])
def test_what_the_demo_cannot_use_is_told(
    tmp_path: Path, names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.iso", "a.wim", "b.wim"):
        (tmp_path / name).touch()
    paths = [tmp_path / name for name in names]
    with pytest.raises(Disappointment):
        sorted_out(paths)
    assert main([str(path) for path in paths]) == 1
    assert capsys.readouterr().err.startswith("error: ")
