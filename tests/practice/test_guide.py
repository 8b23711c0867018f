"""The example of the guide does what it says."""

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "practice.md"


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(GUIDE), "exec"), {})
    names = {path.name for path in (tmp_path / "practice").iterdir()}
    assert names == {"practice.wim", "rollup.msu", "practice-root.pem", "practice-root.key"}


def test_every_option_of_the_guide_exists() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    source = (Path(__file__).resolve().parents[2] / "src/wimsmith/cli/practice.py").read_text(
        encoding="utf-8"
    )
    for option in set(re.findall(r"--([a-z-]+)", text)):
        assert re.search(rf"\b{option.replace('-', '_')}\b", source), option
