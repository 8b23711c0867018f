"""Log files read as administrators and their viewers expect, whatever the text in them."""

import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith import logs

MOMENT = 1_763_735_696.25  # 2025-11-21 14:34:56.250 UTC


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    close = logs.configure(tmp_path / "Logs", level=logging.DEBUG)
    yield tmp_path / "Logs"
    close()


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def record(message: str, level: int = logging.INFO, name: str = "wimsmith.servicing") -> str:
    return logs.CMTraceFormatter().format(made(message, level, name))


def made(message: str, level: int, name: str) -> logging.LogRecord:
    one = logging.LogRecord(name, level, "/srv/service.py", 12, message, (), None, "run")
    one.created, one.msecs, one.thread, one.process = MOMENT, 250.0, 77, 99
    return one


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_a_cmtrace_line_has_every_attribute_the_viewer_reads(new_york: None) -> None:
    with logs.context(job="7", image="WSM00001", update="KB5000001"):
        line = record("Processing started for Schedule with ID 16777217")
    assert line == (
        "<![LOG[Processing started for Schedule with ID 16777217]LOG]!>"
        '<time="09:34:56.250+300" date="11-21-2025" component="wimsmith.servicing" '
        'context="job=7 image=WSM00001 update=KB5000001" type="1" thread="77" file="service.py:12">'
    )


def test_minutes_to_utc_are_negative_east_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    assert '<time="15:34:56.250-060"' in record("text")
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("level", "kind"),
    [(logging.INFO, 1), (logging.WARNING, 2), (logging.ERROR, 3), (logging.CRITICAL, 3)],
)
def test_levels_become_the_three_colours_of_the_viewer(level: int, kind: int) -> None:
    assert f' type="{kind}" ' in record("text", level)


def test_a_dism_line_has_the_columns_of_dism_log(new_york: None) -> None:
    one = made("Opened /srv/install.wim", logging.WARNING, "wimsmith.offline.wim.format.container")
    with logs.context(image="WSM00001"):
        line = logs.DismFormatter().format(one)
    assert line == (
        "2025-11-21 09:34:56, Warning               DISM   Wimsmith wim: PID=99 TID=77 "
        "Opened /srv/install.wim - service::run [image=WSM00001]"
    )


def test_a_json_line_is_utc_and_names_what_it_is_about() -> None:
    with logs.context(job="7"):
        line = logs.JsonFormatter().format(made("two\nlines", logging.INFO, "wimsmith.site"))
    assert json.loads(line) == {
        "time": "2025-11-21T14:34:56.250Z",
        "level": "INFO",
        "logger": "wimsmith.site",
        "message": "two\nlines",
        "job": "7",
        "pid": 99,
        "thread": 77,
        "file": "service.py",
        "line": 12,
    }


def test_each_logger_writes_the_file_administrators_look_for(folder: Path) -> None:
    said = {
        "wimsmith.servicing.jobs": "OfflineServicingMgr.log",
        "wimsmith.offline.wim": "dism.log",
        "wimsmith.images": "smsprov.log",
        "wimsmith.updates": "wsyncmgr.log",
        "wimsmith.updates.content": "PatchDownloader.log",
    }
    for name in (*said, "wimsmith.site"):
        logging.getLogger(name).info("said by <%s>", name)
    for name, file_name in said.items():
        assert f"said by <{name}>" in (folder / file_name).read_text(encoding="utf-8")
        assert len(lines(folder / file_name)) == 1
    twin = [json.loads(line)["logger"] for line in lines(folder / logs.JSON_FILE)]
    assert twin == [*said, "wimsmith.site"]


def test_the_other_name_of_the_servicing_log_is_a_link_to_it(folder: Path) -> None:
    link = folder / "OfflineServicing.log"
    assert os.readlink(link) == "OfflineServicingMgr.log"  # noqa: PTH115 - text, not a Path


def test_context_is_restored_when_the_work_ends_and_inner_work_adds_to_it() -> None:
    with logs.context(job="1", image="A"):
        with logs.context(update="U"):
            assert logs.current_context() == logs.Context("1", "A", "U")
        assert logs.current_context() == logs.Context("1", "A", "")
    assert logs.current_context() == logs.Context()


