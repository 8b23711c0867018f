"""Log files as administrators of Configuration Manager and DISM know them, and a JSON twin.

    OfflineServicingMgr.log   wimsmith.servicing         CMTrace   (OfflineServicing.log too)
    smsprov.log               wimsmith.images            CMTrace
    wsyncmgr.log              wimsmith.updates           CMTrace
    PatchDownloader.log       wimsmith.updates.content   CMTrace
    dism.log                  wimsmith.offline           DISM
    wimsmith.jsonl            all of wimsmith            JSON, one document per line

A record is one line and one `write` to a file opened for appending, so several processes may
share a file. Text that came from outside cannot start a line of its own, and secrets are struck
out before a line is formatted. Full files are renamed to `.lo_`, as ConfigMgr does.
"""

import json
import logging
import os
import re
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

DEFAULT_MAX_BYTES = 10 << 20
MAX_MESSAGE_CHARACTERS = 32_000

ROOT = "wimsmith"
SERVICING_LINK = "OfflineServicing.log"
JSON_FILE = "wimsmith.jsonl"
_CMTRACE_FILES = {
    "wimsmith.servicing": "OfflineServicingMgr.log",
    "wimsmith.images": "smsprov.log",
    "wimsmith.updates": "wsyncmgr.log",
    "wimsmith.updates.content": "PatchDownloader.log",
}
_DISM_FILES = {"wimsmith.offline": "dism.log"}

