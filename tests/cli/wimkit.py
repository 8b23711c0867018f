"""Running `wimsmith wim` in this process, and a file with two images to run it on."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from wimsmith.cli.main import run

TEXT = b"text of a file\r\n\x00\xff" * 100


def imagex(*arguments: object) -> None:
    subprocess.run(["wimlib-imagex", *map(str, arguments)], check=True, capture_output=True)


def printed(capsys: pytest.CaptureFixture[str], *tokens: object, code: int = 0) -> str:
    """What a command prints on stdout, which ends with `code`."""
    ended = run(["wim", *map(str, tokens)])
    captured = capsys.readouterr()
    assert ended == code, captured.err
    return captured.out


def document(capsys: pytest.CaptureFixture[str], *tokens: object, code: int = 0) -> Any:
    return json.loads(printed(capsys, *tokens, "--json", code=code))


def failed(capsys: pytest.CaptureFixture[str], *tokens: object) -> tuple[int, str]:
    """Exit code and stderr of a command that must print nothing else."""
    code = run(["wim", *map(str, tokens)])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


def two_images(folder: Path) -> Path:
    """A file with two images, packed by wimlib, the second with one file more."""
    system = folder / "tree/Windows/System32"
    system.mkdir(parents=True)
    (system / "text.bin").write_bytes(TEXT)
    (system / "twin.bin").hardlink_to(system / "text.bin")
    (folder / "tree/setup.exe").write_bytes(b"MZ" * 5000)
    path = folder / "two.wim"
    imagex("capture", folder / "tree", path, "Base", "--compress=LZX")
    (folder / "tree/extra.txt").write_text("extra")
    imagex("append", folder / "tree", path, "Extra")
    return path
