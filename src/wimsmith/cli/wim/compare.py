"""`wimsmith wim diff`: what differs between two images."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from wimsmith.cli.hive.compare import difference_row, print_differences
from wimsmith.cli.output import options, print_json, print_line
from wimsmith.cli.wim.rows import Row, Rows, reparse_text, size_text
from wimsmith.cli.wimfile import References, open_codec, printable
from wimsmith.offline.compare import (
    Aspect,
    Change,
    Difference,
    HiveComparison,
    compare_hives,
    compare_trees,
)
from wimsmith.offline.wim.format.container import open_wim

DIFFERENT_EXIT = 1
Flag = Annotated[bool, Parameter(negative="")]


def diff(
    file1: Path,
    index1: int,
    file2: Path,
    index2: int,
    *,
    times: Flag = False,
    hives: Flag = False,
    brief: Flag = False,
    ref: References = (),
) -> int:
    """Show what differs between two images, which may be in one file.

    Compared are names, content, attributes, short names, security, hard links, named streams,
    reparse points, object ids and extended attributes. The exit code is 0 if nothing differs, 1 if
    something does, and above that after an error.

    Example: wimsmith wim diff install.wim 1 serviced.wim 1 --hives

    Args:
        file1: WIM file with the old image.
        index1: Number of the old image, from 1.
        file2: WIM file with the new image.
        index2: Number of the new image, from 1.
        times: Other times of files and folders are a difference, too.
        hives: Show which keys and values differ in changed registry hives.
        brief: Only say which entries differ, not how.
        ref: WIM file with content that FILE1 or FILE2 lacks; may be repeated.
    """
    with (
        open_codec() as codec,
        open_wim(file1, codec, references=ref) as old,
        open_wim(file2, codec, references=ref) as new,
    ):
        old_tree, new_tree = old.tree(index1), new.tree(index2)
        found = list(compare_trees(old_tree, new_tree, times=times))
        rows = [(one, _rows(one, Rows(old), Rows(new))) for one in found]
        registries = list(compare_hives(old, old_tree, new, new_tree, found)) if hives else []
    if options.json:
        print_json(_document(rows, registries))
    else:
        for one, (before, after) in rows:
            _print(one, before, after, brief=brief)
        for registry in registries:
            _print_hive(registry)
    return DIFFERENT_EXIT if found else 0


def _rows(one: Difference, old: Rows, new: Rows) -> tuple[Row | None, Row | None]:
    return (
        None if one.old is None else old.of(one.old),
        None if one.new is None else new.of(one.new),
    )


def _document(
    rows: Sequence[tuple[Difference, tuple[Row | None, Row | None]]],
    registries: Sequence[HiveComparison],
) -> dict[str, Any]:
    return {
        "equal": not rows,
        "differences": [
            {
                "change": one.change,
                "path": one.path,
                "aspects": list(one.aspects),
                "old": before,
                "new": after,
            }
            for one, (before, after) in rows
        ],
        "hives": [
            {
                "path": one.path,
                "error": one.error or None,
                "differences": [difference_row(item) for item in one.differences],
            }
            for one in registries
        ],
    }


def _print(one: Difference, old: Row | None, new: Row | None, *, brief: bool) -> None:
    path = printable(one.path) or "/"
    if one.change is not Change.CHANGED or old is None or new is None:
        entry = one.old or one.new
        print_line(f"{one.change:<8} {path}{'/' if entry and entry.is_directory else ''}")
        return
    print_line(f"{one.change:<8} {path}: {', '.join(one.aspects)}")
    if brief:
        return
    for aspect in one.aspects:
        for name, before, after in _shown(aspect, old, new):
            print_line(f"         {name}: {printable(before) or '-'} -> {printable(after) or '-'}")


def _shown(aspect: Aspect, old: Row, new: Row) -> Iterator[tuple[str, str, str]]:
    """Name, old and new text of what changed; lists are told one by one."""
    match aspect:
        case Aspect.LINKS:
            yield from _set_changes("link", old["link_names"], new["link_names"])
        case Aspect.STREAMS:
            yield from _set_changes("stream", _streams(old), _streams(new))
        case Aspect.TIMES:
            for name in ("created", "accessed", "written"):
                before, after = old["filetimes"][name], new["filetimes"][name]
                if before != after:
                    yield name, _time(old[name], before), _time(new[name], after)
        case _:
            yield str(aspect), _text(aspect, old), _text(aspect, new)


def _text(aspect: Aspect, row: Row) -> str:
    match aspect:
        case Aspect.NAME:
            return str(row["name"])
        case Aspect.CONTENT:
            return f"{size_text(row['size_bytes'])} {row['sha1'].hex()[:12]}"
        case Aspect.ATTRIBUTES:
            return f"{row['attributes'] or '-'} (0x{row['attribute_bits']:x})"
        case Aspect.SHORT_NAME:
            return str(row["short_name"])
        case Aspect.SECURITY:
            security = row["security"]
            return "" if security is None else security["sddl"] or security["raw"].hex()
        case Aspect.REPARSE:
            return reparse_text(row["reparse"])
        case Aspect.OBJECT_ID:
            return str(row["object_id"].hex())
        case Aspect.EXTENDED_ATTRIBUTES:
            return ", ".join(one["name"] for one in row["extended_attributes"])
        case _:
            items = [f"tag 0x{one['tag']:08x}" for one in row["other_items"]]
            return ", ".join([*items, "Unix data"] if row["unix"] else items)


def _set_changes(
    name: str, old: Sequence[str], new: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    yield from ((name, one, "") for one in old if one not in set(new))
    yield from ((name, "", one) for one in new if one not in set(old))


def _streams(row: Row) -> list[str]:
    return [f"{one['name']} ({size_text(one['size_bytes'])})" for one in row["streams"]]


def _time(text: str | None, filetime: int) -> str:
    """Seconds are enough for people, unless they are the same."""
    return f"{text or '-'} ({filetime})"


def _print_hive(registry: HiveComparison) -> None:
    print_line(f"hive     {printable(registry.path)}")
    if registry.error:
        print_line(f"not compared: {printable(registry.error)}")
    print_differences(registry.differences, in_full=False)
