"""Unusual files: they are read as they are, or a message says what they are and what to do next.

What to do is a command; the test runs it and looks at what comes out.
"""

import re
import shlex
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from wimsmith.cli.main import run
from wimsmith.errors import NotFound, NotSupported
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim

FLAGS_AT, VERSION_AT, CHUNK_SIZE_AT, XML_AT = 16, 12, 20, 72
CONTENT = b"some text that is packed well " * 9000


def imagex(*arguments: object) -> None:
    done = subprocess.run(["wimlib-imagex", *map(str, arguments)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "text").write_bytes(CONTENT)
    (folder / "other").write_bytes(bytes(range(256)) * 3000)
    return folder


def patched(path: Path, offset: int, data: bytes) -> Path:
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(data)] = data
    path.write_bytes(whole)
    return path


def split(folder: Path, target: Path) -> Path:
    whole = target.with_name("whole.wim")
    imagex("capture", folder, whole, "--compress=none")
    imagex("split", whole, target.with_suffix(".swm"), "0.3")
    whole.unlink()
    return target.with_suffix(".swm")


def scattered(folder: Path, target: Path) -> Path:
    """A split set of which the other parts are in another folder."""
    path = split(folder, target)
    for part in list(path.parent.glob("source?.swm")):
        (path.parent / "elsewhere").mkdir(exist_ok=True)
        part.rename(path.parent / "elsewhere" / part.name)
    return path


def pipable(folder: Path, target: Path) -> Path:
    imagex("capture", folder, target, "--pipable")
    return target


def of_huge_chunks(folder: Path, target: Path) -> Path:
    """Said to be packed in chunks of 128 MiB; the file in it is smaller than any."""
    imagex("capture", folder, target, "--compress=lzms", "--chunk-size=1M")
    return patched(target, CHUNK_SIZE_AT, struct.pack("<I", 1 << 27))


def unfinished(folder: Path, target: Path) -> Path:
    imagex("capture", folder, target)
    flags = struct.unpack_from("<I", target.read_bytes(), FLAGS_AT)[0]
    return patched(target, FLAGS_AT, struct.pack("<I", flags | 0x40))


def solid(folder: Path, target: Path) -> Path:
    imagex("capture", folder, target, "--solid")
    return target


def delta(folder: Path, target: Path) -> Path:
    """Holds a new file; `text` is in the base only."""
    imagex("capture", folder, target.with_name("base.wim"))
    (folder / "new").write_bytes(b"new")
    imagex("capture", folder, target, f"--delta-from={target.with_name('base.wim')}")
    return target


def of_other_version(folder: Path, target: Path) -> Path:
    imagex("capture", folder, target)
    return patched(target, VERSION_AT, struct.pack("<I", 0x10E00))


def of_other_compression(folder: Path, target: Path) -> Path:
    imagex("capture", folder, target)
    return patched(target, FLAGS_AT, struct.pack("<I", 0x200002))


def encrypted(folder: Path, target: Path) -> Path:
    """As downloads of Windows setup programs are: the XML says so, all else is not readable."""
    imagex("capture", folder, target)
    document = "<WIM><ESD><ENCRYPTED/></ESD></WIM>".encode("utf-16")
    place = struct.pack("<7sBQQ", len(document).to_bytes(7, "little"), 2, 208, len(document))
    return patched(patched(target, XML_AT, place), 208, document)


@pytest.mark.parametrize("make", [split, pipable, solid])
def test_unusual_files_are_read_as_they_are(
    folder: Path,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    make: Callable[[Path, Path], Path],
) -> None:
    source, target = make(folder, tmp_path / "source.wim"), tmp_path / "target.wim"
    for verb in (["info"], ["ls", "1"], ["verify"]):
        assert run(["wim", verb[0], str(source), *verb[1:]]) == 0
    capfdbinary.readouterr()
    assert run(["wim", "cat", str(source), "1", "text"]) == 0
    assert capfdbinary.readouterr().out == CONTENT
    assert run(["wim", "export", str(source), "all", str(target), "--compress", "lzx"]) == 0
    imagex("verify", target)


KINDS: list[tuple[Callable[[Path, Path], Path], list[str], str]] = [
    (scattered, ["info"], "part 1 of a split set of 3 files; missing beside it: 2 (source2.swm)"),
    (unfinished, ["info"], "another program is writing the file, or was stopped"),
    (of_huge_chunks, ["info"], "LZMS chunks of 134217728 bytes, more than 67108864"),
    (delta, ["cat", "1", "text"], "which may be a delta WIM"),
]


@pytest.mark.parametrize(("make", "verb", "what"), KINDS)
def test_the_command_in_the_hint_makes_a_file_that_is_read(
    folder: Path,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    make: Callable[[Path, Path], Path],
    verb: list[str],
    what: str,
) -> None:
    source, target = make(folder, tmp_path / "source.wim"), tmp_path / "target.wim"
    hint = refused(capfdbinary, source, verb, what)
    follow(hint, source, target)
    assert run(["wim", "cat", str(target), "1", "text"]) == 0
    assert capfdbinary.readouterr().out.endswith(CONTENT)
    assert run(["wim", "verify", str(target)]) == 0


@pytest.mark.parametrize(
    ("make", "what", "remedy"),
    [
        (of_other_version, "a WIM of version 0x10e00", "dism /Export-Image"),
        (of_other_compression, "compression flags 0x200002", "dism /Export-Image"),
        (encrypted, "an encrypted ESD file", "ISO"),
    ],
)
def test_what_only_other_systems_can_change_says_where(
    folder: Path,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    make: Callable[[Path, Path], Path],
    what: str,
    remedy: str,
) -> None:
    assert remedy in refused(capfdbinary, make(folder, tmp_path / "x.wim"), ["info"], what)


def test_odd_chunks_are_read_and_a_copy_gets_usual_ones(
    folder: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    source, target = tmp_path / "wide.wim", tmp_path / "target.wim"
    imagex("capture", folder, source, "--compress=lzx", "--chunk-size=64K")
    assert run(["wim", "cat", str(source), "1", "text"]) == 0
    assert capfdbinary.readouterr().out == CONTENT
    arguments = ["wim", "export", str(source), "all", str(target)]
    assert run([*arguments, "--chunk-size", "64K"]) == NotSupported.exit
    assert "LZX chunks of 65536 bytes" in capfdbinary.readouterr().err.decode()
    assert run(arguments) == 0
    with open_wim(target) as wim:
        assert (wim.compression, wim.chunk_size) == (Compression.LZX, 32768)


def refused(capture: pytest.CaptureFixture[bytes], source: Path, verb: list[str], what: str) -> str:
    """The hint of a refusal that says what the file is, and names it once."""
    code = run(["wim", verb[0], str(source), *verb[1:]])
    assert code in {NotSupported.exit, NotFound.exit}
    error, _, hint = capture.readouterr().err.decode().partition("\nhint: ")
    assert what in error
    assert error.count(str(source)) == 1
    return hint


def follow(hint: str, source: Path, target: Path) -> None:
    """Run the command that a hint names, with names put in."""
    found = re.search("`(.*?)`", hint)
    assert found is not None
    parts = sorted(str(part) for part in source.parent.glob("**/*.swm"))
    names = {
        "SOURCE": [str(source)],
        "INDEX": ["all"],
        "TARGET": [str(target)],
        "PART...": parts,
        "BASE": [str(source.with_name("base.wim"))],
    }
    program, *words = [name for word in shlex.split(found[1]) for name in names.get(word, [word])]
    if program == "wimsmith":
        assert run(words) == 0
    else:
        assert program == "wimlib-imagex"
        imagex(*words)
