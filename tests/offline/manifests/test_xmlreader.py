"""XML of strangers: read whole or refused, never more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.errors import DamagedManifest, LimitExceeded, WimsmithError
from wimsmith.offline.manifests import xmlreader
from wimsmith.offline.manifests.component import parse_component
from wimsmith.offline.manifests.package import parse_package
from wimsmith.offline.manifests.xmlreader import parse_xml


def test_names_text_and_namespaces_are_kept() -> None:
    root = parse_xml(b'<a xmlns="urn:x" xmlns:y="urn:y" n="1"><y:b y:m="2">t&amp;u</y:b></a>')
    assert (root.tag, root.get("n")) == ("{urn:x}a", "1")
    assert (root[0].tag, root[0].get("{urn:y}m"), root[0].text) == ("{urn:y}b", "2", "t&u")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_encodings_of_real_manifests(encoding: str) -> None:
    assert parse_xml("<a>ä</a>".encode(encoding)).text == "ä"


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
@pytest.mark.parametrize("declared", ["utf-8", "UTF-16", "us-ascii"])
def test_a_mark_counts_more_than_what_is_declared(mark: bytes, declared: str) -> None:
    text = f'<?xml version="1.0" encoding="{declared}"?><a>ä€</a>'
    encoding = "utf-16-le" if mark == b"\xff\xfe" else "utf-16-be"
    assert parse_xml(mark + text.encode(encoding)).text == "ä€"


@pytest.mark.parametrize(
    "document",
    [
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b"",
        b"<a>",
        b"<a/><b/>",
        b"\x00\x01",
        b'<?xml version="1.0" encoding="martian"?><a/>',
        b"<a>&undefined;</a>",
    ],
)
def test_types_entities_and_damage_are_refused(document: bytes) -> None:
    with pytest.raises(DamagedManifest):
        parse_xml(document)


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> bytes:
        return b"<a>" * depth + b"</a>" * depth

    parse_xml(nested(xmlreader.MAX_DEPTH))
    with pytest.raises(LimitExceeded):
        parse_xml(nested(xmlreader.MAX_DEPTH + 1))


def test_size_and_count_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xmlreader, "MAX_XML_BYTES", 100)
    with pytest.raises(LimitExceeded):
        parse_xml(b"<a>" + b" " * 100 + b"</a>")
    monkeypatch.setattr(xmlreader, "MAX_NODES", 3)
    with pytest.raises(LimitExceeded):
        parse_xml(b'<a b="" c=""><d/></a>')


def test_an_overlong_namespace_cannot_multiply() -> None:
    with pytest.raises(LimitExceeded):
        parse_xml(b'<a xmlns="' + b"u" * 2000 + b'"><b/><b/></a>')


@given(st.binary(max_size=300))
def test_any_bytes_give_a_tree_or_our_error(data: bytes) -> None:
    for parse in (parse_xml, parse_package, parse_component):
        for document in (data, b"<a>" + data + b"</a>"):
            try:
                parse(document)
            except WimsmithError:
                continue
