"""Expected and observed state of an index, compared both ways."""

from collections.abc import Iterator, Mapping

from oracle.observe import HIVE_PATHS
from oracle.security import of_bytes
from oracle.state import Entry, ImageState, Key, Value
from oracle.want import EntryWant, ImageWant, KeyWant, SecurityWant, ValueWant

_CBS = r"microsoft\windows\currentversion\component based servicing"
MAY_GO_BELOW: Mapping[str, str] = {"SOFTWARE": rf"{_CBS}\applicabilityevaluationcache"}
"""Derived keys that an installation may drop: Windows makes them anew."""


def differences(want: ImageWant, after: ImageState) -> list[str]:
    """One line for everything that is missing, extra or other than expected."""
    return [*_entry_differences(want, after), *_registry_differences(want, after)]


def _entry_differences(want: ImageWant, after: ImageState) -> Iterator[str]:
    for path in sorted(want.entries.keys() | after.entries.keys()):
        expected, found = want.entries.get(path), after.entries.get(path)
        if expected is None:
            yield f"extra file: {path}"
        elif found is None:
            yield f"missing file: {path}"
        else:
            links = frozenset(want.links[path])
            yield from (f"{path}: {line}" for line in _entry(want, expected, links, found))


def _entry(
    want: ImageWant, expected: EntryWant, links: frozenset[str], found: Entry
) -> Iterator[str]:
    if expected.path != found.path:
        yield f"is written {found.path}"
    if links != found.links:
        yield f"names are {sorted(found.links)}, not {sorted(links)}"
    if expected.attributes not in {None, found.attributes}:
        yield f"attributes are {found.attributes:#x}, not {expected.attributes:#x}"
    if expected.sha1 not in {None, found.sha1} and not _is_hive(want, found.path):
        yield f"SHA-1 is {found.sha1}, not {expected.sha1}"
    if expected.short_name != found.short_name:
        yield f"short name is {found.short_name!r}, not {expected.short_name!r}"
    if not _security_agrees(expected.security, found.security):
        yield f"security is {of_bytes(found.security)}, not {_readable(expected.security)}"
    before = expected.untouched
    if before is not None and before.rest != found.rest and not _is_hive(want, found.path):
        yield f"changed from {before.rest} to {found.rest}"


def _is_hive(want: ImageWant, path: str) -> bool:
    return path in {HIVE_PATHS[hive] for hive in want.changed_hives}


def _registry_differences(want: ImageWant, after: ImageState) -> Iterator[str]:
    for hive in sorted(want.hives.keys() | after.hives.keys()):
        expected, found = want.hives[hive], after.hives[hive]
        for path in sorted(expected.keys() | found.keys()):
            place = f"{hive}\\{path}"
            if path not in expected:
                yield f"extra key: {place}"
            elif path not in found:
                if not path.startswith(MAY_GO_BELOW.get(hive, "-") + "\\"):
                    yield f"missing key: {place}"
            else:
                yield from (f"{place}: {line}" for line in _key(expected[path], found[path]))


def _key(expected: KeyWant, found: Key) -> Iterator[str]:
    if expected.path != found.path:
        yield f"is written {found.path}"
    if not _security_agrees(expected.security, found.security):
        yield f"security is {of_bytes(found.security)}, not {_readable(expected.security)}"
    for name in sorted(expected.values.keys() | found.values.keys()):
        wanted, there = expected.values.get(name), found.values.get(name)
        if wanted is None:
            yield f"extra value {name!r}"
        elif there is None:
            yield f"missing value {name!r}"
        else:
            yield from (f"{name!r} {line}" for line in _value(wanted, there))


def _value(expected: ValueWant, found: Value) -> Iterator[str]:
    if expected.name != found.name:
        yield f"is written {found.name!r}"
    if expected.type != found.type:
        yield f"has type {found.type}, not {expected.type}"
    if expected.data not in {None, found.data}:
        yield f"is {found.data!r}, not {expected.data!r}"


def _security_agrees(expected: SecurityWant, found: bytes) -> bool:
    if expected is None or isinstance(expected, bytes):
        return expected in {None, found}
    return of_bytes(found) in expected


def _readable(expected: SecurityWant) -> object:
    return of_bytes(expected) if isinstance(expected, bytes) else expected
