"""Bounds of DER and BER elements, within limits."""

import pytest

from wimsmith.offline.packages.trust import der
from wimsmith.offline.packages.trust.der import (
    MAX_DEPTH,
    OCTET_STRING,
    SEQUENCE,
    Element,
    check_shape,
    element,
    elements,
    expect,
)


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"\x05\x00", 2),
        (b"\x30\x00rest", 2),
        (b"\x30\x04\x04\x00\x05\x00", 6),
        (b"\x30\x81\x02\x05\x00", 5),
        (b"\x30\x80\x05\x00\x00\x00rest", 6),
        (b"\x30\x80\x30\x80\x04\x01x\x00\x00\x00\x00", 11),
        (b"\x30\x06\x30\x80\x05\x00\x00\x00", 8),
    ],
)
def test_where_the_first_element_ends(data: bytes, end: int) -> None:
    assert check_shape(data) == end


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x05\x05\x00",
        b"\x30\x03\x04\x02ab",
        b"\x30\x80\x05\x00",
        b"\x30\x80\x05\x00\x00",
        b"\x04\x80ab\x00\x00",
        b"\x1f\x81\x00",
        b"\x30\x85\x00\x00\x00\x00\x00",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x02\x30\x80\x00\x00",
        b"\x30\x80" * (MAX_DEPTH + 1),
    ],
)
def test_shapes_that_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"element|length|tag|nested"):
        check_shape(data)


def test_very_many_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(der, "MAX_ELEMENTS", 10)
    assert check_shape(b"\x30\x12" + b"\x05\x00" * 9) == 20
    with pytest.raises(ValueError, match="more than 10 elements"):
        check_shape(b"\x30\x14" + b"\x05\x00" * 10)


def test_elements_in_a_list() -> None:
    data = b"\x30\x05\x04\x01a\x05\x00"
    whole = element(data, 0, len(data))
    assert whole == Element(SEQUENCE, 2, 7)
    assert [one.tag for one in elements(data, whole)] == [OCTET_STRING, 5]
    with pytest.raises(ValueError, match="tag 0x30 where 0x4 should be"):
        expect(whole, OCTET_STRING)
    with pytest.raises(ValueError, match="indefinite"):
        element(b"\x30\x80\x00\x00", 0, 4)
