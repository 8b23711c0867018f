"""`wimsmith wim edit`: a list of edits, all of them or none, told before and after."""

import hashlib
import re
from pathlib import Path

import pytest

from cli.wimkit import document, failed, printed
from offline.edits.editkit import ANSWER, content, practice_image
from offline.wim.judges import accept, listing
from wimsmith.cli.main import run
from wimsmith.errors import (
    AlreadyExists,
    ConsentNeeded,
    DamagedRegFile,
    InvalidInput,
    NoSuchIndex,
    NotFound,
    NotSupported,
    UnsafePath,
)
from wimsmith.offline.edits.forms import FORMS
from wimsmith.practice.image import build_image
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import ImageSpec

TOKEN = "31bf3856ad364e35"
REG = (
    'Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Contoso]\n"a"="new"\n'
    '"Password"="geheim"\n'
)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return practice_image(folder / "install.wim")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    (folder / "files").mkdir(parents=True)
    (folder / "files/tool.exe").write_bytes(b"MZ tool")
    (folder / "settings.reg").write_text(REG, encoding="utf-16")
    (folder / "unattend.xml").write_text(ANSWER.format("offlineServicing"))
    (folder / "list.edits").write_text(
        "# a comment\n"
        'add files/tool.exe "Program Files/Contoso/" --parents\n'
        "import-reg settings.reg\n"
        "answer-file unattend.xml\n"
        "rm Windows/win.ini\n"
    )
    return folder


def test_edits_and_scripts_are_carried_out_in_order(
    image: Path, sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, before = tmp_path / "new.wim", image.read_bytes()
    text = printed(
        capsys,
        *("edit", image, "--mkdir", "A/B", "--parents", "--index", 1),
        *("--script", sources / "list.edits", "--mv", "Program Files/Contoso/tool.exe", "A/B/"),
        *("--set-value", r"SOFTWARE\Contoso", "a", "sz", "newest", "--target", target),
    )
    assert text.splitlines()[:-1] == [
        "1. mkdir A/B: 1 change",
        f'2. add {sources}/files/tool.exe "Program Files/Contoso/": 1 change',
        f"3. import-reg {sources}/settings.reg: 3 changes",
        f"4. answer-file {sources}/unattend.xml: 1 change",
        "5. rm Windows/win.ini: 1 change",
        '6. mv "Program Files/Contoso/tool.exe" A/B/: 1 change',
        r"7. set-value SOFTWARE\Contoso a: 1 change",
    ]
    assert text.splitlines()[-1].startswith(f"{target}: index 1, 9 changes, ")
    assert image.read_bytes() == before
    accept(target)
    assert content(target, "A/B/tool.exe") == b"MZ tool"
    assert "Windows/win.ini" not in {name.lstrip("/") for name in listing(target)}
    assert run(["hive", "get", f"{target}:1:SOFTWARE", "Contoso", "a"]) == 0
    assert "newest" in capsys.readouterr().out


def test_a_dry_run_tells_old_and_new_and_writes_nothing(
    image: Path, sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = image.read_bytes()
    edit = ("edit", image, "--index", 1)
    set_value = ("--set-value", r"SOFTWARE\Contoso", "a", "dword", "0x1f")
    script = ("--script", sources / "list.edits")
    assert run([str(one) for one in ("wim", *edit, *set_value, *script, "--dry-run")]) == 0
    told = capsys.readouterr()
    sha1 = hashlib.sha1(b"MZ tool").hexdigest()[:12]
    assert told.out.splitlines() == [
        r"1. set-value SOFTWARE\Contoso a: 1 change",
        r"    added    SOFTWARE\Contoso a: REG_DWORD 0x1f",
        f'2. add {sources}/files/tool.exe "Program Files/Contoso/": 1 change',
        f"    added    Program Files/Contoso/tool.exe: 7 B {sha1}",
        f"3. import-reg {sources}/settings.reg: 2 changes",
        r"    changed  SOFTWARE\Contoso a: REG_DWORD 0x1f -> REG_SZ new",
        r"    added    SOFTWARE\Contoso Password (data not shown)",
        f"4. answer-file {sources}/unattend.xml: 1 change",
        told.out.splitlines()[8],
        "5. rm Windows/win.ini: 1 change",
        told.out.splitlines()[10],
    ]
    assert "added    Windows/Panther/unattend.xml" in told.out
    assert re.search(r"removed  Windows/win\.ini: 92 B [0-9a-f]{12}$", told.out, re.MULTILINE)
    assert "warning: edit 4: the pass offlineServicing is carried out by Setup" in told.err
    assert image.read_bytes() == before
    assert [one.name for one in image.parent.iterdir()] == [image.name]
    rows = document(capsys, *edit, *set_value, *script, "--dry-run")
    assert (rows["possible"], len(rows["edits"])) == (True, 5)
    assert rows["edits"][2]["changes"][0] == {
        "what": "value",
        "hive": "SOFTWARE",
        "key": "Contoso",
        "name": "a",
        "secret": False,
        "old": {
            "name": "a",
            "type": 4,
            "type_name": "REG_DWORD",
            "size_bytes": 4,
            "base64": "HwAAAA==",
            "number": 31,
        },
        "new": {
            "name": "a",
            "type": 1,
            "type_name": "REG_SZ",
            "size_bytes": 8,
            "base64": "bgBlAHcAAAA=",
            "text": "new",
        },
    }
    assert "geheim" not in str(rows)


def test_json_of_what_was_written(
    image: Path, sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit = ("edit", image, "--index", 1, "--script", sources / "list.edits", "--in-place")
    report = document(capsys, *edit)
    assert (report["written"], report["in_place"], report["changes"]) == (True, True, 6)
    assert report["sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert [one["change_count"] for one in report["edits"]] == [1, 3, 1, 1]
    assert report["edits"][3]["changes"][0]["old"]["size_bytes"] == 92
    before = image.read_bytes()
    (sources / "list.edits").write_text("import-reg settings.reg\n")
    again = document(capsys, *edit)
    assert (again["written"], again["changes"], again["sha256"]) == (False, 0, None)
    assert "nothing to change, the file was left alone" in printed(capsys, *edit)
    assert image.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("--rm", "nowhere"), NotFound, "edit 1 (rm nowhere): nowhere"),
        (("--mkdir", "A", "--mkdir", "Windows"), AlreadyExists, "edit 2 (mkdir Windows)"),
        (("--import-reg", "S/bad.reg"), DamagedRegFile, "bad.reg): line 4"),
        (("--mkdir", "A", "--delete", "x"), InvalidInput, "'--delete' where an edit would begin"),
        (("--set-value", "HKLM", "a", "sz"), InvalidInput, "set-value without DATA"),
        (("--set-value", r"HKLM\SAM\a", "a", "sz", "b"), NotSupported, "the hive SAM"),
        (("--add-driver", "drivers"), NotSupported, "drivers are not added"),
        (("--add-language-pack", "lp.cab"), NotSupported, "language packs are not added"),
        (("--rm", r"C:\Windows"), UnsafePath, "edit 1 (rm)"),
        (
            ("--enable-feature", "No-Such", "--experimental"),
            NotSupported,
            "edit 1 (enable-feature No-Such)",
        ),
        (("--script", "S/nowhere"), NotFound, "nowhere"),
        ((), InvalidInput, "no edits"),
    ],
)
def test_a_refusal_names_the_edit_and_nothing_is_written(
    image: Path,
    sources: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    error: type[Exception],
    said: str,
) -> None:
    (sources / "bad.reg").write_text("REGEDIT4\n\n[HKEY_LOCAL_MACHINE\\SOFTWARE]\nnothing\n")
    before = image.read_bytes()
    given = [word.replace("S/", f"{sources}/") for word in words]
    code, text = failed(capsys, "edit", image, "--index", 1, *given, "--in-place")
    assert code == getattr(error, "exit", 0)
    assert said in text
    assert image.read_bytes() == before
    assert [one.name for one in image.parent.iterdir()] == [image.name]


def test_a_dry_run_that_is_refused_ends_as_the_edit_would(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("edit", image, "--index", 1, "--mkdir", "A", "--rm", "nowhere", "--dry-run")
    rows = document(capsys, *words, code=NotFound.exit)
    assert rows["possible"] is False
    assert [one["refusal"] for one in rows["edits"]] == [None, "Not found: nowhere"]
    assert "2. rm nowhere: refused" in printed(capsys, *words, code=NotFound.exit)


@pytest.mark.parametrize("is_script", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        ("enable-feature", "Practice-Games"),
        ("disable-feature", "Practice-Games"),
        ("remove-package", f"Practice-Content-Package~{TOKEN}~amd64~~10.0.19041.1"),
    ],
)
def test_edits_of_the_component_store_need_consent(
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, str],
    *,
    is_script: bool,
) -> None:
    (tmp_path / "list.edits").write_text(f"mkdir A\n{words[0]} {words[1]}\n")
    inline = ("--mkdir", "A", f"--{words[0]}", words[1])
    given = ("--script", tmp_path / "list.edits") if is_script else inline
    before = image.read_bytes()

    code, text = failed(capsys, "edit", image, "--index", 1, *given, "--in-place")

    assert code == ConsentNeeded.exit
    assert "nobody has yet proved on a running Windows" in text
    assert "--experimental" in text
    assert image.read_bytes() == before


