"""Which version of the library needs what, and that it is said once."""

import logging

import pytest

from wimsmith.offline.wim.workers import _libwim
from wimsmith.offline.wim.workers.libwim_versions import (
    Version,
    Workaround,
    note_version,
    warning,
    workarounds,
)

ALL = frozenset(Workaround)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((1, 13, 6), ALL),
        ((1, 14, 0), ALL - {Workaround.CHECK_HEADER}),
        ((1, 14, 1), ALL - {Workaround.CHECK_HEADER}),
        ((1, 14, 2), {Workaround.LINK_MARKS}),
        ((1, 14, 4), {Workaround.LINK_MARKS}),
        ((1, 14, 5), frozenset()),
        ((1, 15, 0), frozenset()),
        ((2, 0, 0), frozenset()),
    ],
)
def test_each_version_gets_what_it_needs(version: Version, expected: frozenset[Workaround]) -> None:
    assert workarounds(version) == expected


@pytest.mark.parametrize("patch", range(6))
def test_versions_with_faults_are_warned_about(patch: int) -> None:
    text = warning((1, 14, patch))
    assert (text is not None) == (patch <= 3)
    assert text is None or f"libwim 1.14.{patch} " in text
    assert warning((1, 13, 6)) is None


def test_a_version_is_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    note_version.cache_clear()
    with caplog.at_level(logging.INFO, "wimsmith.offline"):
        for _ in range(3):
            assert note_version((1, 14, 2)) == {Workaround.LINK_MARKS}
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "libwim 1.14.2, work-arounds: link-marks" in caplog.text
    note_version.cache_clear()


def test_the_installed_library_is_one_that_is_known() -> None:
    assert _libwim.version() >= (1, 13, 6)
    assert workarounds(_libwim.version()) <= ALL
