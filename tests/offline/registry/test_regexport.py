"""`.reg` files that we write: as the Registry Editor would, read by others, and nothing lost."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wimsmith.errors import NotFound, NotSupported
from wimsmith.offline.changes import CreateKey
from wimsmith.offline.hivefile import apply_edits
from wimsmith.offline.registry import Hive, ValueType, encode_dword, encode_multi_text, encode_text
from wimsmith.offline.registry.diff import diff_hives
from wimsmith.offline.registry.regexport import export_reg, export_reg_text
from wimsmith.offline.registry.regfile import RegFile, RegVersion, parse_reg
from wimsmith.offline.registry.roots import RegistryRoots, registry_edits

ROOT = "HKEY_LOCAL_MACHINE\\SOFTWARE"
NOW = 0x01DA_0000_0000_0000
V5 = "Windows Registry Editor Version 5.00\r\n\r\n"


def exported(hive: Hive, path: str = "", root: str = ROOT) -> str:
    data = b"".join(export_reg(hive, root, path))
    assert data.startswith(b"\xff\xfe")
    return data[2:].decode("utf-16-le", "surrogatepass")


def rebuilt(file: RegFile, root: str = ROOT) -> Hive:
    """A new hive that holds what a file asks for and nothing else."""
    hive = Hive.new()
    apply_edits(hive, registry_edits(file.edits, RegistryRoots(mounted={root: "X"})))
    return hive


def one_value(name: str, kind: int, data: bytes) -> str:
    hive = Hive.new()
    hive.set_value("", name, kind, data)
    return exported(hive).removeprefix(f"{V5}[{ROOT}]\r\n").removesuffix("\r\n\r\n")


def test_the_layout_is_that_of_the_registry_editor() -> None:
    """The expected text is what `reg export` of Windows writes, after Wine's conformance tests."""
    hive = Hive.new()
    hive.set_value("Base", "DWORD", ValueType.DWORD, encode_dword(0x100))
    hive.set_value("Base", "String", ValueType.SZ, encode_text("Your text here..."))
    hive.set_value("Base\\Sub1", "Binary", ValueType.BINARY, b"\x11\x22\x33\x44")
    hive.set_value("Base\\Sub1", "Undefined hex", 0x100, b"%PATH%\0")
    hive.set_value("Base\\Sub2", 'double"quote', ValueType.SZ, encode_text('"Hello, World!"'))
    lines = encode_multi_text(["Line1", "Line2", "Line3"])
    hive.set_value("Base\\Sub2", "Multiple strings", ValueType.MULTI_SZ, lines)
    hive.set_value("Base\\Sub2", "", ValueType.SZ, encode_text("Use \\\\ to escape"))
    hive.set_value("Base\\Sub3", "43981", 0xABCD, b"Value\0")
    hive.create_key("Base\\Sub3\\https://example.org")
    assert exported(hive, "base", "hklm\\SOFTWARE") == (
        f"{V5}[{ROOT}\\Base]\r\n"
        '"DWORD"=dword:00000100\r\n"String"="Your text here..."\r\n\r\n'
        f"[{ROOT}\\Base\\Sub1]\r\n"
        '"Binary"=hex:11,22,33,44\r\n"Undefined hex"=hex(100):25,50,41,54,48,25,00\r\n\r\n'
        f"[{ROOT}\\Base\\Sub2]\r\n"
        '"double\\"quote"="\\"Hello, World!\\""\r\n'
        '"Multiple strings"=hex(7):4c,00,69,00,6e,00,65,00,31,00,00,00,4c,00,69,00,6e,\\\r\n'
        "  00,65,00,32,00,00,00,4c,00,69,00,6e,00,65,00,33,00,00,00,00,00\r\n"
        '@="Use \\\\\\\\ to escape"\r\n\r\n'
        f'[{ROOT}\\Base\\Sub3]\r\n"43981"=hex(abcd):56,61,6c,75,65,00\r\n\r\n'
        f"[{ROOT}\\Base\\Sub3\\https://example.org]\r\n\r\n"
    )


@pytest.mark.parametrize(("name", "first"), [("@=hex", 23), ("123456789012", 20), ("n" * 90, 1)])
def test_lines_break_where_the_registry_editor_breaks_them(name: str, first: int) -> None:
    """The numbers of bytes are those of files that Windows wrote."""
    kind = ValueType.EXPAND_SZ if name.startswith("@") else ValueType.BINARY
    text = one_value("" if name.startswith("@") else name, kind, b"\xab" * 80)
    lines = text.split("\r\n")
    assert lines[0].count("ab") == first
    assert all(line.endswith(",\\") and len(line) <= 80 for line in lines[1:-1])
    assert all(line.startswith("  ab,") and line.count("ab") == 25 for line in lines[1:-1])
    assert not lines[-1].endswith((",", "\\"))


def test_a_full_line_at_the_end_stays_open_no_further() -> None:
    assert one_value("", ValueType.BINARY, b"\xab" * 24).count("\r\n") == 0
    assert one_value("", ValueType.BINARY, b"\xab" * 25).count("\r\n") == 1


