"""The command that compares two hives."""

import base64
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from cyclopts import Parameter

from wimsmith.cli.hive.shown import data_text, type_name, value_name, value_row, visible
from wimsmith.cli.hive.source import open_source
from wimsmith.cli.output import counted, note, options, print_json, print_line
from wimsmith.errors import NotFound
from wimsmith.offline.registry import Value
from wimsmith.offline.registry.diff import Aspect, Change, HiveDifference, diff_hives
from wimsmith.offline.security import display_sddl

DIFFERENT_EXIT = 1
_SHOWN_CHARACTERS = 120
_SIGNS = {Change.ADDED: "+", Change.REMOVED: "-", Change.CHANGED: "~"}


def diff(
    old: str,
    new: str,
    path: str = "",
    *,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    security: Annotated[bool, Parameter(negative="")] = False,
    classes: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show what is different between two hives: + added, - removed, ~ changed.

    Ends with exit code 0 if nothing is, 1 if something is.

    Args:
        old: File with a hive, or WIM:INDEX:NAME.
        new: The other one.
        path: Compare this key and what is below it only.
        all_: Tell all that is in added and removed keys, not only how much.
        security: Compare security descriptors of keys as well.
        classes: Compare classes of keys as well.
    """
    left, right = open_source(old), open_source(new)
    if left.hive.key(path) is None and right.hive.key(path) is None:
        raise NotFound(f"the key {path} in {old} and in {new}")
    found = diff_hives(left.hive, right.hive, path, security=security, classes=classes)
    if options.json:
        rows = [difference_row(one) for one in found]
        print_json({"old": old, "new": new, "differences": rows})
        return DIFFERENT_EXIT if rows else 0
    count = print_differences(found, in_full=all_)
    note(_many(count, "difference") or "no difference")
    return DIFFERENT_EXIT if count else 0


def print_differences(differences: Iterable[HiveDifference], *, in_full: bool) -> int:
    count = 0
    for tree in _trees(differences):
        count += len(tree)
        shown = tree if in_full else tree[:1]
        rest = _rest(tree[len(shown) :])
        for one in shown:
            print_line(f"{_SIGNS[one.kind]} {visible(one.key) or '(root)'}{_about(one)}{rest}")
    return count


def _trees(differences: Iterable[HiveDifference]) -> Iterator[list[HiveDifference]]:
    """Differences one by one, but those at and below an added or removed key together."""
    tree: list[HiveDifference] = []
    for one in differences:
        if tree and tree[0].aspect is Aspect.KEY and _is_at_or_below(one.key, tree[0].key):
            tree.append(one)
            continue
        if tree:
            yield tree
        tree = [one]
    if tree:
        yield tree


def _is_at_or_below(key: str, above: str) -> bool:
    return not above or key == above or key.startswith(above + "\\")


def _rest(untold: list[HiveDifference]) -> str:
    counts = Counter(one.aspect for one in untold)
    told = [_many(counts[Aspect.KEY], "key"), _many(counts[Aspect.VALUE], "value")]
    return f" ({', '.join(filter(None, told))})" if untold else ""


def _many(count: int, noun: str) -> str:
    return counted(count, noun) if count else ""


def _about(one: HiveDifference) -> str:
    match one.aspect:
        case Aspect.KEY:
            return ""
        case Aspect.VALUE:
            return f" : {value_name(one.name or '')}  {_change(one)}"
        case Aspect.SECURITY | Aspect.CLASS:
            return f" : {one.aspect.value} {_change(one)}"


def _change(one: HiveDifference) -> str:
    return " -> ".join(text for text in (_side(one, old=True), _side(one, old=False)) if text)


def _side(one: HiveDifference, *, old: bool) -> str | None:
    kind, data = (one.old_type, one.old_data) if old else (one.new_type, one.new_data)
    if data is None:
        return None
    if kind is not None:
        text = data_text(Value("", kind, data))
        if len(text) > _SHOWN_CHARACTERS:
            text = f"{text[:_SHOWN_CHARACTERS]}... ({len(data)} bytes)"
        return f"{type_name(kind)} {text}".rstrip()
    return f'"{visible(_described(one.aspect, data))}"'


def _described(aspect: Aspect, data: bytes) -> str:
    if aspect is Aspect.SECURITY:
        return display_sddl(data)
    return data.decode("utf-16-le", "surrogatepass")


def difference_row(one: HiveDifference) -> dict[str, Any]:
    return {
        "change": one.kind,
        "what": one.aspect,
        "key": one.key,
        "name": one.name,
        "old": _json_side(one, one.old_type, one.old_data),
        "new": _json_side(one, one.new_type, one.new_data),
    }


def _json_side(one: HiveDifference, kind: int | None, data: bytes | None) -> Any:
    if data is None:
        return None
    if kind is not None:
        row = value_row(Value("", kind, data))
        return {name: item for name, item in row.items() if name != "name"}
    text = _described(one.aspect, data)
    return {"base64": base64.b64encode(data).decode("ascii"), "text": text}
