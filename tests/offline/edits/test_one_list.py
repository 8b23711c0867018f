"""Several edits of one image become one new file, in which nothing else differs, or none."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from offline.edits.editkit import (
    ANSWER,
    CONFIG,
    HIVES,
    boot_image,
    content,
    edited,
    file_differences,
    plan_of,
    practice_image,
    seen,
    value_differences,
)
from offline.wim.judges import accept, listing, run
from wimsmith.errors import (
    Cancelled,
    DamagedRegFile,
    NotFound,
    NotSupported,
)
from wimsmith.offline.edits.kinds import (
    Access,
    Add,
    Delete,
    DeleteRegistryKey,
    DeleteRegistryValue,
    Edit,
    ImportReg,
    MakeFolder,
    MakeRegistryKey,
    Move,
    PlaceAnswerFile,
    RemovePackage,
    Replace,
    Secure,
    SetFeature,
    SetRegistryValue,
)
from wimsmith.offline.edits.writing import edit_image
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.workers._libwim import LibwimCodec
from wimsmith.practice.image import build_image
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import ImageSpec

REG = r"""Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SOFTWARE\Contoso]
@="default"
"sz"="text with \"marks\" and \\"
"dword"=dword:0000001f
"binary"=hex:00,ff,\
  10
"expand"=hex(2):25,00,41,00,25,00,00,00
"multi"=hex(7):61,00,00,00,62,00,00,00,00,00
"qword"=hex(b):01,00,00,00,00,00,00,80
"none"=hex(0):
"link"=hex(6):61,00
"big endian"=hex(5):00,00,00,01
"odd"=hex(12345):01

[-HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Doomed]

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion]
"EditionID"="Contoso"
"Gone"=-

[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Contoso]
"x"=dword:00000001

[HKEY_CURRENT_USER\Software\Contoso]
"user"="new ones"

[HKEY_USERS\.DEFAULT\Control Panel\Contoso]
"before logon"="yes"
"""
VERSION = r"Microsoft\Windows NT\CurrentVersion"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file with three images like Windows, in a folder of its own."""
    folder = tmp_path / "images"
    folder.mkdir()
    return practice_image(folder / "install.wim", indexes=3)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    (folder / "tree/below").mkdir(parents=True)
    (folder / "tree/tool.exe").write_bytes(b"MZ tool")
    (folder / "tree/below/empty").touch()
    (folder / "settings.reg").write_text(REG, encoding="utf-16")
    (folder / "unattend.xml").write_text(ANSWER.format("specialize"))
    return folder


