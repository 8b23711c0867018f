r"""Paths as administrators write them: local, and UNC through the roots of the site."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.errors import InvalidInput, PathNotMapped
from wimsmith.site.sources import check_root, to_local

ROOTS = {
    "\\\\files\\images": "/mnt/images",
    "\\\\files\\images\\deep": "/mnt/deep",
    "\\\\nas.example\\wim$": "/srv/wim",
}


@pytest.mark.parametrize(
    ("path", "local"),
    [
        ("/srv/install.wim", "/srv/install.wim"),
        ("\\\\files\\images\\install.wim", "/mnt/images/install.wim"),
        ("\\\\FILES\\Images\\Sub\\Install.WIM", "/mnt/images/Sub/Install.WIM"),
        ("\\\\files\\images\\deep\\x.wim", "/mnt/deep/x.wim"),
        ("//files/images/a/b.wim", "/mnt/images/a/b.wim"),
        ("\\\\?\\UNC\\files\\images\\x.wim", "/mnt/images/x.wim"),
        ("\\\\nas.example\\wim$\\x.wim", "/srv/wim/x.wim"),
        ("\\\\files\\images", "/mnt/images"),
    ],
)
def test_paths_are_mapped(path: str, local: str) -> None:
    assert to_local(path, ROOTS) == Path(local)


@pytest.mark.parametrize(
    "path",
    [
        "\\\\files\\images\\..\\..\\etc\\passwd",
        "\\\\files\\images\\.\\x.wim",
        "relative.wim",
        "",
        "C:\\images\\install.wim",
        "/srv/x\x00.wim",
    ],
)
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(InvalidInput):
        to_local(path, ROOTS)


@pytest.mark.parametrize("path", ["\\\\files\\other\\x.wim", "\\\\files\\imagesx\\x.wim"])
def test_an_unmapped_root_is_refused_with_what_to_do(path: str) -> None:
    with pytest.raises(PathNotMapped) as refused:
        to_local(path, ROOTS)

    assert "unc_roots" in (refused.value.hint or "")


NAMES = st.lists(st.text(st.characters(exclude_characters="/\\\x00"), min_size=1), max_size=4)


@given(names=NAMES)
def test_what_is_mapped_stays_below_its_root(names: list[str]) -> None:
    path = "\\\\files\\images\\" + "\\".join(names)
    try:
        local = to_local(path, ROOTS)
    except InvalidInput:
        assert {".", ".."} & set(names)
        return

    assert Path("/mnt/images") in [local, *local.parents] or Path("/mnt/deep") in [
        local,
        *local.parents,
    ]


def test_roots_are_brought_to_one_form() -> None:
    assert check_root("//files/images/") == "\\\\files\\images"
    for bad in ("\\\\files", "/mnt/images", "files\\images", "\\\\files\\..\\x"):
        with pytest.raises(InvalidInput):
            check_root(bad)
