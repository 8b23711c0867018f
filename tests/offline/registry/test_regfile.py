"""`.reg` files as people and the Registry Editor write them, and what is wrong with others.

What Windows accepts and skips was taken from the conformance tests of Wine for `reg import`.
"""

import random
import re
import sys
import time
from collections import Counter
from contextlib import suppress

import pytest

from wimsmith.errors import DamagedRegFile, InvalidInput, LimitExceeded, WimsmithError
from wimsmith.offline.registry import ValueType, encode_dword, encode_multi_text, encode_text
from wimsmith.offline.registry import regfile as module
from wimsmith.offline.registry.regfile import (
    DropKey,
    DropValue,
    MakeKey,
    PutValue,
    RegEdit,
    RegVersion,
    parse_reg,
)

V5 = "Windows Registry Editor Version 5.00"
KEY = "[HKEY_CURRENT_USER\\Key]\r\n"
ROUNDS = 10_000


def utf16(text: str) -> bytes:
    return b"\xff\xfe" + text.encode("utf-16-le", "surrogatepass")


def edits(body: str, head: str = V5) -> tuple[RegEdit, ...]:
    return parse_reg(utf16(f"{head}\r\n\r\n{body}")).edits


def put(line: str, head: str = V5) -> tuple[str, int, bytes]:
    """Name, type and data of the value that a line sets."""
    made, value = edits(KEY + line, head)
    assert isinstance(made, MakeKey)
    assert isinstance(value, PutValue)
    assert value.key == made.key
    return value.name, value.type, value.data


def refusal(body: str, head: str = V5) -> str:
    with pytest.raises(DamagedRegFile) as raised:
        edits(body, head)
    return str(raised.value)


def test_a_file_of_every_kind_of_line() -> None:
    found = edits(
        "; a comment\r\n[-HKEY_CURRENT_USER\\Old]\r\n\r\n[HKEY_CURRENT_USER\\New\\Sub]\r\n"
        '@="default"\r\n"gone"=-\r\n  "number" = dword:1f  ; comment\r\n"bytes"=hex:00,\\\r\n'
        "  ff\r\n# another comment\r\n"
    )
    old, new = "HKEY_CURRENT_USER\\Old", "HKEY_CURRENT_USER\\New\\Sub"
    assert found == (
        DropKey(4, old),
        MakeKey(6, new),
        PutValue(7, new, "", ValueType.SZ, encode_text("default")),
        DropValue(8, new, "gone"),
        PutValue(9, new, "number", ValueType.DWORD, encode_dword(0x1F)),
        PutValue(10, new, "bytes", ValueType.BINARY, b"\0\xff"),
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HKLM\\SOFTWARE", "HKEY_LOCAL_MACHINE\\SOFTWARE"),
        ("hkey_local_machine\\Software", "HKEY_LOCAL_MACHINE\\Software"),
        ("HKCR\\.txt", "HKEY_CLASSES_ROOT\\.txt"),
        ("hkcu", "HKEY_CURRENT_USER"),
        ("HKU\\.DEFAULT", "HKEY_USERS\\.DEFAULT"),
        ("HKCC\\System", "HKEY_CURRENT_CONFIG\\System"),
        ("P\\Key", "P\\Key"),
        ("HKLM\\A\\\\B\\", "HKEY_LOCAL_MACHINE\\A\\B"),
        ("HKLM\\with] bracket", "HKEY_LOCAL_MACHINE\\with] bracket"),
        ("HKLM\\https://x; y #z \"q'", "HKEY_LOCAL_MACHINE\\https://x; y #z \"q'"),
        ("HKLM\\end ", "HKEY_LOCAL_MACHINE\\end "),
    ],
)
def test_names_of_keys(written: str, meant: str) -> None:
    assert edits(f"[{written}]") == (MakeKey(3, meant),)
    assert edits(f" \t[-{written}] ; comment") == (DropKey(3, meant),)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('"a"=""', ("a", 1, encode_text(""))),
        ('""="x"', ("", 1, encode_text("x"))),
        ('@  =  "x"  ', ("", 1, encode_text("x"))),
        ('"\\\\n\\"ame"="C:\\\\p \\"q\\""', ('\\n"ame', 1, encode_text('C:\\p "q"'))),
        ('"a"="b;c"; "d"', ("a", 1, encode_text("b;c"))),
        ('"a;=b"="x"', ("a;=b", 1, encode_text("x"))),
        ('"a"="one\r\ntwo\nthree" ; x', ("a", 1, encode_text("one\r\ntwo\nthree"))),
        ('"\U0001f600\ud800"="\udfff"', ("\U0001f600\ud800", 1, encode_text("\udfff"))),
        ('"a"=dword:\t00000010', ("a", 4, encode_dword(16))),
        ('"a"=dword:FFFFFFFF', ("a", 4, b"\xff" * 4)),
        ('"a"=hex:', ("a", 3, b"")),
        ('"a"=hex(1):', ("a", 1, b"")),
        ('"a"=hex(2):25,00,', ("a", 2, b"%\0")),
        ('"a"=hex(b):01,00,00,00,00,00,00,00', ("a", 11, b"\1" + bytes(7))),
        ('"a"=hex(ffffffff):1,a', ("a", 0xFFFFFFFF, b"\1\n")),
        ('"a"=hex(0):\\\r\n\r\n  ; comment\r\n  11,\\;c\r\n\t22', ("a", 0, b"\x11\x22")),
        ('"a"=hex:11,  \\  ; c\r\n22 ; c', ("a", 3, b"\x11\x22")),
    ],
)
def test_values(line: str, value: tuple[str, int, bytes]) -> None:
    assert put(line) == value


