"""Edits as plain data, for scripts, schedules and programs: strings, booleans, one number.

    {"edit": "add", "source": "files/tool.exe", "path": "Windows/", "overwrite": true}

What comes in is foreign: every field is checked, and sources stay in the folder they belong to.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wimsmith.errors import InvalidInput, LimitExceeded, NotSupported, UnsafePath
from wimsmith.offline import filetime, paths
from wimsmith.offline.edits.forms import FLAGS, FORMS, REFUSED, Form, verb_of
from wimsmith.offline.edits.kinds import Access, Add, Edit, SetFeature, SetRegistryValue
from wimsmith.offline.edits.values import MAX_DATA_BYTES, value_of, words_of
from wimsmith.offline.intake import SourceLinks
from wimsmith.offline.registry.regfile import WESTERN_CODE_PAGE, code_page_codec
from wimsmith.offline.security import MAX_SDDL_CHARACTERS, stored_descriptor
from wimsmith.offline.sidnames import sid_of

MAX_WORD_CHARACTERS = paths.MAX_PATH_CHARACTERS
_LIMITS = {"data": MAX_DATA_BYTES, "sddl": MAX_SDDL_CHARACTERS}
_MAY_BE_EMPTY = frozenset({"attributes", "name", "data"})
_DEFAULT_NAME = "@"
_LETTERS = {"R": 0x1, "H": 0x2, "S": 0x4, "A": 0x20, "T": 0x100, "O": 0x1000, "I": 0x2000}


def as_data(edit: Edit, sources: Path | None = None) -> dict[str, Any]:
    """An edit as data that `from_data` makes the same edit of; what is not said is left out.

    Paths of sources are written relative to `sources` if that is given.

    Raises:
        InvalidInput: a source is not below `sources`.
    """
    verb = verb_of(edit)
    form = FORMS[verb]
    row: dict[str, Any] = {"edit": verb}
    given = {item.name: getattr(edit, item.name) for item in fields(edit)}
    access: Access | None = given.pop("access", None)
    if access is not None:
        given |= {"sddl": access.sddl, "owner": access.owner}
    if isinstance(edit, SetRegistryValue):
        given["type"], given["data"] = words_of(edit.type, edit.data)
    for name in (*form.required, *form.options):
        text = _written(name, given[name], sources)
        if name in form.required or text not in {None, False}:
            row[name] = text
    return row


def from_data(row: Mapping[str, Any], sources: Path, *, confined: bool = True) -> Edit:
    """The edit that data describe.

    Args:
        row: `edit` and the words of that edit; docs/guides/editing-images.md lists them.
        sources: folder that relative paths of this machine start from.
        confined: whether sources outside of that folder are refused.

    Raises:
        InvalidInput: an unknown edit or field, a missing one, or one of another type.
        NotSupported: an edit that is known and not done, such as adding drivers.
        UnsafePath: a path leaves its folder, or has a name that Windows does not accept.
        LimitExceeded: a word is too long.
        DamagedSecurity, UnknownAlias: a descriptor or an account that means nothing.
    """
    verb = row.get("edit")
    form = form_of(verb)
    given = _checked(str(verb), form, row)
    read: dict[str, Any] = {
        name: _read(name, value, sources, confined=confined) for name, value in given.items()
    }
    if "access" in {item.name for item in fields(form.kind)}:
        read["access"] = Access(read.pop("sddl", None), read.pop("owner", None))
    if form.kind is SetRegistryValue:
        read["type"], read["data"] = value_of(read["type"], read["data"])
    if form.kind is Add and confined:
        read["within"] = sources
    if form.kind is SetFeature:
        read["enabled"] = verb == "enable-feature"
    edit: Edit = form.kind(**read)
    return edit


def form_of(verb: object) -> Form:
    """The form of the edit called `verb`.

    Raises:
        NotSupported: one that is known and not done.
        InvalidInput: none has that name.
    """
    if isinstance(verb, str) and verb in REFUSED:
        reason, text, hint = REFUSED[verb]
        raise NotSupported(reason, text, hint=hint)
    if not isinstance(verb, str) or verb not in FORMS:
        raise InvalidInput(
            f"an edit called {str(verb)[:60]!r}", hint=f"Edits are {', '.join(FORMS)}."
        )
    return FORMS[verb]


def _checked(verb: str, form: Form, row: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in row.items() if name != "edit"}
    known = (*form.required, *form.options)
    if unknown := [name for name in given if name not in known]:
        raise InvalidInput(f"{verb} takes no {str(unknown[0])[:60]!r}", hint=_takes(verb, form))
    if missing := [name for name in form.required if name not in given]:
        raise InvalidInput(f"{verb} without {missing[0]}", hint=_takes(verb, form))
    for name, value in given.items():
        _check_word(verb, name, value)
    return given


def _check_word(verb: str, name: str, value: object) -> None:
    if isinstance(value, bool) != (name in FLAGS):
        kind = "true or false" if name in FLAGS else "a text"
        raise InvalidInput(f"{verb}: {name} is not {kind}")
    if name in FLAGS:
        return
    if name == "code_page" and isinstance(value, int):
        return
    if not isinstance(value, str):
        raise InvalidInput(f"{verb}: {name} is not a text")
    if len(value) > _LIMITS.get(name, MAX_WORD_CHARACTERS):
        raise LimitExceeded(f"{verb}: {name} has {len(value)} characters")
    if "\0" in value or (not value and name not in _MAY_BE_EMPTY):
        raise InvalidInput(f"{verb}: {name} is empty or has a NUL in it")


def _takes(verb: str, form: Form) -> str:
    required = " ".join(name.upper() for name in form.required)
    options = " ".join(
        f"[--{name.replace('_', '-')}{'' if name in FLAGS else ' ' + name.upper()}]"
        for name in form.options
    )
    return f"It is written {verb} {required} {options}".rstrip() + "."


def _read(name: str, value: Any, sources: Path, *, confined: bool) -> object:
    match name:
        case "source":
            return _source(value, sources, confined=confined)
        case "path" | "new_path":
            return _in_image(value)
        case "name":
            return "" if value == _DEFAULT_NAME else value
        case "attributes":
            return attribute_bits(value)
        case "time":
            return _time(value)
        case "sddl":
            stored_descriptor(value)
            return value
        case "owner":
            return sid_of(value)
        case "links":
            return _links(value)
        case "code_page":
            return _code_page(value)
    return value


def _written(name: str, value: Any, sources: Path | None) -> str | bool | int | None:
    if value is None or isinstance(value, bool):
        return value
    match name:
        case "source":
            return _relative(value, sources)
        case "name":
            return value or _DEFAULT_NAME
        case "attributes":
            return "".join(letter for letter, bit in _LETTERS.items() if value & bit)
        case "time":
            return _time_text(value)
        case "links":
            return None if value is SourceLinks.REFUSE else str(value)
        case "code_page":
            return None if value == WESTERN_CODE_PAGE else int(value)
    return str(value)


def attribute_bits(letters: str) -> int:
    """Attributes by their letters: R, H, S, A, T, O, I.

    Raises:
        InvalidInput: another letter.
    """
    bits = 0
    for letter in letters.upper():
        if letter not in _LETTERS:
            raise InvalidInput(f"attribute {letter}", hint=f"Letters are {', '.join(_LETTERS)}.")
        bits |= _LETTERS[letter]
    return bits


def _source(text: str, sources: Path, *, confined: bool) -> Path:
    path = sources / text
    if confined and not path.resolve().is_relative_to(sources.resolve()):
        raise UnsafePath(
            f"{text[:200]} is not below {sources}",
            hint="Sources of a script are below its folder, or below that of --sources.",
        )
    return path


def _relative(source: Path, sources: Path | None) -> str:
    if sources is None:
        return str(source)
    try:
        return str(source.relative_to(sources))
    except ValueError:
        raise InvalidInput(f"{source} is not below {sources}") from None


def _in_image(text: str) -> str:
    names = paths.split(text)
    if names and len(names[0]) == 2 and names[0][1] == ":" and names[0][0].isalpha():
        raise UnsafePath(
            text[:200], hint="Paths of an image begin below its root, without a drive."
        )
    if not {".", ".."}.isdisjoint(names):
        raise UnsafePath(text[:200], hint="Paths of an image have no . and no .. in them.")
    return text


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=moment.tzinfo or UTC)
        time = filetime.from_datetime(moment)
    except (ValueError, OverflowError):
        time = 0
    if time <= 0:
        raise InvalidInput(f"time {text[:60]!r}", hint="Write it as 2024-01-31T12:00:00Z.")
    return time


def _time_text(time: int) -> str:
    moment = filetime.to_datetime(time)
    if moment is None:
        raise InvalidInput(f"a time of {time}")
    return moment.isoformat()


def _links(text: str) -> SourceLinks:
    try:
        return SourceLinks(text)
    except ValueError:
        raise InvalidInput(
            f"links {text[:60]!r}", hint=f"Say {', '.join(one.value for one in SourceLinks)}."
        ) from None


def _code_page(value: str | int) -> int:
    text = str(value)
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        raise InvalidInput(f"code page {text[:20]!r}", hint="1252 is that of Western Europe.")
    code_page_codec(int(text))
    return int(text)
