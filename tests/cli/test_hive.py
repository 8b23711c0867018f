"""`wimsmith hive` on files and on hives in WIM files."""

import base64
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from offline.registry import logbook
from wimsmith.cli.main import run
from wimsmith.errors import (
    AlreadyExists,
    DamagedHive,
    DamagedRegFile,
    InvalidInput,
    InvalidState,
    NoSuchIndex,
    NotFound,
    NotSupported,
)
from wimsmith.offline.registry import (
    Hive,
    ValueType,
    encode_dword,
    encode_multi_text,
    encode_qword,
    encode_text,
)

NOW = 0x01DA_0000_0000_0000
CURRENT = "Microsoft\\Windows NT\\CurrentVersion"


def software(product: str = "Windows 10 Pro") -> Hive:
    hive = Hive.new()
    hive.set_value(CURRENT, "ProductName", ValueType.SZ, encode_text(product))
    hive.set_value(CURRENT, "", ValueType.NONE, b"\1\2")
    hive.set_value(CURRENT, "Revision", ValueType.DWORD, encode_dword(2846))
    hive.set_value(CURRENT, "Big", ValueType.QWORD, encode_qword(1 << 40))
    hive.set_value(CURRENT, "Names", ValueType.MULTI_SZ, encode_multi_text(["a", "b"]))
    hive.set_value("Odd", "li\x1bne\n", 0x20001, b"\0\xff")
    hive.set_value("Odd\\k\x07y", "\ud800", ValueType.SZ, encode_text("a\nb\u202e"))
    return hive


def system() -> Hive:
    hive = Hive.new()
    hive.set_value("Select", "Default", ValueType.DWORD, encode_dword(2))
    hive.set_value("ControlSet002\\Services\\Disk", "Start", ValueType.DWORD, encode_dword(0))
    return hive


def write(path: Path, hive: Hive) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(hive.serialize(NOW))
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return write(tmp_path / "SOFTWARE", software())


