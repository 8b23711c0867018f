"""The compiled form of the decoder: made from the sources at hand, or not at all."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from offline.packages.interpreted import DECODER, interpreted, is_compiled

ROOT = Path(__file__).resolve().parents[3]


def build_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_compiled_modules_are_those_of_the_sources() -> None:
    if not is_compiled():
        pytest.skip("needs the compiled decoder: sh bin/setup says why it is not there")
    script = build_script()
    assert script.STAMP.read_text() == script.source_digest(), "out of date: sh bin/setup"
    assert set(script.MODULES) <= set(DECODER)


def test_the_interpreted_form_is_the_source() -> None:
    assert all(str(module.__file__).endswith(".py") for module in interpreted().values())


def test_without_a_compiler_one_line_says_so_and_everything_works(tmp_path: Path) -> None:
    shutil.copy(ROOT / "hatch_build.py", tmp_path)
    source = tmp_path / "src" / "wimsmith"
    ignored = shutil.ignore_patterns("*.so", "compiled.sha256", "__pycache__")
    shutil.copytree(ROOT / "src" / "wimsmith", source, ignore=ignored)
    done = subprocess.run(
        [sys.executable, "hatch_build.py"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "no C compiler" in done.stderr
    assert not list(tmp_path.rglob("*.so"))
    program = "from wimsmith.offline.packages.deltas import bits, delta; print(bits.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(source / "offline" / "packages" / "deltas" / "bits.py")