@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        (ValueType.SZ, b"", '"v"=hex(1):'),
        (ValueType.SZ, b"a\0", '"v"=hex(1):61,00'),
        (ValueType.SZ, b"\0\0", '"v"=""'),
        (ValueType.SZ, encode_text("a") + b"b\0", '"v"=hex(1):61,00,00,00,62,00'),
        (ValueType.SZ, encode_text("a\r\nb"), '"v"=hex(1):61,00,0d,00,0a,00,62,00,00,00'),
        (ValueType.SZ, b"a\0\0", '"v"=hex(1):61,00,00'),
        (ValueType.SZ, encode_text("\ud800"), '"v"="\ud800"'),
        (ValueType.DWORD, b"", '"v"=hex(4):'),
        (ValueType.DWORD, b"\1\2\3\4\5", '"v"=hex(4):01,02,03,04,05'),
        (ValueType.DWORD_BIG_ENDIAN, b"\0\0\0\1", '"v"=hex(5):00,00,00,01'),
        (ValueType.QWORD, b"\1" + bytes(7), '"v"=hex(b):01,00,00,00,00,00,00,00'),
        (ValueType.NONE, b"", '"v"=hex(0):'),
        (ValueType.BINARY, b"", '"v"=hex:'),
        (0xFFFFFFFF, b"x", '"v"=hex(ffffffff):78'),
    ],
)
def test_what_a_text_cannot_say_is_written_as_bytes(kind: int, data: bytes, line: str) -> None:
    assert one_value("v", kind, data) == line


@pytest.mark.parametrize("name", ["a\0b", "a\rb", "a\nb"])
def test_names_that_no_file_can_hold_are_refused(name: str) -> None:
    hive = Hive.new()
    hive.set_value("Fine", "name", ValueType.SZ, encode_text("x"))
    hive.set_value("Bad", name, ValueType.SZ, encode_text("x"))
    with pytest.raises(NotSupported, match="registry-name"):
        exported(hive)
    assert "name" in exported(hive, "Fine")
    if "\0" not in name:
        hive.delete_key("Bad")
        hive.create_key(f"Bad\\{name}")
        with pytest.raises(NotSupported, match="registry-name"):
            exported(hive)


def test_a_key_that_is_not_there_is_said() -> None:
    with pytest.raises(NotFound, match="No\\\\Such"):
        exported(Hive.new(), "No\\Such")


def test_version_4_is_in_the_code_page_or_refused() -> None:
    hive = Hive.new()
    hive.set_value("Größe", "naïve", ValueType.EXPAND_SZ, encode_text("%ü%"))
    hive.set_value("Größe", "m", ValueType.MULTI_SZ, encode_multi_text(["é"]))
    hive.set_value("Größe", "b", ValueType.BINARY, b"\xff")
    data = b"".join(export_reg(hive, ROOT, version=RegVersion.V4))
    assert data.decode("cp1252").splitlines()[:5] == [
        "REGEDIT4",
        "",
        f"[{ROOT}]",
        "",
        f"[{ROOT}\\Größe]",
    ]
    assert '"naïve"=hex(2):25,fc,25,00\r\n"m"=hex(7):e9,00,00\r\n'.encode("cp1252") in data
    assert list(diff_hives(hive, rebuilt(parse_reg(data)))) == []
    for name, value in (("ж", encode_text("x")), ("x", encode_text("ж")), ("x", b"\0")):
        other = Hive.new()
        other.set_value("Key", name, ValueType.SZ, value)
        with pytest.raises(NotSupported, match="code-page"):
            b"".join(export_reg(other, ROOT, version=RegVersion.V4))
        assert b"".join(export_reg(other, ROOT))


CHARACTERS = st.characters(exclude_categories=(), exclude_characters="\0\r\n")
KEYS = st.text(
    st.one_of(st.sampled_from("aB ];[-\"'@="), CHARACTERS).filter(lambda one: one != "\\"),
    min_size=1,
    max_size=8,
).filter(lambda name: not re.search(r"\][ \t]*;", name))
NAMES = st.text(st.one_of(st.sampled_from('a"\\;=@-'), CHARACTERS), max_size=8)
TEXTS = st.text(st.one_of(st.sampled_from('a"\\;\r\n\0'), st.characters(exclude_categories=())))
DATA = st.one_of(st.binary(max_size=90), TEXTS.map(encode_text), st.just(b""))
VALUES = st.tuples(NAMES, st.one_of(st.integers(0, 12), st.integers(0, 0xFFFFFFFF)), DATA)
TREES = st.lists(
    st.tuples(st.lists(KEYS, max_size=4).map("\\".join), st.lists(VALUES, max_size=4)), max_size=6
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=TREES)
def test_what_is_written_and_read_again_is_the_same(
    tree: list[tuple[str, list[tuple[str, int, bytes]]]],
) -> None:
    hive = Hive.new()
    for path, values in tree:
        hive.create_key(path)
        for value in values:
            hive.set_value(path, *value)
    stored = Hive.parse(hive.serialize(NOW))
    assert list(diff_hives(stored, rebuilt(parse_reg(b"".join(export_reg(stored, ROOT)))))) == []
    text = "".join(export_reg_text(stored, ROOT)).encode("utf-8", "surrogatepass")
    assert list(diff_hives(stored, rebuilt(parse_reg(text)))) == []