def test_a_list_changes_what_it_says_and_no_other_byte(
    image: Path, sources: Path, tmp_path: Path
) -> None:
    prepare = [
        SetRegistryValue(rf"SOFTWARE\{VERSION}\Doomed\Below", "x", 1, b"a\0\0\0"),
        SetRegistryValue(rf"SOFTWARE\{VERSION}", "Gone", 4, b"\1\0\0\0"),
    ]
    edited(image, *prepare, index=2)
    before, original = seen(image, tmp_path, 2), image.read_bytes()
    others = {number: seen(image, tmp_path, number) for number in (1, 3)}
    target = tmp_path / "new.wim"
    report = edited(
        image,
        Add(sources / "tree", "Program Files/Contoso/", parents=True),
        Delete("Windows/win.ini"),
        ImportReg(sources / "settings.reg"),
        PlaceAnswerFile(sources / "unattend.xml"),
        index=2,
        target=target,
    )
    assert image.read_bytes() == original
    assert [one.changed for one in report.edits] == [True] * 4
    accept(target)
    after = seen(target, tmp_path, 2)
    changed = {f"{CONFIG}/{name}" for name in ("SOFTWARE", "SYSTEM", "DEFAULT")}
    assert file_differences(before, after) == changed | {
        "Users/Default/NTUSER.DAT",
        "Program Files/Contoso",
        "Program Files/Contoso/tree",
        "Program Files/Contoso/tree/tool.exe",
        "Program Files/Contoso/tree/below",
        "Program Files/Contoso/tree/below/empty",
        "Windows/win.ini",
        "Windows/Panther/unattend.xml",
    } - set(before.files).intersection({"Program Files/Contoso"})
    for hive in changed | {"Users/Default/NTUSER.DAT"}:
        old, new = dict(before.files[hive].fields), dict(after.files[hive].fields)
        assert {name for name in old if old[name] != new[name]} <= {"Uncompressed size", "Hash"}
    for number, other in others.items():
        assert file_differences(other, seen(target, tmp_path, number)) == set()

    def differences(hive: str) -> set[object]:
        return set(value_differences(before.hives[hive], after.hives[hive]))

    version = before.hives[f"{CONFIG}/SOFTWARE"][VERSION]
    edition = next(one for one in version if one[0] == "EditionID")
    assert differences(f"{CONFIG}/SOFTWARE") == {
        ("Contoso", None, "+"),
        ("Contoso", ("", 1, utf16("default")), "+"),
        ("Contoso", ("sz", 1, utf16('text with "marks" and \\')), "+"),
        ("Contoso", ("dword", 4, b"\x1f\0\0\0"), "+"),
        ("Contoso", ("binary", 3, b"\0\xff\x10"), "+"),
        ("Contoso", ("expand", 2, utf16("%A%")), "+"),
        ("Contoso", ("multi", 7, utf16("a") + utf16("b") + b"\0\0"), "+"),
        ("Contoso", ("qword", 11, b"\1\0\0\0\0\0\0\x80"), "+"),
        ("Contoso", ("none", 0, b""), "+"),
        ("Contoso", ("link", 6, b"a\0"), "+"),
        ("Contoso", ("big endian", 5, b"\0\0\0\1"), "+"),
        ("Contoso", ("odd", 0x12345, b"\1"), "+"),
        (rf"{VERSION}\Doomed", None, "-"),
        (rf"{VERSION}\Doomed\Below", None, "-"),
        (rf"{VERSION}\Doomed\Below", ("x", 1, b"a\0\0\0"), "-"),
        (VERSION, ("Gone", 4, b"\1\0\0\0"), "-"),
        (VERSION, edition, "-"),
        (VERSION, ("EditionID", 1, utf16("Contoso")), "+"),
    }
    control = r"ControlSet001\Control\Contoso"
    assert differences(f"{CONFIG}/SYSTEM") == {
        (control, None, "+"),
        (control, ("x", 4, b"\1\0\0\0"), "+"),
    }
    assert differences("Users/Default/NTUSER.DAT") == {
        (r"Software\Contoso", None, "+"),
        (r"Software\Contoso", ("user", 1, utf16("new ones")), "+"),
    }
    assert differences(f"{CONFIG}/DEFAULT") == {
        (r"Control Panel\Contoso", None, "+"),
        (r"Control Panel\Contoso", ("before logon", 1, utf16("yes")), "+"),
    }


def utf16(text: str) -> bytes:
    return f"{text}\0".encode("utf-16-le")


def test_a_damaged_reg_file_commits_nothing(image: Path, sources: Path) -> None:
    before = image.read_bytes()
    (sources / "bad.reg").write_text(REG + '"x"=word:1\n', encoding="utf-16")
    with pytest.raises(DamagedRegFile, match=r"edit 2 \(import-reg .*bad.reg\): line 31") as told:
        edited(image, MakeFolder("New"), ImportReg(sources / "bad.reg"), Delete("Windows/win.ini"))
    assert told.value.hint
    assert image.read_bytes() == before
    assert [one.name for one in image.parent.iterdir()] == [image.name]


def test_each_edit_sees_what_those_before_it_did(image: Path, sources: Path) -> None:
    report = edited(
        image,
        MakeFolder("A/B", parents=True),
        Add(sources / "tree/tool.exe", "A/B/"),
        Move("A/B", "C"),
        Replace("C/tool.exe", sources / "unattend.xml"),
        Move("C/tool.exe", "C/last"),
        SetRegistryValue(r"SOFTWARE\Key", "a", 4, bytes(4)),
        DeleteRegistryKey(r"SOFTWARE\Key"),
        MakeRegistryKey(r"SOFTWARE\Key\Below"),
    )
    assert all(one.changed for one in report.edits)
    assert content(image, "C/last") == (sources / "unattend.xml").read_bytes()
    assert not {"A/B", "C/tool.exe"} & listing(image).keys()


