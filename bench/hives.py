"""Hives: many new keys, looking at all keys, and importing text.

`hivexsh` makes fewer keys than we do, because each costs it more the more there are.
"""

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from regipy.registry import RegistryHive

from bench.rows import Row, apart, measure
from offline.registry.generated import large_hive
from wimsmith.offline.changes import SetValue
from wimsmith.offline.hivefile import apply_edits, read_hive_file, write_hive_file
from wimsmith.offline.registry import Hive, encode_text
from wimsmith.offline.registry.regfile import PutValue, parse_reg

_KEYS = 10_000
_KEYS_OF_HIVEX = 1_500
_EDITS = 50_000
_MODIFIED = 131_000_000_000_000_000
_RUNS = 3


def run(work: Path) -> list[Row]:
    """Bytes are those of the hive; of rows that make keys, 100 for each key."""
    empty, large, target = work / "empty", work / "large", work / "target"
    empty.write_bytes(Hive.new().serialize(_MODIFIED))
    large.write_bytes(apart(large_hive))
    text = work / "import.reg"
    text.write_text(_reg_text(), encoding="utf-16")
    fresh = partial(target.unlink, missing_ok=True)
    hivex, walk = f"hivexsh, {_KEYS_OF_HIVEX} new keys", "hivexml, all keys and values of 12 MB"
    rows = [
        measure(hivex, partial(_new_by_hivexsh, empty, target, _KEYS_OF_HIVEX), prepare=fresh),
        *(
            measure(
                f"{count} new keys in a hive of {before.stat().st_size // 1_000_000} MB",
                partial(_new_keys, before, target, count),
                peer=hivex,
                runs=_RUNS,
                prepare=fresh,
            )
            for before, count in ((empty, _KEYS_OF_HIVEX), (empty, _KEYS), (large, _KEYS))
        ),
        measure(walk, partial(_walk_by_hivexml, large), runs=_RUNS),
        measure("regipy, all keys and values of 12 MB", partial(_walk_by_regipy, large), peer=walk),
        measure("all keys and values of 12 MB", partial(_walk, large), peer=walk, runs=_RUNS),
        measure("check of 12 MB", partial(_check, large), peer=walk, runs=_RUNS),
        measure(
            f".reg file, {_EDITS} values in 12 MB",
            partial(_import, large, text, target),
            runs=_RUNS,
            prepare=fresh,
        ),
    ]
    fresh()
    return rows


def _names(count: int) -> Iterator[tuple[str, str]]:
    """Keys with the text of their value."""
    for number in range(count):
        yield f"Key {number * 7919 % count:05}", f"value of key {number}"


def _new_keys(before: Path, target: Path, count: int) -> int:
    hive = read_hive_file(before).parse()
    edits = [
        SetValue("", f"Software\\{name}", "Name", 1, encode_text(text))
        for name, text in _names(count)
    ]
    apply_edits(hive, edits)
    write_hive_file(hive, target, modified=_MODIFIED)
    return count * 100


def _new_by_hivexsh(before: Path, target: Path, count: int) -> int:
    lines = ["cd \\", "add Software", "cd Software"]
    for name, text in _names(count):
        lines += [f"add {name}", f"cd {name}", "setval 1", "Name", f"string:{text}", "cd .."]
    lines += [f"commit {target}", "quit"]
    _hivexsh(before, "\n".join(lines))
    return count * 100


def _walk(path: Path) -> int:
    hive = read_hive_file(path).parse()
    if not sum(len(value.data) for key in hive.walk() for value in key.values()):
        raise AssertionError("no values")
    return path.stat().st_size


def _check(path: Path) -> int:
    read_hive_file(path).parse().check()
    return path.stat().st_size


def _walk_by_hivexml(path: Path) -> int:
    subprocess.run(["hivexml", path], stdout=subprocess.DEVNULL, check=True)
    return path.stat().st_size


def _hivexsh(path: Path, commands: str) -> None:
    subprocess.run(
        ["hivexsh", "-w", path],
        input=commands.encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def _walk_by_regipy(path: Path) -> int:
    hive: Any = RegistryHive(str(path))  # type: ignore[no-untyped-call]
    if not sum(len(key.values) for key in hive.recurse_subkeys(as_json=False)):
        raise AssertionError("no values")
    return path.stat().st_size


def _reg_text() -> str:
    lines = ["Windows Registry Editor Version 5.00"]
    for number in range(_EDITS // 5):
        lines += ["", f"[HKEY_LOCAL_MACHINE\\SOFTWARE\\Import\\Key {number:05}]"]
        lines += [f'"Value {value}"="text {number}"' for value in range(5)]
    return "\n".join(lines) + "\n"


def _import(before: Path, text: Path, target: Path) -> int:
    prefix = "HKEY_LOCAL_MACHINE\\SOFTWARE\\"
    edits = [
        SetValue("", edit.key.removeprefix(prefix), edit.name, edit.type, edit.data)
        for edit in parse_reg(text.read_bytes()).edits
        if isinstance(edit, PutValue)
    ]
    hive = read_hive_file(before).parse()
    apply_edits(hive, edits)
    write_hive_file(hive, target, modified=_MODIFIED)
    return before.stat().st_size
