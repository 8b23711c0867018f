"""Edits and what became of them, as people and programs read them."""

from dataclasses import asdict, replace
from typing import Any

from wimsmith.cli.hive.shown import data_text, type_name, value_name, value_row, visible
from wimsmith.cli.output import counted, human_size, note, options
from wimsmith.cli.wimfile import printable
from wimsmith.offline.edits.effects import Change, FileChange, FileState, KeyChange, ValueChange
from wimsmith.offline.edits.planning import EditResult
from wimsmith.offline.edits.writing import EditReport
from wimsmith.offline.registry.values import Value


def summary(report: EditReport) -> str:
    """What was written, in one line."""
    if not report.written:
        return f"{report.path}: index {report.index}, nothing to change, the file was left alone"
    changes = counted(report.changes, "change")
    new = counted(report.new_content_count, "new content")
    size = human_size(report.new_content_bytes)
    text = f"{report.path}: index {report.index}, {changes}, {new} of {size}"
    return f"{text}, {report.duration_s:.1f} s"


def report_row(report: EditReport) -> dict[str, Any]:
    """What was written, with what became of each edit."""
    rows = [result_row(one) for one in report.edits]
    return asdict(replace(report, edits=())) | {"edits": rows}


def warn(results: tuple[EditResult, ...]) -> None:
    """Say on stderr what is easily overlooked, unless JSON was asked for, which has it."""
    if options.json:
        return
    for result in results:
        for warning in result.warnings:
            note(f"warning: edit {result.number}: {warning}")


def result_line(result: EditResult) -> str:
    """Number and text of an edit, and what became of it."""
    if result.refusal is not None:
        what = "refused"
    elif result.changed:
        what = counted(result.change_count, "change")
    else:
        what = "nothing to change"
    return f"{result.number}. {printable(result.text)}: {what}"


def change_line(change: Change) -> str:
    """One change: what was there, and what is now."""
    match change:
        case KeyChange(hive, key, made, below):
            with_below = f" with {counted(below, 'key')} below" if below else ""
            return f"{'added  ' if made else 'removed'}  {hive}\\{visible(key)}{with_below}"
        case ValueChange(hive, key, name, old, new, secret):
            path = f"{hive}\\{visible(key)} {value_name(name)}"
            if secret:
                return f"{_verb(old, new)}  {path} (data not shown)"
            return f"{_verb(old, new)}  {path}: {_arrow(_data(old), _data(new))}"
        case FileChange():
            return _file_line(change)


def _file_line(change: FileChange) -> str:
    path = printable(change.path)
    names = f" (under {change.names} names)" if change.names > 1 and change.new else ""
    if change.new_path is not None:
        return f"moved    {path} -> {printable(change.new_path)}"
    if change.aspect in {"security", "attributes"}:
        return f"changed  {path}: {change.aspect}{names}"
    return (
        f"{_verb(change.old, change.new)}  {path}{names}:"
        f" {_arrow(_file(change.old), _file(change.new))}"
    )


def _verb(old: object, new: object) -> str:
    verb = "added" if old is None else "removed" if new is None else "changed"
    return f"{verb:<7}"


def _arrow(old: str | None, new: str | None) -> str:
    return " -> ".join(text for text in (old, new) if text is not None)


def _file(state: FileState | None) -> str | None:
    if state is None:
        return None
    return "folder" if state.is_folder else f"{human_size(state.size_bytes)} {state.sha1[:12]}"


def _data(value: Value | None) -> str | None:
    return None if value is None else f"{type_name(value.type)} {data_text(value)[:200]}".rstrip()


def result_row(result: EditResult) -> dict[str, Any]:
    """What became of an edit, with its changes; data of secret values are left out."""
    rows = [_change_row(one) for one in result.changes]
    return asdict(replace(result, changes=())) | {"changes": rows}


def _change_row(change: Change) -> dict[str, Any]:
    match change:
        case KeyChange():
            return {"what": "key"} | asdict(change)
        case FileChange():
            return {"what": "file"} | asdict(change)
        case ValueChange(hive, key, name, old, new, secret):
            shown = [None if one is None else _value_row(one, secret=secret) for one in (old, new)]
            row = {"what": "value", "hive": hive, "key": key, "name": name, "secret": secret}
            return row | {"old": shown[0], "new": shown[1]}


def _value_row(value: Value, *, secret: bool) -> dict[str, Any]:
    if secret:
        return {"type": value.type, "type_name": type_name(value.type)}
    return value_row(value)