_ALWAYS_SECRET = (
    re.compile(r"\bwimsmith_[A-Za-z0-9_-]{16,}"),
    re.compile(r"(?i)(?<=bearer )\S+"),
    re.compile(r"(?i)(?<=password=)\S+"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
)
_STRUCK_OUT = "*****"
_LINE_ENDS = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_ESCAPES = {
    code: " " if code == 9 else f"\\u{code:04x}"
    for code in (*range(32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_secrets: set[str] = set()


@dataclass(frozen=True, slots=True)
class Context:
    """What the running code works on; empty where it works on nothing in particular."""

    job: str = ""
    image: str = ""
    update: str = ""

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in asdict(self).items() if value)


_NOTHING = Context()
_context: ContextVar[Context] = ContextVar("wimsmith_log_context", default=_NOTHING)


@contextmanager
def context(
    *, job: str | None = None, image: str | None = None, update: str | None = None
) -> Iterator[None]:
    """Say in every record made inside what it is about; what is None stays as it was."""
    given = {"job": job, "image": image, "update": update}
    changed = {name: value for name, value in given.items() if value is not None}
    token = _context.set(replace(_context.get(), **changed))
    try:
        yield
    finally:
        _context.reset(token)


def current_context() -> Context:
    """What the running code works on."""
    return _context.get()


def hide(secret: str) -> None:
    """Strike `secret` out of every record from now on."""
    if secret:
        _secrets.add(secret)


def redact(text: str) -> str:
    """The text without registered secrets, tokens, bearer values and passwords in URLs."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, _STRUCK_OUT)
    for pattern in _ALWAYS_SECRET:
        text = pattern.sub(_STRUCK_OUT, text)
    return text


def one_line(text: str) -> str:
    """The text on one line: line ends become ` | `, other control characters an escape."""
    return _LINE_ENDS.sub(" | ", text).translate(_ESCAPES)


def status_message(number: int, severity: str, component: str, *strings: object) -> str:
    """The `STATMSG:` line that log readers look for.

    Args:
        number: Identifier of the message, for example 7900 when servicing starts.
        severity: I, W or E.
        component: Name of the component, for example SMS_OFFLINE_SERVICING_MANAGER.
        strings: Insertion strings, at most ten.
    """
    inserted = [*map(str, strings), *[""] * 10][:10]
    shown = " ".join(f'ISTR{place}="{_quoted(text)}"' for place, text in enumerate(inserted))
    return (
        f'STATMSG: ID={number} SEV={severity} LEV=M SOURCE="SMS Server" COMP="{component}" '
        f"SYS={socket.gethostname()} PID={os.getpid()} {shown} NUMATTRS=0"
    )


class CMTraceFormatter(logging.Formatter):
    """Lines of the format that the CMTrace viewer colours and sorts.

    The number after the time is what must be added to it, in minutes, to come to UTC.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = _local(record)
        minutes_to_utc = -int((moment.utcoffset() or timedelta()).total_seconds() // 60)
        message = _message(record).replace("]LOG]!>", "]LOG]! >")
        return (
            f"<![LOG[{message}]LOG]!>"
            f'<time="{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}{minutes_to_utc:+04d}" '
            f'date="{moment:%m-%d-%Y}" component="{_quoted(record.name)}" '
            f'context="{_quoted(str(_context.get()))}" type="{_cmtrace_type(record.levelno)}" '
            f'thread="{record.thread}" file="{_quoted(record.filename)}:{record.lineno}">'
        )


class DismFormatter(logging.Formatter):
    """Lines of dism.log: time, level, DISM, provider, process, thread, text, place."""

    def format(self, record: logging.LogRecord) -> str:
        area = record.name.removeprefix("wimsmith.offline").strip(".").split(".")[0]
        provider = f"Wimsmith {area or 'servicing'}"
        about = str(_context.get())
        return (
            f"{_local(record):%Y-%m-%d %H:%M:%S}, {_dism_level(record.levelno):<22}{'DISM':<7}"
            f"{provider}: PID={record.process} TID={record.thread} {_message(record)}"
            f" - {record.module}::{record.funcName}{f' [{one_line(about)}]' if about else ''}"
        )


class JsonFormatter(logging.Formatter):
    """One JSON document a line, for machines; times are UTC."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        document = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": _clipped(redact(record.getMessage())),
            **{name: value for name, value in asdict(_context.get()).items() if value},
            "pid": record.process,
            "thread": record.thread,
            "file": record.filename,
            "line": record.lineno,
        }
        if record.exc_info:
            document["exception"] = _clipped(redact(_traceback(record)))
        return json.dumps(document)


class AppendingHandler(logging.Handler):
    """Writes each record with one `write` to a file opened for appending.

    When the file would grow beyond `max_bytes` it is renamed, its suffix replaced by `.lo_`; the
    one before is forgotten. A file renamed by somebody else is noticed and opened anew.
    """

    def __init__(self, path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        super().__init__()
        self.path = path
        self._max_bytes = max_bytes
        self._descriptor: int | None = None
        self._broken_line = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
        except Exception:  # noqa: BLE001 - logging must not end the work it tells about
            self.handleError(record)

    def close(self) -> None:
        self.acquire()
        try:
            self._let_go()
        finally:
            self.release()
        super().close()

    def _write(self, line: bytes) -> None:
        descriptor = self._opened(len(line))
        if self._broken_line:
            line = b"\n" + line
        written = os.write(descriptor, line)
        self._broken_line = written != len(line)

    def _opened(self, more_bytes: int) -> int:
        if self._descriptor is not None and not self._is_current(self._descriptor):
            self._let_go()
        if self._descriptor is None:
            self._descriptor = self._open()
        size_bytes = os.fstat(self._descriptor).st_size
        if size_bytes and size_bytes + more_bytes > self._max_bytes:
            self._let_go()
            self.path.replace(self.path.with_suffix(".lo_"))
            self._descriptor = self._open()
        return self._descriptor

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.path, flags, 0o640)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat(follow_symlinks=False))
        except FileNotFoundError:
            return False

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self._broken_line = False


class _Without(logging.Filter):
    """Keeps records of a child logger out of its parent's file."""

    def __init__(self, children: tuple[str, ...]) -> None:
        super().__init__()
        self._children = children

    def filter(self, record: logging.LogRecord) -> bool:
        return not any(f"{record.name}.".startswith(f"{name}.") for name in self._children)


def configure(
    folder: Path, *, level: int = logging.INFO, max_bytes: int = DEFAULT_MAX_BYTES
) -> Callable[[], None]:
    """Open the log files below `folder`, replacing those of an earlier call.

    Returns:
        A function that closes them.

    Raises:
        OSError: the folder cannot be made or written.
    """
    close()
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    for names, formatter in ((_CMTRACE_FILES, CMTraceFormatter()), (_DISM_FILES, DismFormatter())):
        for name, file_name in names.items():
            handler = _attach(name, folder / file_name, formatter, max_bytes)
            handler.addFilter(_Without(_children(name)))
    _attach(ROOT, folder / JSON_FILE, JsonFormatter(), max_bytes)
    logging.getLogger(ROOT).setLevel(level)
    _link(folder / SERVICING_LINK, _CMTRACE_FILES["wimsmith.servicing"])
    return close


def close() -> None:
    """Close the log files that `configure` opened."""
    for name in (ROOT, *_CMTRACE_FILES, *_DISM_FILES):
        logger = logging.getLogger(name)
        for handler in [one for one in logger.handlers if isinstance(one, AppendingHandler)]:
            logger.removeHandler(handler)
            handler.close()
    logging.getLogger(ROOT).setLevel(logging.NOTSET)


def _attach(
    name: str, path: Path, formatter: logging.Formatter, max_bytes: int
) -> AppendingHandler:
    handler = AppendingHandler(path, max_bytes)
    handler.setFormatter(formatter)
    logging.getLogger(name).addHandler(handler)
    return handler


def _children(name: str) -> tuple[str, ...]:
    return tuple(other for other in _CMTRACE_FILES if other.startswith(f"{name}."))


def _link(link: Path, target: str) -> None:
    try:
        link.symlink_to(target)
    except FileExistsError:
        if link.is_symlink() and os.readlink(link) != target:  # noqa: PTH115 - text, not a Path
            link.unlink()
            link.symlink_to(target)


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text = f"{text}\n{_traceback(record)}"
    return one_line(_clipped(redact(text)))


def _traceback(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return "".join(traceback.format_exception(error)).rstrip() if error else ""


def _clipped(text: str) -> str:
    more = len(text) - MAX_MESSAGE_CHARACTERS
    return text if more <= 0 else f"{text[:MAX_MESSAGE_CHARACTERS]}... ({more} characters more)"


def _quoted(text: str) -> str:
    """Text that can stand between double quotes of a CMTrace attribute."""
    return one_line(redact(text)).replace('"', "'").replace("<", "(").replace(">", ")")


def _local(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC).astimezone()


def _cmtrace_type(level: int) -> int:
    return 3 if level >= logging.ERROR else 2 if level >= logging.WARNING else 1


def _dism_level(level: int) -> str:
    if level >= logging.WARNING:
        return "Error" if level >= logging.ERROR else "Warning"
    return "Info" if level >= logging.INFO else "Debug"
