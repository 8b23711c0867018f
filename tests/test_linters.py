"""The linters themselves: their exceptions have reasons, and the seams are really checked."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

VIOLATIONS = {
    "offline/paths.py": "import wimsmith.logs",
    "offline/wim/format/header.py": "import wimsmith.offline.registry",
    "practice/names.py": "import wimsmith.offline.manifests",
    "cli/output.py": "import wimsmith.db",
    "cli/image.py": "import wimsmith.images.service",
    "servicing/rules.py": "import sqlalchemy",
    "site/service.py": "import dbos",
    "images/service.py": "import fastapi",
    "updates/service.py": "import wimsmith.servicing.service",
    "storage/folder.py": "import ctypes",
}


def lint_imports(folder: Path, source: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=folder,
        env={"PYTHONPATH": f"{source}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seams")
    shutil.copy(ROOT / ".importlinter", folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_every_rule_that_is_switched_off_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    rules = re.findall(r'^    "([A-Z]+[0-9]*)",(.*)$', text, re.MULTILINE)
    assert rules
    assert [rule for rule, reason in rules if "#" not in reason] == []


def test_every_exception_in_the_code_says_why() -> None:
    bare = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("src", "tests", "docs")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"# noqa(?!: [A-Z0-9, ]+ - \w)", line) and "re.search" not in line
    ]
    assert bare == []


def test_nobody_imports_across_a_seam(copy: Path) -> None:
    done = lint_imports(copy, copy / "src")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("file", "line"), VIOLATIONS.items())
def test_an_import_across_a_seam_is_caught(copy: Path, file: str, line: str) -> None:
    path = copy / "src" / "wimsmith" / file
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before}\n{line}\n", encoding="utf-8")
    try:
        done = lint_imports(copy, copy / "src")
    finally:
        path.write_text(before, encoding="utf-8")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