def test_texts_of_version_4_are_in_the_code_page() -> None:
    data = 'REGEDIT4\n[HKCU\\Ж]\n"ш"="щ"\n"e"=hex(2):e6,00\n"m"=hex(7):e6,00,ff,00,00\n"b"=hex:e6\n'
    made, *values = parse_reg(data.encode("cp1251"), code_page=1251).edits
    assert made.key == "HKEY_CURRENT_USER\\Ж"
    assert [(one.name, one.data) for one in values if isinstance(one, PutValue)] == [
        ("ш", encode_text("щ")),
        ("e", encode_text("ж")),
        ("m", encode_multi_text(["ж", "я"])),
        ("b", b"\xe6"),
    ]


@pytest.mark.parametrize("break_", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("codec", "mark"), [("utf-16-le", b"\xff\xfe"), ("utf-8", b"\xef\xbb\xbf"), ("utf-8", b"")]
)
def test_every_form_of_the_text_is_read(codec: str, mark: bytes, break_: str) -> None:
    text = break_.join((V5, "", "[HKLM\\Größe]", '"ключ"="値"'))
    found = parse_reg(mark + text.encode(codec))
    assert found.version is RegVersion.V5
    assert found.edits == (
        MakeKey(3, "HKEY_LOCAL_MACHINE\\Größe"),
        PutValue(4, "HKEY_LOCAL_MACHINE\\Größe", "ключ", 1, encode_text("値")),
    )


def test_version_5_without_a_mark_may_be_in_the_code_page() -> None:
    data = f"{V5}\n[HKLM\\Größe]\n".encode("cp1252")
    assert parse_reg(data).edits == (MakeKey(2, "HKEY_LOCAL_MACHINE\\Größe"),)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n" + V5.encode(),
        b"regedit4\n",
        b"REGEDIT5\n",
        V5.upper().encode(),
        V5.encode("utf-16-le"),
        b"\xfe\xff" + V5.encode("utf-16-be"),
        b"\xff\xfeR",
        b"REGEDIT4\n[HKCU\\\x81]\n",
        b"\xef\xbb\xbf" + V5.encode() + b"\n[HKCU\\\xff]\n",
        V5.encode() + b"\n[HKCU\\\0]\n",
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedRegFile):
        parse_reg(data)


@pytest.mark.parametrize("page", [0, 1200, 99999, -1])
def test_unknown_code_pages_are_refused(page: int) -> None:
    with pytest.raises(InvalidInput, match="code page"):
        parse_reg(b"REGEDIT4\n", code_page=page)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "neither a key nor a value"),
        ("[HKCU\\No end", "does not end in ]"),
        ("[HKCU\\Key] more", "does not end in ]"),
        ("[HKCU\\Key] ; see [1]", "two places"),
        ("[]", "no key can have this name"),
        ("[HKCU\\" + "n" * 256 + "]", "no key can have this name"),
        ('"a=1', "name of a value does not end"),
        ('"a\\b"="c"', "bare \\"),
        ('"a" "c"', "no = behind the name"),
        ('"a"=', "no known form"),
        ('"a"=qword:1', "no known form"),
        ('"a"=HEX:00', "no known form"),
        ('"a"=hex(0x2):00', "no known form"),
        ('"a"=hex(100000000):00', "no known form"),
        ('"a"=dword:', "no known form"),
        ('"a"=dword:123456789', "no known form"),
        ('"a"=dword:0x1', "behind the data"),
        ('"a"=dword:1 2', "behind the data"),
        ('"a"=- x', "behind the data"),
        ('"a"="b"c', "behind the data"),
        ('"a"="b" # c', "behind the data"),
        ('"a"="b\\n"', "a \\ in a text"),
        ('"a"="b', "does not end"),
        ('"a"="b\r\n"c"="d"', "behind the data"),
        ('"a"=hex:100', "not a byte"),
        ('"a"=hex:00,,01', "not a byte"),
        ('"a"=hex:0g', "not a byte"),
        ('"a"=hex:00 01', "not a byte"),
        ('"a"=hex:,\\\r\n00', "not a byte"),
        ('"a"=hex:00\\\r\n01', "no comma before"),
        ('"a"=hex:00,\\\r\n\\\r\n01', "a line without bytes"),
        ('"a"=hex:00,\\\r\n"b"="c"', "not a byte"),
        ('"a"=hex:00,\\', "the file ends"),
    ],
)
def test_a_line_that_means_nothing_is_refused_by_its_number(line: str, reason: str) -> None:
    text = refusal(f"{KEY}{line}")
    assert reason in text
    assert "line 4" in text or "line 5" in text or "line 6" in text


