"""The XML document: facts read, values written, all else kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.errors import DamagedWim, InvalidInput, NotSupported
from wimsmith.offline.wim.format.document import Document, ImageEdit, WindowsInfo
from wimsmith.offline.wim.format.tree import Statistics

WINDOWS = (
    "<WINDOWS><ARCH>9</ARCH><PRODUCTNAME>Practice</PRODUCTNAME><EDITIONID>Core</EDITIONID>"
    "<INSTALLATIONTYPE>Client</INSTALLATIONTYPE><SERVICINGDATA><GDRDUREVISION>0</GDRDUREVISION>"
    "</SERVICINGDATA><PRODUCTTYPE>WinNT</PRODUCTTYPE><PRODUCTSUITE>Terminal Server</PRODUCTSUITE>"
    "<LANGUAGES><LANGUAGE>de-DE</LANGUAGE><DEFAULT>de-DE</DEFAULT></LANGUAGES><VERSION>"
    "<MAJOR>10</MAJOR><MINOR>0</MINOR><BUILD>19041</BUILD><SPBUILD>1</SPBUILD><SPLEVEL>0</SPLEVEL>"
    "<BRANCH>vb_release</BRANCH></VERSION><SYSTEMROOT>WINDOWS</SYSTEMROOT></WINDOWS>"
)
TIME = "<HIGHPART>0x01D6AABB</HIGHPART><LOWPART>0xCCDDEEFF</LOWPART>"
TEXT = (
    f'<WIM><!-- note --><TOTALBYTES>5</TOTALBYTES><IMAGE INDEX="2"><NAME>Two</NAME></IMAGE>'
    f'<IMAGE INDEX="1" x="y"><DIRCOUNT>3</DIRCOUNT><FILECOUNT>4</FILECOUNT>{WINDOWS}'
    f"<CREATIONTIME>{TIME}</CREATIONTIME><NAME>One</NAME><FLAGS>Core</FLAGS><ODD>kept</ODD>"
    f"<DISPLAYNAME>Display</DISPLAYNAME></IMAGE></WIM>"
)


def parsed(text: str) -> Document:
    return Document.parse(text.encode("utf-16"))


def test_facts_of_each_image_are_read() -> None:
    one, two = parsed(TEXT).images(2)
    assert (one.number, one.name, one.flags, one.display_name) == (1, "One", "Core", "Display")
    assert (one.directory_count, one.file_count, one.total_bytes) == (3, 4, 0)
    assert (one.created, one.modified) == (0x01D6AABB_CCDDEEFF, None)
    assert one.windows == WindowsInfo(
        architecture=9,
        product_name="Practice",
        edition_id="Core",
        installation_type="Client",
        product_type="WinNT",
        product_suite="Terminal Server",
        languages=("de-DE",),
        default_language="de-DE",
        major=10,
        minor=0,
        build=19041,
        service_pack_build=1,
        service_pack_level=0,
        branch="vb_release",
        system_root="WINDOWS",
    )
    assert (two.name, two.windows, two.created) == ("Two", None, None)


def test_an_edit_changes_what_it_says_and_nothing_else() -> None:
    document = parsed(TEXT)
    document.edit(1, ImageEdit(modified=0x1_0000_0002, values={"WINDOWS/VERSION/SPBUILD": "789"}))
    text = document.text()
    time = "<HIGHPART>0x00000001</HIGHPART><LOWPART>0x00000002</LOWPART>"
    added = f"<LASTMODIFICATIONTIME>{time}</LASTMODIFICATIONTIME></IMAGE></WIM>"
    expected = TEXT.replace("<SPBUILD>1<", "<SPBUILD>789<").replace("</IMAGE></WIM>", added)
    assert text == expected
    assert Document.parse(document.serialize()).text() == text


def test_a_windows_block_is_made_and_completed() -> None:
    document = Document.new()
    number = document.append_image()
    windows = WindowsInfo(architecture=12, languages=("en-US", "fr-FR"), default_language="en-US")
    document.edit(number, ImageEdit(name="N", windows=windows))
    document.edit(number, ImageEdit(windows=WindowsInfo(build=26100, languages=("sv-SE",))))
    (info,) = document.images(1)
    assert info.windows == WindowsInfo(
        architecture=12, languages=("sv-SE",), default_language="en-US", build=26100
    )


def test_images_are_kept_in_the_order_asked_for() -> None:
    document = parsed(TEXT)
    document.keep([2])
    assert [(info.number, info.name) for info in document.images(1)] == [(1, "Two")]


def test_statistics_and_sizes_are_written() -> None:
    document = parsed(TEXT)
    document.set_statistics(2, Statistics(1, 2, 3, 4))
    document.set_total_bytes(99)
    two = document.images(2)[1]
    assert (two.directory_count, two.file_count, two.total_bytes, two.hard_link_bytes) == (
        1,
        2,
        3,
        4,
    )
    assert "<TOTALBYTES>99</TOTALBYTES>" in document.text()


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")))
def test_any_name_survives(name: str) -> None:
    document = Document.new()
    document.append_image()
    document.edit(1, ImageEdit(name=name))
    assert Document.parse(document.serialize()).images(1)[0].name == name


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe<",
        b"\xff\xfe\x00\xd8<\x00",
        "<WIM><IMAGE></WIM>".encode("utf-16"),
        '<!DOCTYPE x [<!ENTITY a "b">]><WIM>&a;</WIM>'.encode("utf-16"),
        '<!DOCTYPE x SYSTEM "x"><WIM/>'.encode("utf-16"),
        ("<WIM>" + "<a>" * 100_000).encode("utf-16"),
        "<WIM>\0</WIM>".encode("utf-16"),
    ],
)
def test_documents_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(DamagedWim):
        Document.parse(data)


@pytest.mark.parametrize(
    "text",
    [
        "<WIM/>",
        '<WIM><IMAGE INDEX="1"/></WIM>',
        '<WIM><IMAGE INDEX="1"/><IMAGE INDEX="1"/></WIM>',
        '<WIM><IMAGE INDEX="1"/><IMAGE INDEX="3"/></WIM>',
        '<WIM><IMAGE INDEX="0"/><IMAGE INDEX="1"/></WIM>',
        f'<WIM><IMAGE INDEX="1"/><IMAGE INDEX="{"9" * 5000}"/></WIM>'.replace("9" * 5000, "99"),
    ],
)
def test_images_must_be_those_the_header_counts(text: str) -> None:
    with pytest.raises(DamagedWim):
        parsed(text).images(2)


def test_numbers_that_are_none_are_absent() -> None:
    text = (
        '<WIM><IMAGE INDEX="1"><DIRCOUNT>many</DIRCOUNT><CREATIONTIME><HIGHPART>x</HIGHPART>'
        "</CREATIONTIME><WINDOWS><ARCH>-1</ARCH><VERSION><BUILD>\u0663</BUILD></VERSION></WINDOWS>"
        "</IMAGE></WIM>"
    )
    (info,) = parsed(text).images(1)
    assert (info.directory_count, info.created) == (0, None)
    assert info.windows == WindowsInfo()


@pytest.mark.parametrize("text", ["<ESD/>", "<WIM><ESD><ENCRYPTED/></ESD></WIM>"])
def test_encrypted_files_are_told_apart(text: str) -> None:
    with pytest.raises(NotSupported, match="encrypted-esd"):
        parsed(text)


@pytest.mark.parametrize("name", ["a\x01b", "\ud800", "\ufffe"])
def test_text_that_xml_cannot_hold_is_refused(name: str) -> None:
    document = Document.new()
    document.append_image()
    with pytest.raises(InvalidInput):
        document.edit(1, ImageEdit(name=name))
