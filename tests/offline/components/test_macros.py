"""Macros in the texts of manifests."""

import pytest

from wimsmith.errors import NotSupported
from wimsmith.offline.components.install.destinations import Places
from wimsmith.offline.components.install.macros import Expander, cultures_in_order, string_tables

PLACES = Places("amd64", r"D:\Windows", "wow64")


def test_folders_are_those_of_the_running_system() -> None:
    expander = Expander(PLACES)
    assert expander.expand(r"$(runtime.system32)\a.dll,-1") == r"D:\Windows\SysWOW64\a.dll,-1"
    assert expander.expand("$(runtime.windows)") == r"D:\Windows"
    assert expander.expand("100 $ (no macro)") == "100 $ (no macro)"
    assert expander.expand("%SystemRoot%") == "%SystemRoot%"


def test_texts_come_from_the_first_table_that_has_them() -> None:
    expander = Expander(PLACES, ({"title": "Titel"}, {"title": "Title", "more": "More"}))
    assert expander.expand("$(string.title): $(resourceString.more)") == "Titel: More"


def test_texts_may_hold_macros_themselves() -> None:
    expander = Expander(PLACES, ({"path": r"$(runtime.windows)\x"},))
    assert expander.expand("$(string.path)") == r"D:\Windows\x"


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("$(string.missing)", ({"title": "x"},)),
        ("$(runtime.unheardOf)", ()),
        ("$(something)", ()),
        ("$(string.loop)", ({"loop": "$(string.loop)"},)),
    ],
)
def test_what_is_not_known_is_refused(text: str, tables: tuple[dict[str, str], ...]) -> None:
    with pytest.raises(NotSupported) as refusal:
        Expander(PLACES, tables).expand(text)
    assert refusal.value.reason == "macro"


def test_cultures_are_asked_own_then_image_then_english() -> None:
    available = ("ja-JP", "en-US", "fr-FR", "de-DE")
    order = cultures_in_order(
        available, component_language="de-de", image_languages=("fr-FR", "ja-JP")
    )
    assert order == ("de-DE", "fr-FR", "ja-JP", "en-US")
    neutral = cultures_in_order(available, component_language="neutral", image_languages=())
    assert neutral == ("en-US", "ja-JP", "fr-FR", "de-DE")


def test_tables_follow_the_cultures() -> None:
    strings = {"fr-FR": {"a": "un"}, "en-US": {"a": "one"}}
    tables = string_tables(strings, component_language="", image_languages=("en-US",))
    assert tables == ({"a": "one"}, {"a": "un"})