def test_values_need_a_key() -> None:
    assert "line 3: a value that belongs to no key" in refusal('"a"="b"')
    assert "line 4: a value that belongs to no key" in refusal('[-HKCU\\Key]\r\n"a"="b"')


def test_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EDITS", 10)
    assert len(edits("[HKCU\\K]\r\n" * 10)) == 10
    with pytest.raises(LimitExceeded):
        edits("[HKCU\\K]\r\n" * 11)
    monkeypatch.setattr(module, "MAX_DATA_BYTES", 100)
    assert len(put('"a"=hex:' + ",".join(["00"] * 100))[2]) == 100
    for data in ("hex:" + ",".join(["00"] * 101), "hex:" + "00,\\\r\n" * 101, '"' + "x" * 51 + '"'):
        with pytest.raises(LimitExceeded):
            put(f'"a"={data}')
    monkeypatch.setattr(module, "MAX_LINE_CHARACTERS", 60)
    with pytest.raises(LimitExceeded):
        edits(";" * 61)
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 50)
    with pytest.raises(LimitExceeded):
        edits("")


def test_paths_are_no_deeper_than_a_hive_can_be() -> None:
    assert len(edits("[HKCU" + "\\k" * 512 + "]")) == 1
    with pytest.raises(LimitExceeded):
        edits("[HKCU" + "\\k" * 513 + "]")


@pytest.mark.parametrize(
    "body",
    [
        KEY + '"a"="' + "\\\\" * 600_000,
        KEY + '"a"="' + "\r\n" * 600_000,
        KEY + '"' + '\\"' * 600_000,
        KEY + '"a"=hex:' + "00," * 600_000 + "x",
        KEY + '"a"=hex:\\' + "\r\n" * 600_000,
        KEY + '"a"=hex:' + "0 ," * 600_000,
        "[HKCU" + "]; " * 600_000,
        "[HKCU" + "\\" * 600_000 + "]",
        KEY + '"a"' + " " * 600_000,
        KEY + '"a"="b"' + " " * 600_000 + "x",
    ],
)
def test_long_lines_take_no_longer_than_their_length(body: str) -> None:
    started = time.perf_counter()
    with suppress(WimsmithError):
        edits(body)
    assert time.perf_counter() - started < 20, "measured below 1 s"


SEED = (
    f'{V5}\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\A]\r\n@="text"\r\n'
    '"n\\\\a\\"me"="C:\\\\x \\"y\\""\r\n'
    '"d"=dword:0000001f ; comment\r\n"h"=hex:00,01,02,\\\r\n  03,04\r\n"x"=hex(2):25,00,00,00\r\n'
    '"multi"=hex(7):61,00,00,00,62,00,00,00,00,00\r\n"gone"=-\r\n"lines"="one\r\ntwo"\r\n\r\n'
    "[-HKEY_CURRENT_USER\\Old Key]\r\n\r\n; end\r\n[HKCU\\B]\r\n"
)
_TOKENS = (
    *('"', "\\", "[", "]", "=", ",", ";", "#", "-", "@", "\r\n", "\n", " ", "\t", "\\\r\n", "\0"),
    *("hex:", "hex(", "):", "dword:", "[-", "HKLM\\", "\\\\", '\\"', "ff", "\ud800", "\U0001f600"),
)


def mutated(chance: random.Random) -> bytes:
    """The seed with tokens put in, taken out, doubled and exchanged, in one of the encodings."""
    text = SEED
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        start, size = chance.randrange(len(text)), chance.randrange(12)
        if chance.random() < 0.9:
            start = max(start, len(V5))
        match chance.randrange(4):
            case 0:
                text = text[:start] + chance.choice(_TOKENS) + text[start:]
            case 1:
                text = text[:start] + text[start + size :]
            case 2:
                text = text[:start] + text[start : start + size * 5] + text[start:]
            case _:
                text = text[:start] + chance.choice(_TOKENS) + text[start + 1 :]
    if chance.random() < 0.3:
        text = text.replace(V5, "REGEDIT4")
    codec = chance.choice(["utf-16", "utf-8", "cp1252"])
    if codec == "utf-16":
        return utf16(text)[: None if chance.random() < 0.95 else -1]
    return text.encode(codec, "surrogatepass" if codec == "utf-8" else "replace")


def test_mutated_files_are_read_or_refused_with_a_line() -> None:
    chance, outcomes = random.Random(7), Counter[str]()
    for _ in range(ROUNDS):
        try:
            found = parse_reg(mutated(chance))
        except WimsmithError as error:
            outcomes[re.sub(r"line \d+|'.*'", "...", str(error))[:80]] += 1
            continue
        outcomes["read"] += 1
        assert all(edit.line >= 1 for edit in found.edits)
    for outcome, count in outcomes.most_common():
        sys.stdout.write(f"{count:6} {outcome}\n")
    assert outcomes["read"] > ROUNDS // 5
    assert ROUNDS - outcomes["read"] > ROUNDS // 5
    assert len(outcomes) > 10, "many of the checks were reached"
