r"""An answer file becomes `Windows\Panther\unattend.xml`, and stays a secret."""

import logging
from pathlib import Path

import pytest

from offline.edits.editkit import ANSWER, content, edited, plan_of, practice_image
from offline.wim.judges import listing, run
from wimsmith.errors import InvalidInput, LimitExceeded, NotFound, WimsmithError
from wimsmith.offline.edits.answerfile import ANSWER_FILE, MAX_ANSWER_BYTES
from wimsmith.offline.edits.kinds import Add, PlaceAnswerFile, SetRegistryValue

SECRET = "Pa55-geheim"
WITH_SECRET = ANSWER.format("oobeSystem").replace(
    "/>", f"><component><Value>{SECRET}</Value></component></settings>"
)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return practice_image(tmp_path / "install.wim")


def answer(folder: Path, text: str | bytes = WITH_SECRET) -> PlaceAnswerFile:
    path = folder / "answers.xml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return PlaceAnswerFile(path)


def test_it_is_placed_and_the_one_there_is_replaced(image: Path, tmp_path: Path) -> None:
    edited(image, answer(tmp_path, ANSWER.format("specialize")))
    first = listing(image)[ANSWER_FILE]
    report = edited(image, answer(tmp_path))
    assert content(image, ANSWER_FILE) == WITH_SECRET.encode()
    second = listing(image)[ANSWER_FILE]
    assert report.edits[0].changed
    assert first.get("Security Descriptor") == second.get("Security Descriptor")
    assert first["Attributes"] == second["Attributes"]


def test_its_secrets_are_in_no_log_and_no_report(
    image: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    report = edited(image, answer(tmp_path))
    broken = WITH_SECRET.replace("</unattend>", f"<{SECRET}")
    with pytest.raises(InvalidInput) as told:
        edited(image, answer(tmp_path, broken))
    assert SECRET not in "".join((caplog.text, repr(report), repr(told.value.args)))


def test_texts_in_utf_16_are_answer_files_as_well(image: Path, tmp_path: Path) -> None:
    text = ANSWER.format("specialize").replace("utf-8", "utf-16")
    edited(image, answer(tmp_path, text.encode("utf-16")))
    assert content(image, ANSWER_FILE) == text.encode("utf-16")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", InvalidInput),
        ("<unattend", InvalidInput),
        ("<unattend/>", InvalidInput),
        ('<unattend xmlns="urn:schemas-microsoft-com:asm.v3"/>', InvalidInput),
        ('<Unattend xmlns="urn:schemas-microsoft-com:unattend"/>', InvalidInput),
        ("[Unattended]\nUnattendMode=FullUnattended\n", InvalidInput),
        ('<!DOCTYPE unattend [<!ENTITY a "b">]>' + ANSWER.format("&a;")[39:], InvalidInput),
        (ANSWER.format("specialize") + "trailing", InvalidInput),
        ("<a>" * 100_000, WimsmithError),
        (b"\xff\xfe\x00\xd8", InvalidInput),
        (b" " * (MAX_ANSWER_BYTES + 1), LimitExceeded),
    ],
    ids=range(11),
)
def test_what_is_no_answer_file_is_refused(
    image: Path, tmp_path: Path, text: str | bytes, error: type[WimsmithError]
) -> None:
    before = image.read_bytes()
    with pytest.raises(error):
        edited(image, answer(tmp_path, text))
    assert image.read_bytes() == before


def test_a_file_that_is_not_there_is_not_found(image: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        edited(image, PlaceAnswerFile(tmp_path / "nowhere.xml"))


def test_an_image_without_windows_gets_none(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").touch()
    path = tmp_path / "data.wim"
    run("wimlib-imagex", "capture", tmp_path / "data", path)
    with pytest.raises(NotFound, match="the folder Windows"):
        edited(path, answer(tmp_path))


def test_what_setup_does_otherwise_is_told(image: Path, tmp_path: Path) -> None:
    def warnings(text: str) -> str:
        return " ".join(plan_of(image, answer(tmp_path, text)).results[0].warnings)

    assert warnings(ANSWER.format("specialize")) == ""
    assert "carried out by Setup" in warnings(ANSWER.format("offlineServicing"))
    assert "no pass 'Specialise'" in warnings(ANSWER.format("Specialise"))
    assert "no settings" in warnings(ANSWER.replace('<settings pass="{}"/>', ""))
    edited(image, SetRegistryValue(r"SYSTEM\Setup", "UnattendFile", 1, b"a\0\0\0"))
    assert "names as UnattendFile" in warnings(ANSWER.format("specialize"))
    other = "Windows/Panther/Unattend/unattend.xml"
    edited(image, Add(tmp_path / "answers.xml", other, parents=True))
    assert "Panther/Unattend/unattend.xml first" in warnings(ANSWER.format("specialize"))


def test_answer_files_of_administrators_are_accepted(real: Path, image: Path) -> None:
    source = real / "unattend/Unattend_x64.xml"
    edited(image, PlaceAnswerFile(source))
    assert content(image, ANSWER_FILE) == source.read_bytes()
