"""What commands print: data on stdout, everything else on stderr.

Tables are plain text, so that they read the same in a pipe, in a log and without colour. Progress
is a bar on a terminal and a plain line per phase elsewhere.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wimsmith.errors import WimsmithError
from wimsmith.offline.progress import Event, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

_PLAIN_INTERVAL_S = 10.0
_WRITING_DIRECTIONS = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_UNSEEN = dict.fromkeys((*range(32), *range(127, 160), 8232, 8233, *_WRITING_DIRECTIONS), " ")
_ESCAPED_IN_JSON = {
    code: f"\\u{code:04x}" for code in (*_UNSEEN, *range(0xD800, 0xE000)) if code >= 32
}
_SIZE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(slots=True)
class Options:
    """Flags that every command understands; `wimsmith.cli.main` sets them."""

    json: bool = False
    debug: bool = False
    state: Path | None = None


options = Options()


def print_json(value: object) -> None:
    """Print one JSON document: dataclasses, mappings, enums, paths, times, bytes (as hex).

    What could move a cursor or turn the writing direction is escaped, as is what is no UTF-8.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, default=_plain)
    _write(sys.stdout, text.translate(_ESCAPED_IN_JSON))


def print_line(text: str = "") -> None:
    """Print one line of data on stdout."""
    _write(sys.stdout, text)


def note(text: str) -> None:
    """Say something beside the data, on stderr."""
    _write(sys.stderr, text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below upper-case column names; numbers stand to the right.

    Control characters in foreign text become spaces, so that no name can move the cursor.
    """
    values = [list(row) for row in rows]
    cells = [[_cell(value) for value in row] for row in values]
    widths = [
        max([len(name), *(len(row[place]) for row in cells)]) for place, name in enumerate(columns)
    ]
    right = [
        bool(values) and all(isinstance(row[place], int | float | None) for row in values)
        for place in range(len(columns))
    ]
    for row in [[name.upper() for name in columns], *cells]:
        print_line(_aligned(row, widths, right))


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values below each other; None and empty text are left out."""
    shown = {name: value for name, value in facts.items() if not _nothing(value)}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        print_line(f"{name + ':':<{width + 1}} {_cell(value)}".rstrip())


def show(value: object, text: Callable[[], None]) -> None:
    """Print `value` as JSON if the user asked for that, else call `text` to print it for people."""
    if options.json:
        print_json(value)
    else:
        text()


def human_time(moment: str | None) -> str | None:
    """A moment that the site told, as people read it, in UTC."""
    if not moment:
        return None
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def human_size(size_bytes: int) -> str:
    """A size for people, for example `4.2 GiB`; JSON carries bytes."""
    size = float(size_bytes)
    for unit in _SIZE_UNITS:
        if size < 1024 or unit == _SIZE_UNITS[-1]:
            break
        size /= 1024
    return f"{size_bytes} B" if unit == "B" else f"{size:.1f} {unit}"


def counted(count: int, noun: str) -> str:
    """A number of things for people, for example `1 image` or `2 images`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def is_terminal() -> bool:
    """Whether stderr is a terminal that can redraw a line."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Progress of an operation, shown on stderr.

    Used as `with progress_bar() as progress: work(progress)`.
    A bar per phase on a terminal; elsewhere a line when a phase starts, and every ten seconds its
    share, its rate and the time that is left. Nothing with `--json` unless stderr is a terminal.
    """
    if is_terminal():
        with _rich_bars() as bars:
            yield bars
    elif options.json:
        yield _ignore
    else:
        yield _PlainProgress()


def fail(error: BaseException) -> int:
    """Print an error, its hint, and with `--debug` its traceback; return the exit code."""
    if options.debug:
        sys.stderr.write("".join(traceback.format_exception(error)))
    if isinstance(error, WimsmithError):
        text, hint, code = str(error), error.hint, getattr(error, "kind", type(error)).exit
    else:
        text, hint, code = _foreign_text(error), None, WimsmithError.exit
    note(f"error: {_visible(text)}")
    if hint:
        note(f"hint: {_visible(hint)}")
    return code


def _foreign_text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        about = error.filename
        return f"{os.fsdecode(about)}: {error.strerror}" if about else error.strerror
    return f"{type(error).__name__}: {error}"


def _write(stream: Any, text: str) -> None:
    stream.write(text.encode("utf-8", "replace").decode("utf-8") + "\n")
    stream.flush()


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def _cell(value: object) -> str:
    if _nothing(value):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _visible(str(value))


def _nothing(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value)


def _visible(text: str) -> str:
    return text.translate(_UNSEEN)


def _aligned(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = (
        text.rjust(width) if to_right else text.ljust(width)
        for text, width, to_right in zip(row, widths, right, strict=True)
    )
    return "  ".join(cells).rstrip()


def _ignore(_event: Event) -> None:
    """Progress nobody sees."""


class _PlainProgress:
    """One line per phase, then one every ten seconds: for pipes and log files.

    A phase that comes again, as for each part of a set, is not announced again.
    """

    def __init__(self) -> None:
        self._phase = ""
        self._announced: set[str] = set()
        self._due = 0.0
        self._began = 0.0
        self._first = 0

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if event.phase != self._phase:
            self._phase, self._began, self._first = event.phase, now, event.done
        if event.phase not in self._announced:
            self._announced.add(event.phase)
            note(_phase_text(event))
        elif now >= self._due and event.fraction is not None:
            note(f"{_phase_text(event)} {event.fraction:.0%}{self._pace(event, now)}")
        else:
            return
        self._due = now + _PLAIN_INTERVAL_S

    def _pace(self, event: Event, now: float) -> str:
        """Rate since the phase began, and the time left at that rate."""
        elapsed_s, done = now - self._began, event.done - self._first
        if elapsed_s <= 0 or done <= 0:
            return ""
        rate = done / elapsed_s
        left = _duration(max(0, event.total - event.done) / rate)
        return f", {_rate(rate, event.unit)}, {left} left"


def _phase_text(event: Event) -> str:
    phase = _visible(event.phase)
    return phase[:1].upper() + phase[1:]


def _rate(per_second: float, unit: str) -> str:
    if unit == "bytes":
        return f"{human_size(int(per_second))}/s"
    return f"{per_second:,.0f} {unit}/s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _RichProgress:
    """Moves one bar per phase."""

    def __init__(self, bars: "Bars") -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        if event.phase not in self._tasks:
            for task in self._tasks.values():
                self._bars.stop_task(task)
            self._tasks[event.phase] = self._bars.add_task(_phase_text(event), total=None, rate="")
        task = self._tasks[event.phase]
        speed = self._bars.tasks[self._bars.task_ids.index(task)].speed
        rate = _rate(speed, event.unit) if speed else ""
        self._bars.update(task, completed=event.done, total=event.total or None, rate=rate)


@contextmanager
def _rich_bars() -> Iterator[Progress]:
    from rich import progress as parts  # noqa: PLC0415 - same
    from rich.console import Console  # noqa: PLC0415 - only a terminal pays for it

    columns = (
        parts.TextColumn("{task.description}", markup=False),
        parts.BarColumn(),
        parts.TaskProgressColumn(),
        parts.TextColumn("{task.fields[rate]}"),
        parts.TimeElapsedColumn(),
        parts.TimeRemainingColumn(),
    )
    with parts.Progress(*columns, console=Console(stderr=True)) as bars:
        yield _RichProgress(bars)
