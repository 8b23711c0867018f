import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.errors import UnsafePath
from wimsmith.offline import paths


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "C:",
        "nul",
        "NUL.txt",
        "com1",
        "aux .log",
        "a.",
        "a ",
        "a\0b",
        "x" * 256,
    ],
)
def test_names_that_windows_refuses_are_refused(name: str) -> None:
    with pytest.raises(UnsafePath):
        paths.check_name(name)


@pytest.mark.parametrize(
    "name", ["a", ".git", "nullify", "com10", "..x", "ä.dll", "$filehashes$.dat"]
)
def test_names_that_windows_takes_are_taken(name: str) -> None:
    assert paths.check_name(name) == name


def test_both_separators_lead_to_one_normal_form() -> None:
    assert paths.check("\\Windows\\System32//x.dll") == "Windows/System32/x.dll"
    assert paths.parent("Windows/System32/x.dll") == "Windows/System32"
    assert paths.join("Windows", "a\\b") == "Windows/a/b"


def test_a_path_cannot_climb() -> None:
    with pytest.raises(UnsafePath):
        paths.check("Windows/../../etc")


@given(st.text(max_size=40))
def test_folding_keeps_the_length_and_is_stable(name: str) -> None:
    folded = paths.fold(name)
    assert len(folded) == len(name)
    assert paths.fold(folded) == folded


@given(st.text(max_size=60))
def test_whatever_passes_stays_below_the_root(path: str) -> None:
    try:
        normal = paths.check(path)
    except UnsafePath:
        return
    assert not normal.startswith("/")
    assert ".." not in normal.split("/")