REAL = ["hive/NTUSER-WIN7.DAT", "hive/BigDataHive", "hive/ManySubkeysHive", "bcd/uefi/bcd"]


@pytest.mark.parametrize("name", REAL)
def test_real_hives_are_the_same_after_export_and_import(real: Path, name: str) -> None:
    hive = Hive.parse((real / name).read_bytes())
    found = rebuilt(parse_reg(b"".join(export_reg(hive, ROOT))))
    written = Hive.parse(found.serialize(NOW))
    assert written.check(strict=True) == 0
    assert list(diff_hives(hive, written)) == []


def everything() -> Hive:
    """A hive of what reged and hivexregedit can say as well."""
    hive = Hive.new(version_minor=3)
    for number in range(12):
        path = f"Key {number}\\Sub ({number})"
        hive.set_value(path, "", ValueType.SZ, encode_text(f"default {number}"))
        hive.set_value(path, 'quoted "name" \\', ValueType.SZ, encode_text('C:\\a "b"; c'))
        hive.set_value(path, "number", ValueType.DWORD, encode_dword(number))
        hive.set_value(path, "bytes", ValueType.BINARY, bytes(range(number * 20)) + b"x")
        hive.set_value(path, "expand", ValueType.EXPAND_SZ, encode_text("%SystemRoot%\\x" * number))
        hive.set_value(path, "many", ValueType.MULTI_SZ, encode_multi_text(["a", "b c", "d"]))
        hive.set_value(path, "q", ValueType.QWORD, bytes(8))
        hive.set_value(path, "other", 0x77, b"data")
    return hive


def program(name: str, *arguments: object, folder: Path) -> bytes:
    if shutil.which(name) is None:
        pytest.skip(f"needs the program {name}")
    done = subprocess.run(
        [name, *map(str, arguments)], capture_output=True, cwd=folder, check=False
    )
    assert done.returncode in {0, 2}, done.stdout + done.stderr  # 2: reged wrote the hive
    return done.stdout


def stored(hive: Hive, path: Path) -> Path:
    path.write_bytes(hive.serialize(NOW))
    return path


def test_reged_reads_what_we_export(tmp_path: Path) -> None:
    hive = everything()
    (tmp_path / "x.reg").write_bytes(b"".join(export_reg(hive, ROOT)))
    target = stored(Hive.new(version_minor=3), tmp_path / "new.hive")
    program("reged", "-I", "-C", target, ROOT, "x.reg", folder=tmp_path)
    assert list(diff_hives(hive, Hive.parse(target.read_bytes()))) == []


def test_we_read_what_reged_exports(tmp_path: Path) -> None:
    hive = everything()
    path = stored(hive, tmp_path / "x.hive")
    program("reged", "-x", path, ROOT, "\\", "x.reg", folder=tmp_path)
    file = parse_reg((tmp_path / "x.reg").read_bytes())
    assert list(diff_hives(hive, rebuilt(file))) == []


def test_a_real_hive_goes_through_reged(real: Path, tmp_path: Path) -> None:
    hive = Hive.parse((real / "hive/NTUSER-WIN7.DAT").read_bytes())
    (tmp_path / "x.reg").write_bytes(b"".join(export_reg(hive, ROOT)))
    target = stored(Hive.new(), tmp_path / "new.hive")
    program("reged", "-I", "-C", target, ROOT, "x.reg", folder=tmp_path)
    assert list(diff_hives(hive, Hive.parse(target.read_bytes()))) == []


def test_hivexregedit_reads_and_writes_the_same(tmp_path: Path) -> None:
    hive = everything()
    path = stored(hive, tmp_path / "x.hive")
    text = program("hivexregedit", "--export", "--prefix", ROOT, path, "\\", folder=tmp_path)
    assert list(diff_hives(hive, rebuilt(parse_reg(text)))) == []
    mine = "".join(export_reg_text(hive, ROOT)).replace("\r\n", "\n")
    (tmp_path / "x.reg").write_text(mine, encoding="utf-8", newline="")
    target = stored(Hive.new(), tmp_path / "new.hive")
    flags = ("--merge", "--encoding", "UTF-16LE", "--prefix", ROOT)
    program("hivexregedit", *flags, target, "x.reg", folder=tmp_path)
    assert list(diff_hives(hive, Hive.parse(target.read_bytes()))) == []


def test_an_empty_key_is_made() -> None:
    (change, *_) = registry_edits(parse_reg(b"REGEDIT4\n[HKCU\\New]\n").edits, RegistryRoots())
    assert change == CreateKey("NTUSER", "New")