def test_what_changes_nothing_is_no_change_and_writes_nothing(image: Path, sources: Path) -> None:
    edits: list[Edit] = [
        Add(sources / "tree", "Program Files/", overwrite=True),
        ImportReg(sources / "settings.reg"),
        PlaceAnswerFile(sources / "unattend.xml"),
        MakeFolder("Windows/Temp", parents=True),
        DeleteRegistryKey(r"SOFTWARE\Never\There"),
        DeleteRegistryValue(r"SOFTWARE\Microsoft", "never there"),
        Replace("Program Files/tree/tool.exe", sources / "tree/tool.exe"),
        Secure("Windows/Temp", Access("O:BAG:SYD:(A;;FA;;;BA)")),
        Move("Windows/Temp", "Windows/Temp"),
    ]
    first = edited(image, *edits)
    changed = [True, True, True, False, False, False, False, True, False]
    assert [one.changed for one in first.edits] == changed
    before = image.read_bytes()
    second = edited(image, *edits)
    assert [one.changed for one in second.edits] == [False] * 9
    assert (second.changes, second.written, second.sha256) == (0, False, None)
    assert image.read_bytes() == before
    copy = image.parent / "copy.wim"
    third = edited(image, *edits, target=copy)
    assert third.sha256 == hashlib.sha256(copy.read_bytes()).hexdigest()
    for number in (1, 2, 3):
        assert listing(copy, number) == listing(image, number)


def test_a_hive_is_not_replaced_after_its_keys_were_changed(image: Path, sources: Path) -> None:
    """One of the two would be lost without a word."""
    (sources / "SOFTWARE").write_bytes(content(image, f"{CONFIG}/DEFAULT"))
    set_value = SetRegistryValue(r"SOFTWARE\Key", "a", 4, bytes(4))
    put = Replace(f"{CONFIG}/SOFTWARE", sources / "SOFTWARE")
    before = image.read_bytes()
    for late in (put, Move(CONFIG, "Windows/other"), Delete("Windows", recursive=True)):
        with pytest.raises(NotSupported, match="hive-order") as told:
            edited(image, set_value, late)
        assert told.value.hint
    assert image.read_bytes() == before
    read_only = DeleteRegistryKey(r"SOFTWARE\Never\There")
    report = edited(image, read_only, put, set_value)
    assert [one.changed for one in report.edits] == [False, True, True]
    assert any("whole registry hive" in text for text in report.edits[1].warnings)
    after = seen(image, image.parent).hives
    added = set(value_differences(after[f"{CONFIG}/DEFAULT"], after[f"{CONFIG}/SOFTWARE"]))
    assert added == {("Key", None, "+"), ("Key", ("a", 4, bytes(4)), "+")}


def test_a_feature_is_switched_among_other_edits(tmp_path: Path) -> None:
    path, name = tmp_path / "install.wim", "Practice-Games"
    spec = ImageSpec(size_bytes=200_000, features={name: False})
    build_image(spec, path, root=PracticeRoot.new())
    program = f"Program Files/{name}/{name}.exe"
    assert program not in listing(path)
    report = edited(
        path,
        SetRegistryValue(r"SOFTWARE\Key", "a", 4, bytes(4)),
        SetFeature(name, enabled=True),
        Move(program, "Program Files/games.exe"),
        MakeRegistryKey(r"SOFTWARE\Key\Below"),
    )
    assert [one.changed for one in report.edits] == [True] * 4
    assert report.edits[1].warnings == ()
    accept(path)
    assert "Program Files/games.exe" in listing(path)
    assert edited(path, SetFeature(name, enabled=True)).written is False
    package = "Practice-Content-Package~31bf3856ad364e35~amd64~~10.0.19041.1"
    with pytest.raises(NotSupported, match=r"edit 2 \(remove-package Practice-Content") as told:
        edited(path, MakeFolder("New"), RemovePackage(package))
    assert told.value.reason == "permanent"
    assert "New" not in listing(path)