def test_text_from_outside_cannot_forge_a_line(folder: Path) -> None:
    forged = 'x]LOG]!><time="00:00:00.000+000">\r\n<![LOG[Image committed]LOG]!>\x1b[2J\u2028y'
    with logs.context(image='a" type="3\n<'):
        logging.getLogger("wimsmith.servicing").info("Opened %s", forged)
    (line,) = lines(folder / "OfflineServicingMgr.log")
    assert line.count("]LOG]!>") == 1
    assert line.count(' type="') == 1
    assert "\x1b" not in line


@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    safe = logs.one_line(text)
    assert len(safe.splitlines()) <= 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", safe)


def test_an_exception_stays_on_its_line_with_its_traceback(folder: Path) -> None:
    def break_off() -> None:
        raise ValueError("first\nsecond")

    try:
        break_off()
    except ValueError:
        logging.getLogger("wimsmith.servicing").exception("Failed")
    (line,) = lines(folder / "OfflineServicingMgr.log")
    assert line.startswith("<![LOG[Failed | Traceback")
    assert "ValueError: first | second" in line
    twin = json.loads(lines(folder / logs.JSON_FILE)[0])
    assert "ValueError: first\nsecond" in twin["exception"]


def test_secrets_do_not_reach_any_file(folder: Path) -> None:
    logs.hide("Pa55 word")
    token = "wimsmith_" + "k" * 24
    logging.getLogger("wimsmith.servicing").info(
        "join with %s, %s, Authorization: Bearer abc.def, postgresql://site:hunter2@db/site",
        "Pa55 word",
        token,
    )
    written = "".join(path.read_text(encoding="utf-8") for path in folder.iterdir())
    for secret in ("Pa55", token, "abc.def", "hunter2"):
        assert secret not in written
    assert "postgresql://*****@db/site" in written


def test_a_full_file_becomes_the_old_one(tmp_path: Path) -> None:
    close = logs.configure(tmp_path, max_bytes=2000)
    for number in range(40):
        logging.getLogger("wimsmith.servicing").info("line %d", number)
    close()
    now, before = tmp_path / "OfflineServicingMgr.log", tmp_path / "OfflineServicingMgr.lo_"
    assert now.stat().st_size <= 2000
    assert before.stat().st_size <= 2000
    assert "line 39]" in lines(now)[-1]
    first_now = re.search(r"line (\d+)", lines(now)[0])
    assert first_now
    assert f"line {int(first_now[1]) - 1}]" in lines(before)[-1]


def test_a_file_moved_by_somebody_else_is_opened_anew(folder: Path) -> None:
    logger = logging.getLogger("wimsmith.images")
    logger.info("first")
    (folder / "smsprov.log").rename(folder / "kept")
    logger.info("second")
    assert "second" in (folder / "smsprov.log").read_text(encoding="utf-8")
    assert "second" not in (folder / "kept").read_text(encoding="utf-8")


def test_lines_of_many_threads_do_not_mix(folder: Path) -> None:
    def talk(number: int) -> None:
        for _ in range(50):
            logging.getLogger("wimsmith.servicing").info("%s", str(number) * 200)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = lines(folder / "OfflineServicingMgr.log")
    assert len(written) == 400
    assert all(re.match(r"<!\[LOG\[(\d)\1{199}\]LOG\]!>", line) for line in written)


def test_a_log_file_that_is_a_link_is_not_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").write_text("kept", encoding="utf-8")
    (tmp_path / "smsprov.log").symlink_to("precious")
    close = logs.configure(tmp_path)
    logging.getLogger("wimsmith.images").info("text")
    close()
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "kept"
    assert "Logging error" in capsys.readouterr().err


def test_a_huge_message_is_cut_and_says_so() -> None:
    line = record("x" * (logs.MAX_MESSAGE_CHARACTERS + 5))
    assert "x... (5 characters more)]LOG]!>" in line


def test_a_status_message_carries_its_number_and_strings() -> None:
    text = logs.status_message(7913, "E", "SMS_OFFLINE_SERVICING_MANAGER", "WSM00001", 1, 'a"b')
    assert text.startswith("STATMSG: ID=7913 SEV=E LEV=M")
    assert 'COMP="SMS_OFFLINE_SERVICING_MANAGER"' in text
    assert """ISTR0="WSM00001" ISTR1="1" ISTR2="a'b" ISTR3="" """ in text