def test_a_feature_is_switched_with_consent_and_told_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, name = tmp_path / "install.wim", "Practice-Games"
    spec = ImageSpec(size_bytes=200_000, features={name: False})
    build_image(spec, path, root=PracticeRoot.new())
    edit = ("edit", path, "--index", 1, "--enable-feature", name)
    program = f"Program Files/{name}/{name}.exe"

    assert document(capsys, *edit, "--dry-run")["possible"] is True

    assert program not in listing(path)
    printed(capsys, *edit, "--in-place", "--experimental")
    accept(path)
    assert program in listing(path)


def test_the_place_is_said_once(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = failed(capsys, "edit", image, "--index", 1, "--mkdir", "A")
    assert (code, "--target and --in-place" in text) == (InvalidInput.exit, True)
    code, text = failed(capsys, "edit", image, "--index", 7, "--mkdir", "A", "--in-place")
    assert code == NoSuchIndex.exit
    output = image.parent / "new.wim"
    printed(capsys, "edit", image, "--index", 1, "--mkdir", "A", "--output", output)
    assert "A" in {name.lstrip("/") for name in listing(output)}


def test_help_tells_every_edit_and_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    text = re.sub(r"\s+", " ", printed(capsys, "edit", "--help"))
    for verb, form in FORMS.items():
        assert f"--{verb}" in text
        for option in form.options:
            assert f"[--{option.replace('_', '-')}" in text, (verb, option)
    assert "--script FILE" in text
    assert "[--sources DIR]" in text
    for hive in ("SOFTWARE", "SYSTEM", "DEFAULT", "NTUSER", "DRIVERS", "COMPONENTS"):
        assert hive in text
