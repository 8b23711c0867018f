r"""Edits as words, on the command line and in scripts.

A script is UTF-8 text with one edit in a line: its name, its words, its options.

    # set up a kiosk
    add        files/kiosk.exe "Program Files/Kiosk/" --parents
    import-reg kiosk.reg
    set-value  HKLM\SOFTWARE\Kiosk Mode dword 1

A `#` at the start of a line makes it a comment. A word with blanks stands between quotation
marks, in which `""` is one; `\` means itself. On the command line the names of edits are options:
`--add files/kiosk.exe "Program Files/Kiosk/" --parents --import-reg kiosk.reg`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wimsmith.errors import InvalidInput, LimitExceeded, NotFound, WimsmithError
from wimsmith.offline.edits.data import form_of, from_data
from wimsmith.offline.edits.forms import FLAGS, FORMS, REFUSED
from wimsmith.offline.edits.kinds import Edit
from wimsmith.offline.edits.planning import MAX_EDITS, named

MAX_SCRIPT_BYTES = 4 << 20
_SCRIPT, _SOURCES = "--script", "--sources"
_SHORT = {"-r": "--recursive"}
_BLANKS = " \t"


def edits_of(words: Sequence[str]) -> list[Edit]:
    """The edits that the words of a command line ask for, those of scripts in their places.

    Raises:
        InvalidInput: words that are no edits.
        NotSupported, UnsafePath, LimitExceeded: as `read_script` and `from_data`.
    """
    edits: list[Edit] = []
    pending = list(words)
    while pending:
        word, equals, _ = pending[0].partition("=")
        if word == _SCRIPT:
            edits += _script_of(pending)
            continue
        verb = word.removeprefix("--")
        if not word.startswith("--") or verb not in {*FORMS, *REFUSED} or equals:
            raise InvalidInput(
                f"{pending[0][:100]!r} where an edit would begin",
                hint=f"Edits are --{', --'.join(FORMS)}; `wimsmith wim edit --help` explains them.",
            )
        row = _row(verb, pending)
        try:
            edits.append(from_data(row, Path(), confined=False))
        except WimsmithError as error:
            raise named(error, f"edit {len(edits) + 1} ({verb})") from None
    return edits


def read_script(path: Path, sources: Path | None = None) -> list[Edit]:
    """The edits of a script; relative paths start from its folder, or from `sources`.

    Raises:
        NotFound: there is no such file.
        InvalidInput: a line that is no edit, with its number.
        NotSupported: an edit that is known and not done.
        UnsafePath: a source that is not below the folder, or a path no image can have.
        LimitExceeded: more than 4 MiB or 10,000 edits.
    """
    if not path.is_file():
        raise NotFound(f"{path}")
    with path.open("rb") as file:
        data = file.read(MAX_SCRIPT_BYTES + 1)
    if len(data) > MAX_SCRIPT_BYTES:
        raise LimitExceeded(f"{path}: a script of more than {MAX_SCRIPT_BYTES >> 20} MiB")
    return parse_script(data, path, path.parent if sources is None else sources)


def parse_script(data: bytes, path: Path, sources: Path) -> list[Edit]:
    """The edits of a script with these bytes; `path` is what errors, as of `read_script`, name."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise InvalidInput(f"{path}, line {number}: not UTF-8") from None
    edits: list[Edit] = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            words = split_line(line.removesuffix("\r"))
            if not words:
                continue
            if len(edits) == MAX_EDITS:
                raise LimitExceeded(f"more than {MAX_EDITS} edits")
            row = _row(words[0], words)
            if words:
                raise InvalidInput(f"{words[0][:100]!r} behind the end of the edit")
            edits.append(from_data(row, sources))
        except WimsmithError as error:
            raise named(error, f"{path}, line {number}") from None
    return edits


def split_line(line: str) -> list[str]:
    """The words of a line; none of an empty one or a comment.

    Raises:
        InvalidInput: a quotation mark that is not closed, or in the middle of a word.
    """
    words: list[str] = []
    rest = line.strip(_BLANKS)
    if rest.startswith("#"):
        return []
    while rest:
        word, rest = _quoted(rest) if rest[0] == '"' else _bare(rest)
        words.append(word)
        rest = rest.lstrip(_BLANKS)
    return words


def _bare(rest: str) -> tuple[str, str]:
    end = next((at for at, one in enumerate(rest) if one in _BLANKS), len(rest))
    if '"' in rest[:end]:
        raise InvalidInput(
            f"a quotation mark in the middle of {rest[:60]!r}",
            hint='Put the whole word between quotation marks; in them "" is one.',
        )
    return rest[:end], rest[end:]


def _quoted(rest: str) -> tuple[str, str]:
    parts: list[str] = []
    at = 1
    while (end := rest.find('"', at)) >= 0:
        parts.append(rest[at:end])
        if rest[end + 1 : end + 2] != '"':
            behind = rest[end + 1 :]
            if behind and behind[0] not in _BLANKS:
                raise InvalidInput(f"no blank behind a quotation mark: {behind[:60]!r}")
            return "".join(parts), behind
        parts.append('"')
        at = end + 2
    raise InvalidInput(f"a quotation mark that is not closed: {rest[:60]!r}")


def _script_of(pending: list[str]) -> list[Edit]:
    script = Path(_value(pending))
    sources = None
    if pending and pending[0].partition("=")[0] == _SOURCES:
        sources = Path(_value(pending))
    return read_script(script, sources)


def _row(verb: str, pending: list[str]) -> dict[str, Any]:
    """The edit at the start of the words, as data; its words are taken away."""
    del pending[0]
    form = form_of(verb)
    row: dict[str, Any] = {"edit": verb}
    for name in form.required:
        if not pending:
            raise InvalidInput(
                f"{verb} without {name.upper()}",
                hint=f"It is written {verb} {' '.join(form.required).upper()}.",
            )
        row[name] = pending.pop(0)
    while pending:
        word, equals, _ = pending[0].partition("=")
        word = _SHORT.get(word, word)
        name = word.removeprefix("--").replace("-", "_")
        if not word.startswith("--") or name not in form.options:
            break
        if name in row:
            raise InvalidInput(f"{verb}: {word} twice")
        if name not in FLAGS:
            row[name] = _value(pending)
        elif equals:
            raise InvalidInput(f"{verb}: {word} takes no value")
        else:
            row[name] = True
            del pending[0]
    return row


def _value(pending: list[str]) -> str:
    """The value of the option at the start of the words, which both are taken away."""
    word, equals, value = pending.pop(0).partition("=")
    if equals:
        return value
    if not pending:
        raise InvalidInput(f"{word} without a value")
    return pending.pop(0)
