"""The comparison sees every kind of difference, in both directions."""

from dataclasses import replace

import pytest

from oracle.compare import differences
from oracle.state import Entry, ImageState, Key, Value
from oracle.want import ImageWant

PLAIN = bytes.fromhex("0100048000000000000000000000000000000000")
OTHER = bytes.fromhex("0100049000000000000000000000000000000000")
CBS = r"Microsoft\Windows\CurrentVersion\Component Based Servicing"


def file(path: str, sha1: str, *links: str) -> Entry:
    names = frozenset([path.lower(), *links])
    return Entry(path, 0x20, PLAIN, sha1, "", names, ("Last Write Time = then",))


@pytest.fixture
def before() -> ImageState:
    entries = {
        "windows": Entry("Windows", 0x10, PLAIN, "0" * 40, "", frozenset(["windows"])),
        "windows/a.dll": file("Windows/a.dll", "aa", "windows/b.dll"),
        "windows/b.dll": file("Windows/b.dll", "aa", "windows/a.dll"),
    }
    keys = {
        "": Key("", PLAIN, {}),
        "key": Key("Key", PLAIN, {"name": Value("Name", 1, b"x")}),
    }
    return ImageState(entries, {"SOFTWARE": keys})


def with_entry(state: ImageState, entry: Entry) -> ImageState:
    return replace(state, entries={**state.entries, entry.path.lower(): entry})


def with_key(state: ImageState, key: Key) -> ImageState:
    keys = {**state.hives["SOFTWARE"], key.path.lower(): key}
    return replace(state, hives={"SOFTWARE": keys})


def test_an_image_that_did_not_change_is_as_expected(before: ImageState) -> None:
    assert differences(ImageWant(before), before) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"sha1": "bb"}, "SHA-1 is bb, not aa"),
        ({"attributes": 0x22}, "attributes are 0x22, not 0x20"),
        ({"short_name": "A~1"}, "short name is 'A~1', not ''"),
        ({"security": OTHER}, "security is"),
        ({"rest": ("Last Write Time = now",)}, "changed from"),
        ({"links": frozenset(["windows/a.dll"])}, "names are ['windows/a.dll'], not"),
        ({"path": "Windows/A.DLL"}, "is written Windows/A.DLL"),
    ],
)
def test_whatever_changes_on_an_untouched_file_is_seen(
    before: ImageState, change: dict[str, object], line: str
) -> None:
    changed = replace(before.entries["windows/a.dll"], **change)  # type: ignore[arg-type]
    entries = {**before.entries, "windows/a.dll": changed}
    found = differences(ImageWant(before), replace(before, entries=entries))
    assert len(found) == 1
    assert line in found[0]


def test_files_too_many_and_too_few_are_seen(before: ImageState) -> None:
    extra = with_entry(before, file("Windows/c.dll", "cc"))
    assert differences(ImageWant(before), extra) == ["extra file: windows/c.dll"]
    assert differences(ImageWant(extra), before) == ["missing file: windows/c.dll"]


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (Key("Key", PLAIN, {}), "missing value 'name'"),
        (Key("Key", OTHER, {"name": Value("Name", 1, b"x")}), "security is"),
        (Key("Key", PLAIN, {"name": Value("Name", 2, b"x")}), "has type 2, not 1"),
        (Key("Key", PLAIN, {"name": Value("Name", 1, b"y")}), "is b'y', not b'x'"),
        (Key("Key", PLAIN, {"name": Value("NAME", 1, b"x")}), "is written 'NAME'"),
        (Key("New", PLAIN, {}), "extra key: SOFTWARE\\new"),
    ],
)
def test_whatever_changes_in_the_registry_is_seen(before: ImageState, key: Key, line: str) -> None:
    found = differences(ImageWant(before), with_key(before, key))
    assert len(found) == 1
    assert line in found[0]


def test_missing_keys_are_seen_but_dropped_caches_are_allowed(before: ImageState) -> None:
    cache = Key(rf"{CBS}\ApplicabilityEvaluationCache\a package", PLAIN, {})
    assert differences(ImageWant(with_key(before, cache)), before) == []
    lost = differences(ImageWant(with_key(before, Key("Lost", PLAIN, {}))), before)
    assert lost == ["missing key: SOFTWARE\\lost"]


def test_a_replaced_file_leaves_its_link_group(before: ImageState) -> None:
    want = ImageWant(before)
    want.file("Windows/new.dll", "cc", None)
    want.link("Windows/a.dll", "Windows/new.dll")
    new = {"windows/new.dll", "windows/a.dll"}
    after = before
    for entry in (
        file("Windows/new.dll", "cc", *new),
        file("Windows/a.dll", "cc", *new),
        file("Windows/b.dll", "aa"),
    ):
        after = with_entry(after, entry)
    assert differences(want, after) == []
    assert len(differences(want, before)) == 4


def test_expected_values_may_leave_the_data_open(before: ImageState) -> None:
    want = ImageWant(before)
    want.value("SOFTWARE", "Key", "Time", 4, None)
    values = {"name": Value("Name", 1, b"x"), "time": Value("Time", 4, b"any")}
    assert differences(want, with_key(before, Key("Key", PLAIN, values))) == []
    assert differences(want, before) == ["SOFTWARE\\key: missing value 'time'"]
