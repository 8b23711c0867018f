r"""Edits as words and as data: what is written is what is done, and nothing else is understood."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.errors import (
    InvalidInput,
    LimitExceeded,
    NotFound,
    NotSupported,
    UnsafePath,
    WimsmithError,
)
from wimsmith.offline.edits.data import as_data, from_data
from wimsmith.offline.edits.forms import FORMS, REFUSED
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
from wimsmith.offline.edits.planning import MAX_EDITS
from wimsmith.offline.edits.values import MAX_DATA_BYTES, value_of, words_of
from wimsmith.offline.edits.words import MAX_SCRIPT_BYTES, edits_of, read_script
from wimsmith.offline.intake import SourceLinks

SCRIPT = r"""# everything
add files/tool.exe "Program Files/My Tool/" --parents --overwrite --attributes RH
  add   files  Windows/Temp --time 2024-01-31T12:00Z --sddl D:(A;;FA;;;SY) --owner SY --links skip
replace Windows/win.ini files/tool.exe --source-time

rm Windows\Temp -r
rm "a ""quoted"" name"
mv old new/ --overwrite --parents
mkdir Folder --attributes ""
security Folder --owner "NT SERVICE\TrustedInstaller"
import-reg files/a.reg --hive Users/Kim/NTUSER.DAT --root=HKU\OFFLINE --code-page 1251
set-value HKLM\SOFTWARE\Key @ sz "two words"
set-value SYSTEM\Key Number REG_DWORD 0x1F --hive SYSTEM
delete-value HKCU\Key "--hive"
create-key HKCU\Key
delete-key HKCU\Key
answer-file files/unattend.xml
enable-feature TelnetClient
disable-feature SMB1Protocol
remove-package Package_for_KB1~31bf3856ad364e35~amd64~~1.0.0.0
"""
TIME = 133_511_760_000_000_000


def edits_in(folder: Path) -> list[Edit]:
    """The edits of the script above."""
    files = folder / "files"
    access = Access("D:(A;;FA;;;SY)", "S-1-5-18")
    installer = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
    tool = files / "tool.exe"
    kim = "Users/Kim/NTUSER.DAT"
    return [
        Add(
            tool,
            "Program Files/My Tool/",
            attributes=3,
            overwrite=True,
            parents=True,
            within=folder,
        ),
        Add(files, "Windows/Temp", access, time=TIME, links=SourceLinks.SKIP, within=folder),
        Replace("Windows/win.ini", tool, source_time=True),
        Delete("Windows\\Temp", recursive=True),
        Delete('a "quoted" name'),
        Move("old", "new/", overwrite=True, parents=True),
        MakeFolder("Folder", attributes=0),
        Secure("Folder", Access(owner=installer)),
        ImportReg(files / "a.reg", kim, r"HKU\OFFLINE", 1251),
        SetRegistryValue(r"HKLM\SOFTWARE\Key", "", 1, "two words\0".encode("utf-16-le")),
        SetRegistryValue(r"SYSTEM\Key", "Number", 4, b"\x1f\0\0\0", "SYSTEM"),
        DeleteRegistryValue(r"HKCU\Key", "--hive"),
        MakeRegistryKey(r"HKCU\Key"),
        DeleteRegistryKey(r"HKCU\Key"),
        PlaceAnswerFile(files / "unattend.xml"),
        SetFeature("TelnetClient", enabled=True),
        SetFeature("SMB1Protocol", enabled=False),
        RemovePackage("Package_for_KB1~31bf3856ad364e35~amd64~~1.0.0.0"),
    ]


def script(folder: Path, text: str | bytes) -> Path:
    path = folder / "list.edits"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_script_says_every_edit_in_its_order(tmp_path: Path) -> None:
    expected = edits_in(tmp_path)
    assert read_script(script(tmp_path, SCRIPT)) == expected
    assert read_script(script(tmp_path, "\ufeff" + SCRIPT.replace("\n", "\r\n"))) == expected
    other = tmp_path / "other"
    assert read_script(script(tmp_path, SCRIPT), other) == edits_in(other)
    assert {type(one) for one in expected} == {form.kind for form in FORMS.values()}


def test_data_give_the_same_edits_again(tmp_path: Path) -> None:
    for edit in edits_in(tmp_path):
        row = json.loads(json.dumps(as_data(edit, tmp_path)))
        assert from_data(row, tmp_path) == edit
        assert str(tmp_path) not in str(row)


def test_scripts_and_edits_of_a_command_line_keep_their_order(tmp_path: Path) -> None:
    path = script(tmp_path, "mkdir B\nmkdir C\n")
    words = ["--mkdir", "A", "--parents", "--script", str(path), "--rm", "--in-place"]
    assert edits_of([*words, f"--script={path}", "--sources", "/"]) == [
        MakeFolder("A", parents=True),
        MakeFolder("B"),
        MakeFolder("C"),
        Delete("--in-place"),
        MakeFolder("B"),
        MakeFolder("C"),
    ]
    (add,) = edits_of(["--add", "/etc/hostname", "x"])
    assert add == Add(Path("/etc/hostname"), "x")


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("add x", InvalidInput, "add without PATH"),
        ("delete x", InvalidInput, "an edit called 'delete'"),
        ("rm x y", InvalidInput, "'y' behind the end"),
        ("rm x --overwrite", InvalidInput, "'--overwrite' behind the end"),
        ("rm x --recursive=yes", InvalidInput, "takes no value"),
        ("rm x -r -r", InvalidInput, "twice"),
        ("mkdir x --attributes", InvalidInput, "without a value"),
        ("mkdir x --attributes D", InvalidInput, "attribute D"),
        ("mkdir x --time yesterday", InvalidInput, "time 'yesterday'"),
        ("mkdir x --time 1500-01-01", InvalidInput, "time"),
        ("mkdir x --sddl D:(A;;FA;;;??)", WimsmithError, ""),
        ("mkdir x --owner Nobody", InvalidInput, "account"),
        ('rm ""', InvalidInput, "path is empty"),
        ('rm "x', InvalidInput, "not closed"),
        ('rm "x"y', InvalidInput, "no blank behind"),
        ('rm x"y"', InvalidInput, "middle of"),
        ("rm C:/Windows/x", UnsafePath, "C:/Windows"),
        ("rm Windows/../x", UnsafePath, "Windows/../x"),
        ("add files/../../x y", UnsafePath, "not below"),
        ("add /etc/passwd y", UnsafePath, "not below"),
        ("add leads-out/passwd y", UnsafePath, "not below"),
        ("import-reg ../x.reg", UnsafePath, "not below"),
        ("import-reg x.reg --code-page 1", InvalidInput, "code page 1"),
        ("import-reg x.reg --code-page x", InvalidInput, "code page 'x'"),
        ("set-value HKLM x dword 4294967296", InvalidInput, "does not fit"),
        ("set-value HKLM x dword -1", InvalidInput, "no number"),
        ("set-value HKLM x binary 0", InvalidInput, "no bytes"),
        ("set-value HKLM x multi_sz a\\0\\0b", InvalidInput, "empty text"),
        ("set-value HKLM x word 1", InvalidInput, "registry type 'word'"),
        ("add x y --links maybe", InvalidInput, "links 'maybe'"),
        ("rm \0", InvalidInput, "NUL"),
        ("rm " + "x" * 40_000, LimitExceeded, "40000 characters"),
        ("\u202erm x", InvalidInput, "an edit called"),
    ],
)
def test_a_line_that_is_no_edit_is_told_with_its_number(
    tmp_path: Path, line: str, error: type[WimsmithError], words: str
) -> None:
    (tmp_path / "leads-out").symlink_to("/etc")
    path = script(tmp_path, f"# first\nmkdir A\n{line}\nmkdir B\n")
    with pytest.raises(error) as told:
        read_script(path)
    assert f"{path}, line 3: " in str(told.value)
    assert words in str(told.value)


@pytest.mark.parametrize("verb", REFUSED)
def test_what_is_not_done_is_refused_by_name(tmp_path: Path, verb: str) -> None:
    reason, text, hint = REFUSED[verb]
    with pytest.raises(NotSupported, match=text) as told:
        read_script(script(tmp_path, f"{verb} whatever"))
    assert (told.value.reason, told.value.hint) == (reason, hint)
    with pytest.raises(NotSupported):
        edits_of([f"--{verb}", "x"])


def test_scripts_are_limited(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded, match="more than 4 MiB"):
        read_script(script(tmp_path, b"#" * (MAX_SCRIPT_BYTES + 1)))
    with pytest.raises(LimitExceeded, match=f"line {MAX_EDITS + 1}: more than {MAX_EDITS} edits"):
        read_script(script(tmp_path, "rm x\n" * (MAX_EDITS + 1)))
    with pytest.raises(InvalidInput, match="line 2: not UTF-8"):
        read_script(script(tmp_path, b"rm x\n\xff"))
    with pytest.raises(NotFound):
        read_script(tmp_path / "nowhere")
    assert read_script(script(tmp_path, "/" * 0)) == []


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"edit": None},
        {"edit": ["rm"], "path": "x"},
        {"edit": "rm"},
        {"edit": "rm", "path": 3},
        {"edit": "rm", "path": None},
        {"edit": "rm", "path": "x", "recursive": "yes"},
        {"edit": "rm", "path": "x", "recursive": 1},
        {"edit": "rm", "path": "x", "overwrite": True},
        {"edit": "rm", "path": True},
        {"edit": "import-reg", "source": "x", "code_page": -1},
        {"edit": "import-reg", "source": "x", "code_page": 10**30},
        {"edit": "import-reg", "source": "x", "code_page": True},
        {"edit": "set-value", "key": "k", "name": "n", "type": 4, "data": "1"},
        {"edit": "add", "source": {"a": "b"}, "path": "x"},
    ],
)
def test_data_of_other_types_are_refused(tmp_path: Path, row: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        from_data(row, tmp_path)


@given(st.text(max_size=300) | st.binary(max_size=300))
def test_whatever_a_script_holds_it_is_edits_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    path = script(folder, raw)
    try:
        edits = read_script(path)
    except WimsmithError:
        return
    assert edits == [] or raw.strip()


_LIKELY = ("-r", "--overwrite", "--hive", '"', "a", "..", "C:\\x", "=", "")
_WORDS = st.lists(
    st.sampled_from([*FORMS, *REFUSED, *_LIKELY]) | st.text(max_size=20),
    max_size=6,
)


@given(st.lists(_WORDS, max_size=4))
def test_near_edits_are_edits_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("near")
    text = "\n".join(" ".join(words) for words in lines)
    path = script(folder, text.encode("utf-8", "surrogatepass"))
    try:
        for edit in read_script(path):
            assert from_data(as_data(edit, folder), folder) == edit
    except WimsmithError:
        pass


@given(st.integers(0, 2**32 - 1) | st.integers(0, 11), st.binary(max_size=40))
def test_every_value_has_words(kind: int, data: bytes) -> None:
    assert value_of(*words_of(kind, data)) == (kind, data)


def test_values_of_every_type_are_written_as_people_do() -> None:
    assert value_of("REG_SZ", "a") == (1, b"a\0\0\0")
    assert value_of("expand_sz", "%A%")[0] == 2
    assert value_of("Multi_SZ", "a\\0b") == (7, b"a\0\0\0b\0\0\0\0\0")
    assert value_of("multi_sz", "") == (7, b"\0\0")
    assert value_of("qword", "0xffffffffffffffff") == (11, b"\xff" * 8)
    assert value_of("binary", "01,02 03") == (3, b"\1\2\3")
    assert value_of("none", "") == (0, b"")
    assert value_of("hex(12345)", "ff") == (0x12345, b"\xff")
    assert words_of(4, b"\1\0\0\0") == ("dword", "1")
    assert words_of(4, b"\1") == ("hex(4)", "01")
    with pytest.raises(LimitExceeded):
        value_of("binary", "0" * (MAX_DATA_BYTES + 2))
