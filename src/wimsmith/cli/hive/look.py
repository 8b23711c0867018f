"""Commands that look into a hive."""

from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from wimsmith.cli.hive.shown import data_text, type_name, value_name, value_row, visible
from wimsmith.cli.hive.source import Source, load, open_source
from wimsmith.cli.output import (
    human_size,
    options,
    print_facts,
    print_json,
    print_line,
    print_table,
    show,
)
from wimsmith.cli.wimfile import time_text
from wimsmith.errors import DamagedHive, NotFound
from wimsmith.offline.hivefile import HiveFacts, describe
from wimsmith.offline.registry import Key, Value
from wimsmith.offline.wim.format.container import naming


def info(hive: str) -> None:
    """Show what a hive says of itself.

    Args:
        hive: File with a hive, or WIM:INDEX:NAME.
    """
    stored = load(hive)
    with naming(Path(hive)):
        facts = describe(stored)
        lost_bytes, fault = _lost(stored.parse().check)
    rows = {"hive": hive, **asdict(facts), "lost_bytes": lost_bytes, "fault": fault}
    for name in ("written", "last_change"):
        rows[name] = time_text(rows[name])
    show(rows, lambda: _print_info(facts, rows))


def ls(
    hive: str,
    path: str = "",
    *,
    long: Annotated[bool, Parameter(alias="-l", negative="")] = False,
    recursive: Annotated[bool, Parameter(alias="-r", negative="")] = False,
) -> None:
    """List the subkeys of a key. `hive get` shows its values.

    Args:
        hive: File with a hive, or WIM:INDEX:NAME.
        path: Key; the root if not given.
        long: Show the time of the last change and the numbers of subkeys and values as well.
        recursive: List all keys below as well, with their paths.
    """
    source = open_source(hive)
    with naming(Path(hive)):
        key = source.key(path)
        keys = islice(source.hive.walk(path), 1, None) if recursive else key.subkeys()
        if not (long or options.json):
            for one in keys:
                print_line(visible(one.path if recursive else one.name))
            return
        rows = [_key_row(one) for one in keys]
    if options.json:
        print_json(rows)
        return
    columns = ("written", "subkeys", "values", "class", "name")
    name = "path" if recursive else "name"
    print_table(
        columns,
        [
            (row["written"], row["subkeys"], row["values"], row["class"], visible(row[name]))
            for row in rows
        ],
    )


def get(
    hive: str,
    path: str,
    name: str | None = None,
    *,
    data_only: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Show the values of a key, or one of them.

    Args:
        hive: File with a hive, or WIM:INDEX:NAME.
        path: Key; "" is the root.
        name: Value to show; "" is the default value. All values if not given.
        data_only: Print the data alone, without name and type.
    """
    source = open_source(hive)
    with naming(Path(hive)):
        key = source.key(path)
        values = list(key.values()) if name is None else [_value(source, key, name)]
    if options.json:
        rows = [value_row(value) for value in values]
        print_json({"key": key.path, "values": rows} if name is None else rows[0])
    elif data_only:
        for value in values:
            print_line(data_text(value))
    else:
        cells = [(value_name(one.name), type_name(one.type), data_text(one)) for one in values]
        widths = [max((len(row[place]) for row in cells), default=0) for place in (0, 1)]
        for row in cells:
            print_line(f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip())


def check(hive: str, *, strict: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Read all of a hive and check that it is consistent.

    Args:
        hive: File with a hive, or WIM:INDEX:NAME.
        strict: Check as well what nothing depends on and other programs leave wrong.
    """
    source = open_source(hive)
    with naming(Path(hive)):
        lost_bytes = source.hive.check(strict=strict)
    lost = f", {human_size(lost_bytes)} belong to nothing" if lost_bytes else ""
    report = {"hive": hive, "consistent": True, "lost_bytes": lost_bytes}
    show(report, lambda: print_line(f"{hive}: consistent{lost}"))


def _lost(checked: Callable[[], int]) -> tuple[int | None, str | None]:
    try:
        return checked(), None
    except DamagedHive as error:
        return None, str(error)


def _print_info(facts: HiveFacts, rows: dict[str, Any]) -> None:
    logs = [f"{suffix} {human_size(size)}" for suffix, size in facts.logs.items()]
    state = "its last write did not end; completed from its logs" if facts.dirty else "clean"
    print_facts(
        {
            "name": visible(facts.name),
            "version": facts.version,
            "state": state,
            "sequence": f"{facts.primary_sequence}, {facts.secondary_sequence}",
            "written": rows["written"],
            "last change": rows["last_change"],
            "file": human_size(facts.size_bytes),
            "bins": human_size(facts.bins_bytes),
            "keys": facts.keys,
            "values": facts.values,
            "lost": None if rows["lost_bytes"] is None else human_size(rows["lost_bytes"]),
            "fault": rows["fault"],
            "logs": ", ".join(logs),
        }
    )


def _key_row(key: Key) -> dict[str, Any]:
    return {
        "path": key.path,
        "name": key.name,
        "written": time_text(key.written),
        "subkeys": sum(1 for _ in key.subkeys()),
        "values": sum(1 for _ in key.values()),
        "class": key.class_name,
        "link": key.is_link,
    }


def _value(source: Source, key: Key, name: str) -> Value:
    value = key.value(name)
    if value is None:
        text = f"the value {name}" if name else "the default value"
        raise NotFound(
            f"{text} of {key.path or 'the root'} in {source.stored.label}",
            hint="`wimsmith hive get` without a name shows all values of a key.",
        )
    return value
