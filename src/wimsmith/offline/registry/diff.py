"""What is different between two hives, or between one key of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from wimsmith.errors import DamagedHive
from wimsmith.offline.registry.hive import MAX_DEPTH, Hive, Key
from wimsmith.offline.registry.names import sort_key
from wimsmith.offline.registry.values import Value

_Named = TypeVar("_Named", Key, Value)


class Change(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Aspect(StrEnum):
    """What of a key is different: itself, a value, its security descriptor or its class."""

    KEY = "key"
    VALUE = "value"
    SECURITY = "security"
    CLASS = "class"


@dataclass(frozen=True, slots=True)
class HiveDifference:
    """One difference.

    `key` is spelt as in the hive that has it, as in the new one if both do. `name` is that of a
    value, "" for the default value, None for everything else. What is not there has the type and
    data None. Data of a descriptor are its bytes, those of a class its text in UTF-16.
    """

    kind: Change
    aspect: Aspect
    key: str
    name: str | None = None
    old_type: int | None = None
    old_data: bytes | None = None
    new_type: int | None = None
    new_data: bytes | None = None


def diff_hives(
    old: Hive, new: Hive, path: str = "", *, security: bool = False, classes: bool = False
) -> Iterator[HiveDifference]:
    """Differences between the keys at `path` of two hives and all below them.

    Names are the same if Windows takes them for the same; the case in which they are written, times
    and the order of values are not compared. A key that only one side has is told with all of its
    values and subkeys. Ordered: a key before its values, these before its subkeys, each by name.

    Args:
        old: One hive.
        new: The other.
        path: Key to begin with. If neither hive has it, there is no difference.
        security: Compare security descriptors, too.
        classes: Compare classes of keys, too.

    Raises:
        DamagedHive: one of them is broken.
    """
    pending = [(old.key(path), new.key(path), 0)]
    while pending:
        left, right, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise DamagedHive(f"keys are nested deeper than {MAX_DEPTH}")
        yield from _key_differences(left, right, security=security, classes=classes)
        yield from _value_differences(left, right)
        pairs = [(*pair, depth + 1) for pair in _paired(_subkeys(left), _subkeys(right))]
        pending.extend(reversed(pairs))


def _key_differences(
    left: Key | None, right: Key | None, *, security: bool, classes: bool
) -> Iterator[HiveDifference]:
    if left is None or right is None:
        if right is not None:
            yield HiveDifference(Change.ADDED, Aspect.KEY, right.path)
        elif left is not None:
            yield HiveDifference(Change.REMOVED, Aspect.KEY, left.path)
        return
    if security and left.security != right.security:
        yield _changed(Aspect.SECURITY, right.path, left.security, right.security)
    if classes and left.class_name != right.class_name:
        texts = [key.class_name.encode("utf-16-le", "surrogatepass") for key in (left, right)]
        yield _changed(Aspect.CLASS, right.path, texts[0], texts[1])


def _changed(aspect: Aspect, key: str, old: bytes, new: bytes) -> HiveDifference:
    return HiveDifference(Change.CHANGED, aspect, key, old_data=old, new_data=new)


def _value_differences(left: Key | None, right: Key | None) -> Iterator[HiveDifference]:
    for old, new in _paired(_values(left), _values(right)):
        if old and new and (old.type, old.data) == (new.type, new.data):
            continue
        kind = Change.CHANGED if old and new else Change.ADDED if new else Change.REMOVED
        key, value = right or left, new or old
        assert key is not None
        assert value is not None
        yield HiveDifference(
            kind,
            Aspect.VALUE,
            key.path,
            value.name,
            old_type=old.type if old else None,
            old_data=old.data if old else None,
            new_type=new.type if new else None,
            new_data=new.data if new else None,
        )


def _subkeys(key: Key | None) -> list[Key]:
    return sorted(key.subkeys() if key else (), key=lambda one: sort_key(one.name))


def _values(key: Key | None) -> list[Value]:
    return sorted(key.values() if key else (), key=lambda one: sort_key(one.name))


def _paired(
    left: list[_Named], right: list[_Named]
) -> Iterator[tuple[_Named | None, _Named | None]]:
    """Members of two sorted lists, those with the same name together, each alone otherwise."""
    at, old_names, new_names = (
        0,
        [sort_key(x.name) for x in left],
        [sort_key(x.name) for x in right],
    )
    for place, name in enumerate(new_names):
        while at < len(left) and old_names[at] < name:
            yield left[at], None
            at += 1
        if at < len(left) and old_names[at] == name:
            yield left[at], right[place]
            at += 1
        else:
            yield None, right[place]
    for one in left[at:]:
        yield one, None