def test_a_boot_image_is_edited_like_any_other(tmp_path: Path, sources: Path) -> None:
    path = boot_image(tmp_path)
    before = seen(path, tmp_path)
    (sources / "startnet.cmd").write_text("wpeinit\r\nX:\\tools\\start.exe\r\n")
    report = edited(
        path,
        Replace("Windows/System32/startnet.cmd", sources / "startnet.cmd"),
        Add(sources / "tree", "tools"),
        SetRegistryValue(r"HKLM\SYSTEM\CurrentControlSet\Control\PE", "on", 4, b"\1\0\0\0"),
        ImportReg(reg_file(sources, r"HKEY_LOCAL_MACHINE\PE\New"), "SOFTWARE", r"HKLM\PE"),
    )
    assert report.written
    accept(path)
    after = seen(path, tmp_path)
    assert file_differences(before, after) == {
        "Windows/System32/startnet.cmd",
        "tools",
        "tools/tool.exe",
        "tools/below",
        "tools/below/empty",
        f"{CONFIG}/SYSTEM",
        f"{CONFIG}/SOFTWARE",
    }
    assert r"ControlSet002\Control\PE" in after.hives[f"{CONFIG}/SYSTEM"]
    assert "New" in after.hives[f"{CONFIG}/SOFTWARE"]
    assert "Boot Index:     1" in run("wimlib-imagex", "info", path)
    with pytest.raises(NotFound, match="NTUSER"):
        edited(path, SetRegistryValue(r"HKCU\Software\x", "a", 4, bytes(4)))


def reg_file(folder: Path, key: str, value: str = '"a"="b"') -> Path:
    path = folder / "one.reg"
    path.write_text(f"REGEDIT4\r\n\r\n[{key}]\r\n{value}\r\n")
    return path


def test_cancelling_leaves_the_old_file_alone(image: Path, sources: Path) -> None:
    edits: list[Edit] = [
        Add(sources / "tree", "New"),
        ImportReg(sources / "settings.reg"),
        PlaceAnswerFile(sources / "unattend.xml"),
    ]
    before = image.read_bytes()
    phases: set[str] = set()
    target = image.parent.parent / "all.wim"
    edit_image(
        image,
        1,
        edits,
        target,
        codec=LibwimCodec(),
        progress=lambda event: phases.add(event.phase),
    )
    assert {"plan", "change files", "change registry", "copy", "check"} <= phases
    for phase in sorted(phases):
        with pytest.raises(Cancelled):
            edit_image(image, 1, edits, None, codec=LibwimCodec(), progress=stop_at(phase))
        assert [one.name for one in image.parent.iterdir()] == [image.name]
        assert image.read_bytes() == before


def stop_at(phase: str) -> Callable[[Event], None]:
    def progress(event: Event) -> None:
        if event.phase == phase:
            raise Cancelled("by the test")

    return progress


def test_a_plan_tells_what_became_of_each_edit_and_stops_at_a_refusal(image: Path) -> None:
    plan = plan_of(image, MakeFolder("New"), Delete("nowhere"), MakeFolder("Never tried"))
    assert plan.changes is None
    made, refused = plan.results
    assert (made.number, made.text, made.changed, made.refusal) == (1, "mkdir New", True, None)
    assert (refused.number, refused.text, refused.changed) == (2, "rm nowhere", False)
    assert refused.refusal == "Not found: nowhere"
    assert str(plan.named_error()) == "Not found: edit 2 (rm nowhere): nowhere"


def test_every_hive_of_the_image_is_compared(image: Path, tmp_path: Path) -> None:
    """The proof above says nothing of hives that are not there."""
    assert seen(image, tmp_path).hives.keys() == set(HIVES)
