"""Names compare as Windows compares them, not as Unicode would have it today."""

import pytest

from wimsmith.offline.registry.names import name_hash, name_hint, sort_key
from wimsmith.offline.upcase import upcase

SAME = [("abc", "ABC"), ("\u0444", "\u0424"), ("\u00ff", "\u0178"), ("\u0180", "\u0243")]
ALONE = ["\u00df", "\u00b5", "\u0131", "\u017f", "\u01c5", "\u03c2", "\u10d0", "\u0265", "\u03f3"]


@pytest.mark.parametrize(("lower", "upper"), SAME)
def test_these_are_one_name(lower: str, upper: str) -> None:
    assert upcase(lower) == upcase(upper) == upper


@pytest.mark.parametrize("name", [*ALONE, "\U00010428"])
def test_these_have_no_capital_in_windows(name: str) -> None:
    assert upcase(name) == name


def test_order_is_that_of_utf16_units() -> None:
    names = ["ss1", "SS3", "\u00df2", "\U00010000", "\uffee"]
    assert sorted(["\uffee", *names[:-1]], key=sort_key) == names


def test_hash_and_hint_follow_the_format() -> None:
    assert name_hash("a") == name_hash("A") == 65
    assert name_hash("ab") == 65 * 37 + 66
    assert name_hint("key_with") == int.from_bytes(b"key_", "little")
    assert name_hint("ab") == int.from_bytes(b"ab\0\0", "little")
    assert name_hint("\u4e2d") == 0