@pytest.fixture(scope="session")
def wim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two images with hives; the SOFTWARE of the second is completed from its log."""
    folder = tmp_path_factory.mktemp("hives:1")
    config = folder / "one/Windows/System32/config"
    write(config / "SOFTWARE", software())
    write(config / "SAM", Hive.new())
    write(folder / "one/Users/Default/NTUSER.DAT", Hive.new())
    write(folder / "one/Boot/BCD", Hive.new())
    shutil.copytree(folder / "one", folder / "two")
    config = folder / "two/Windows/System32/config"
    before = software().serialize(NOW)
    changed = Hive.parse(before)
    changed.set_value(CURRENT, "ProductName", ValueType.SZ, encode_text("Windows 11 Pro"))
    (config / "SOFTWARE").write_bytes(logbook.dirty(before, primary=2, secondary=1))
    entry = logbook.entry(before, changed.serialize(NOW + 1), 1)
    (config / "SOFTWARE.LOG1").write_bytes(logbook.new_log(before, [entry]))
    target = folder / "hives.wim"
    for verb, name in (("capture", "one"), ("append", "two")):
        command = ["wimlib-imagex", verb, str(folder / name), str(target), name]
        subprocess.run(command, check=True, capture_output=True)
    return str(target)


def printed(capsys: pytest.CaptureFixture[str], *tokens: object, code: int = 0) -> str:
    found = run(["hive", *map(str, tokens)])
    captured = capsys.readouterr()
    assert found == code, captured.err
    return captured.out


def document(capsys: pytest.CaptureFixture[str], *tokens: object, code: int = 0) -> Any:
    return json.loads(printed(capsys, *tokens, "--json", code=code))


def failed(capsys: pytest.CaptureFixture[str], *tokens: object) -> tuple[int, str]:
    code = run(["hive", *map(str, tokens)])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


def test_help_alone_says_how_to_name_a_hive(capsys: pytest.CaptureFixture[str]) -> None:
    for tokens in (["hive", "--help"], ["hive", "get", "--help"]):
        assert run(tokens) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert "install.wim:1:SOFTWARE" in text
        assert "--json" in text


def test_ls_lists_subkeys(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "ls", file) == "Microsoft\nOdd\n"
    assert printed(capsys, "ls", file, "\\microsoft\\") == "Windows NT\n"
    assert printed(capsys, "ls", file, "Odd") == "k<U+0007>y\n"
    assert CURRENT in printed(capsys, "ls", file, "Microsoft", "-r").splitlines()
    assert printed(capsys, "ls", file, "Odd", "-l").split()[-4:] == ["0", "1", "-", "k<U+0007>y"]
    (row,) = document(capsys, "ls", file, "Odd")
    assert (row["path"], row["values"], row["link"]) == ("Odd\\k\x07y", 1, False)


def test_get_prints_values_as_reg_query_does(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "get", file, CURRENT).splitlines() == [
        "ProductName  REG_SZ        Windows 10 Pro",
        "(Default)    REG_NONE      0102",
        "Revision     REG_DWORD     0xb1e",
        "Big          REG_QWORD     0x10000000000",
        "Names        REG_MULTI_SZ  a\\0b",
    ]
    assert printed(capsys, "get", file, CURRENT, "productname", "--data-only") == "Windows 10 Pro\n"
    assert printed(capsys, "get", file, CURRENT, "") == "(Default)  REG_NONE  0102\n"
    assert printed(capsys, "get", file, "Odd") == "li<U+001B>ne<U+000A>  0x20001  00ff\n"
    odd = printed(capsys, "get", file, "Odd\\k\x07y")
    assert odd == "<U+D800>  REG_SZ  a<U+000A>b<U+202E>\n"


def test_get_as_data_is_complete(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = document(capsys, "get", file, CURRENT, "ProductName")
    assert (row["type"], row["type_name"], row["text"]) == (1, "REG_SZ", "Windows 10 Pro")
    assert base64.b64decode(row["base64"]) == encode_text("Windows 10 Pro")
    values = {row["name"]: row for row in document(capsys, "get", file, CURRENT)["values"]}
    assert values["Revision"]["number"] == 2846
    assert values["Names"]["texts"] == ["a", "b"]
    assert values[""]["size_bytes"] == 2
    (row,) = document(capsys, "get", file, "Odd\\k\x07y")["values"]
    assert row["name"] == "\ud800"


def test_what_is_not_there_is_said(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert failed(capsys, "get", file, "No\\Key")[0] == NotFound.exit
    code, text = failed(capsys, "get", file, "Odd", "no")
    assert (code, "the value no of Odd" in text) == (NotFound.exit, True)
    assert failed(capsys, "ls", f"{file}.none")[0] == NotFound.exit


def test_the_hint_names_the_control_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "SYSTEM", system())
    code, text = failed(capsys, "get", file, "CurrentControlSet\\Services\\Disk", "Start")
    assert code == NotFound.exit
    assert "ControlSet002\\Services\\Disk." in text
    assert "0x0" in printed(capsys, "get", file, "ControlSet002\\Services\\Disk", "Start")


def test_hives_in_a_wim(wim: str, capsys: pytest.CaptureFixture[str]) -> None:
    for index, product in ((1, "Windows 10 Pro"), (2, "Windows 11 Pro")):
        place = f"{wim}:{index}:software"
        assert (
            printed(capsys, "get", place, CURRENT, "ProductName", "--data-only").strip() == product
        )
    for name in ("SAM", "NTUSER", "Boot/BCD", "Boot\\BCD", "Users/Default/NTUSER.DAT"):
        assert printed(capsys, "ls", f"{wim}:1:{name}") == ""
    facts = document(capsys, "info", f"{wim}:2:SOFTWARE")
    assert (facts["dirty"], list(facts["logs"])) == (True, [".LOG1"])
    code, text = failed(capsys, "ls", f"{wim}:1:SYSTEM")
    assert (code, "NTUSER" in text) == (NotFound.exit, True)
    assert failed(capsys, "ls", f"{wim}:3:SOFTWARE")[0] == NoSuchIndex.exit
    code, text = failed(capsys, "ls", wim)
    assert (code, f"{wim}:1:SOFTWARE" in text) == (InvalidInput.exit, True)
    assert failed(capsys, "ls", f"{wim}:1:Windows/System32")[0] == InvalidInput.exit


def test_diff_of_two_hives_in_wims(wim: str, capsys: pytest.CaptureFixture[str]) -> None:
    places = [f"{wim}:{index}:SOFTWARE" for index in (1, 2)]
    line = f"~ {CURRENT} : ProductName  REG_SZ Windows 10 Pro -> REG_SZ Windows 11 Pro\n"
    assert printed(capsys, "diff", *places, code=1) == line
    assert printed(capsys, "diff", *places, "Odd") == ""
    assert printed(capsys, "diff", places[0], places[0]) == ""
    (row,) = document(capsys, "diff", *places, code=1)["differences"]
    assert (row["change"], row["what"], row["key"], row["name"]) == (
        "changed",
        "value",
        CURRENT,
        "ProductName",
    )
    assert (row["old"]["text"], row["new"]["text"]) == ("Windows 10 Pro", "Windows 11 Pro")
    assert failed(capsys, "diff", *places, "Not\\There")[0] == NotFound.exit


def test_diff_sums_up_what_is_below_a_key(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = write(tmp_path / "empty", Hive.new())
    text = "+ Microsoft (2 keys, 5 values)\n+ Odd (1 key, 2 values)\n"
    assert printed(capsys, "diff", empty, file, code=1) == text
    lines = printed(capsys, "diff", empty, file, "--all", code=1).splitlines()
    assert len(lines) == 12
    assert lines[-1] == "+ Odd\\k<U+0007>y : <U+D800>  REG_SZ a<U+000A>b<U+202E>"
    assert len(document(capsys, "diff", file, empty, code=1)["differences"]) == 12


def test_a_file_whose_name_looks_like_a_place_in_a_wim_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("a:1:b"), software())
    assert printed(capsys, "ls", "a:1:b") == "Microsoft\nOdd\n"


def test_info_and_check(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    facts = document(capsys, "info", file)
    assert (facts["version"], facts["keys"], facts["values"]) == ("1.5", 6, 7)
    assert (facts["dirty"], facts["lost_bytes"], facts["fault"]) == (False, 0, None)
    assert "clean" in printed(capsys, "info", file)
    assert printed(capsys, "check", file) == f"{file}: consistent\n"
    assert document(capsys, "check", file, "--strict")["consistent"] is True
    data = bytearray(Path(file).read_bytes())
    data[data.index(b"lh\2\0") + 8] ^= 1
    Path(file).write_bytes(data)
    code, text = failed(capsys, "check", file)
    assert (code, file in text) == (DamagedHive.exit, True)
    assert "hash" in document(capsys, "info", file)["fault"]


def test_export_and_import_make_the_same_hive(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new").mkdir()
    target = tmp_path / "all.reg"
    hive = software()
    hive.delete_value("Odd", "li\x1bne\n")
    write(Path(file), hive)
    report = document(capsys, "export", file, "", target)
    assert report["root"] == "HKEY_LOCAL_MACHINE\\SOFTWARE"
    assert report["size_bytes"] == target.stat().st_size
    assert failed(capsys, "export", file, "", target)[0] == AlreadyExists.exit
    printed(capsys, "export", file, "", target, "--overwrite")
    empty = write(tmp_path / "new/SOFTWARE", Hive.new())
    printed(capsys, "import", empty, target, "--target", tmp_path / "filled")
    assert printed(capsys, "diff", file, tmp_path / "filled") == ""
    printed(capsys, "import", empty, target, "--in-place")
    assert printed(capsys, "diff", file, empty) == ""
    assert printed(capsys, "check", empty, "--strict")


def test_export_to_stdout_is_text_that_can_be_imported(
    file: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(["hive", "export", file, "Odd\\k\x07y", "--root", "HKLM\\Off"]) == 0
    text = capfdbinary.readouterr().out
    assert text.startswith(b"Windows Registry Editor Version 5.00\r\n")
    assert b"[HKEY_LOCAL_MACHINE\\Off\\Odd\\k\x07y]\r\n" in text
    (tmp_path / "x.reg").write_bytes(text)
    command = ["hive", "import", file, str(tmp_path / "x.reg"), "--root", "HKLM\\Off"]
    assert run([*command, "--target", str(tmp_path / "same")]) == 0
    assert run(["hive", "diff", file, str(tmp_path / "same")]) == 0


def test_import_is_all_or_nothing(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, reg = Path(file).read_bytes(), tmp_path / "x.reg"
    head = "REGEDIT4\n[HKLM\\SOFTWARE\\Fine]\n"
    for body, kind, text in (
        ("nonsense\n", DamagedRegFile, "line 3: neither a key nor a value"),
        ("[HKCU\\Other]\n", NotSupported, "line 3: HKEY_CURRENT_USER\\Other is not in this hive"),
        ("[HKLM\\HARDWARE\\X]\n", NotSupported, "line 3: HKEY_LOCAL_MACHINE\\HARDWARE"),
        ("[-HKLM\\SOFTWARE]\n", NotSupported, "root of a hive"),
    ):
        reg.write_text(head + body)
        for where in (["--in-place"], ["--target", str(tmp_path / "new")]):
            code, said = failed(capsys, "import", file, reg, *where)
            assert code == kind.exit
            assert text in said
        assert Path(file).read_bytes() == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["SOFTWARE", "x.reg"]
    reg.write_text(head)
    assert failed(capsys, "import", file, reg)[0] == InvalidInput.exit
    both = failed(capsys, "import", file, reg, "--in-place", "--target", tmp_path / "new")
    assert both[0] == InvalidInput.exit
    assert failed(capsys, "import", file, reg, "--target", reg)[0] == AlreadyExists.exit
    Path(file).chmod(0o400)
    assert failed(capsys, "import", file, reg, "--in-place")[0] == InvalidState.exit


def test_import_knows_the_roots_of_hives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reg = tmp_path / "x.reg"
    for name, key, path in (
        ("SYSTEM", "HKLM\\SYSTEM\\CurrentControlSet\\Control", "ControlSet002\\Control"),
        ("SOFTWARE", "HKCR\\.txt", "Classes\\.txt"),
        ("ntuser.dat", "HKEY_CURRENT_USER\\Software", "Software"),
        ("DEFAULT", "HKU\\.DEFAULT\\Console", "Console"),
        ("my.hive", "HKLM\\my.hive\\X", "X"),
    ):
        file = write(tmp_path / name, system())
        reg.write_text(f'REGEDIT4\n[{key}]\n"v"="x"\n')
        printed(capsys, "import", file, reg, "--in-place")
        assert printed(capsys, "get", file, path, "v", "--data-only") == "x\n"
    reg.write_text("REGEDIT4\n[HKLM\\OFFLINE\\Y]\n")
    code, text = failed(capsys, "import", file, reg, "--in-place")
    assert (code, "--root" in text) == (NotSupported.exit, True)
    printed(capsys, "import", file, reg, "--in-place", "--root", "HKLM\\OFFLINE")
    assert "Y" in printed(capsys, "ls", file)


def test_errors_name_the_hive_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("no hive" * 1000)
    broken = bytearray(software().serialize(NOW))
    at = broken.index(b"Odd") - 76
    broken[at : at + 2] = b"xx"
    (tmp_path / "broken").write_bytes(broken)
    reg = tmp_path / "x.reg"
    reg.write_text('REGEDIT4\r\n\r\n[X\\Odd]\r\n"a"="b"\r\n')
    for tokens in (
        ("ls", tmp_path / "text"),
        ("ls", tmp_path / "broken", "-l"),
        ("get", tmp_path / "broken", "Odd"),
        ("export", tmp_path / "broken", "", tmp_path / "out.reg"),
        ("import", tmp_path / "broken", reg, "--root", "X", "--target", tmp_path / "out"),
    ):
        code, text = failed(capsys, *tokens)
        assert code == DamagedHive.exit
        assert f"damaged: {tokens[1]}: " in text
        assert "hint: " in text
    assert sorted(one.name for one in tmp_path.iterdir()) == ["broken", "text", "x.reg"]


def test_paths_as_windows_shows_them_get_a_hint(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in ("HKLM\\SOFTWARE\\Odd", "hkcu\\Software", "HKEY_USERS\\x"):
        code, text = failed(capsys, "ls", file, path)
        assert code == NotFound.exit
        assert "Paths begin below the root of the hive." in text


def test_a_reg_file_may_come_through_a_pipe(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = "REGEDIT4\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Piped]\r\n"
    with ThreadPoolExecutor(1) as writer:
        writer.submit(pipe.write_text, text)
        printed(capsys, "import", file, pipe, "--in-place")
    assert "Piped" in printed(capsys, "ls", file).split()
    assert failed(capsys, "import", file, tmp_path, "--in-place")[0] == InvalidInput.exit


def test_a_hive_in_a_wim_is_not_changed_in_place(
    wim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reg = tmp_path / "new.reg"
    reg.write_text("REGEDIT4\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\New]\r\n")
    code, text = failed(capsys, "import", f"{wim}:1:SOFTWARE", reg, "--in-place")
    assert code == InvalidInput.exit
    assert "wimsmith wim replace" in text
    target = tmp_path / "SOFTWARE.new"
    printed(capsys, "import", f"{wim}:1:SOFTWARE", reg, "--target", target)
    assert "New" in printed(capsys, "ls", target).split()
