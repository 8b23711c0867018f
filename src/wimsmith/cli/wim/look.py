"""Commands that look into an image of a WIM file."""

import base64
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from wimsmith.cli.output import note, options, print_json, print_line, print_table
from wimsmith.cli.states import feature_state, package_state
from wimsmith.cli.wim.rows import (
    Row,
    Rows,
    item_lines,
    reparse_text,
    security_lines,
    size_text,
    stream_lines,
)
from wimsmith.cli.wimfile import References, found, open_file, printable
from wimsmith.errors import InvalidInput, NotFound
from wimsmith.offline.wim.format.container import Wim, naming
from wimsmith.offline.wim.format.lint import shown_path
from wimsmith.offline.wim.format.tree import Entry, Tree
from wimsmith.offline.wim.format.wildcards import has_wildcards, matching, name_matcher

Flag = Annotated[bool, Parameter(negative="")]
_NOWHERE = Path(os.devnull)  # nothing is kept


def ls(
    file: Path,
    index: int,
    path: str = "",
    *,
    long: Annotated[bool, Parameter(alias="-l", negative="")] = False,
    recursive: Annotated[bool, Parameter(alias="-r", negative="")] = False,
    pattern: str | None = None,
    acl: Flag = False,
    links: Flag = False,
    streams: Flag = False,
    all_facts: Annotated[bool, Parameter(name=["--all", "-a"], negative="")] = False,
    ref: References = (),
) -> None:
    r"""List a folder of an image, or what matches a pattern.

    With --json each entry has everything that the image says of it. Attributes are letters:
    D folder, R read-only, H hidden, S system, A archive, L reparse point, E encrypted,
    T temporary, P sparse, C compressed, O offline, I not indexed.

    Example: wimsmith wim ls install.wim 1 'Windows/System32/drivers/*.sys' -l

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        path: Folder or file in the image; the root if not given. With * (any characters) and ?
            (one) it is a pattern; ** stands for any folders. Put it in quotes.
        long: Show attributes, size, number of links and time as well.
        recursive: List folders below as well, with paths from the root.
        pattern: Of what is listed, show only names that match, for example '*.dll'.
        acl: Show the security descriptor of each entry as SDDL, and who that is.
        links: Show all names (hard links) of each file.
        streams: Show the named streams of each entry.
        all_facts: Show all of this, all times, short name, hash, object id and extended
            attributes.
        ref: WIM file with content that FILE lacks (delta, metadata-only); may be repeated.
    """
    with open_file(file, ref) as wim:
        tree = wim.tree(index)
        entries = _chosen(wim, tree, index, path, recursive=recursive)
        if pattern is not None:
            matches = name_matcher(pattern)
            entries = (entry for entry in entries if matches(entry.name))
        with_paths = recursive or has_wildcards(path)
        details = _Details(acl or all_facts, links or all_facts, streams or all_facts, all_facts)
        if options.json or long or any(astuple(details)):
            _print_rows(map(Rows(wim).of, entries), details, with_paths=with_paths)
        else:
            _print_names(entries, with_paths=with_paths)


@dataclass(frozen=True, slots=True)
class _Details:
    """What people asked to see of each entry."""

    acl: bool
    links: bool
    streams: bool
    facts: bool


def _print_names(entries: Iterable[Entry], *, with_paths: bool) -> None:
    for entry in entries:
        print_line(printable(shown_path(entry) if with_paths else entry.name))


def _print_rows(rows: Iterable[Row], details: _Details, *, with_paths: bool) -> None:
    if options.json:
        print_json(list(rows))
    elif any(astuple(details)):
        for row in _told_once(rows):
            print_line(printable(row["path"]) or "/")
            for name, text in _details(row, details):
                print_line(f"    {name + ':':<20} {printable(text)}")
    else:
        _print_long(rows, with_paths=with_paths)


def cat(file: Path, index: int, path: str, *, stream: str = "", ref: References = ()) -> None:
    """Write the content of a file of an image to stdout.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        path: File in the image.
        stream: Named stream of the file, instead of its main content.
        ref: WIM file with content that FILE lacks (delta, metadata-only); may be repeated.
    """
    with open_file(file, ref) as wim:
        sha1 = _content_of(found(wim, wim.tree(index), index, path), path, stream)
        if options.json:
            data = wim.read_blob(sha1)
            text = base64.b64encode(data).decode("ascii")
            print_json({"path": path, "size_bytes": len(data), "sha1": sha1, "base64": text})
            return
        for block in wim.open_blob(sha1):
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()


def packages(file: Path, index: int, *, updates: Flag = False, ref: References = ()) -> None:
    """List the packages of the Windows in an image, and what it says of itself.

    What is superseded gave way to a higher version and comes back when that is removed; what is
    staged is in the store and switched off. `wimsmith wim features` lists features.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        updates: Only installed updates.
        ref: WIM file with content that FILE lacks (delta, metadata-only); may be repeated.
    """
    from wimsmith.offline.facts import image_facts  # noqa: PLC0415 - the other verbs load less
    from wimsmith.offline.image import open_view  # noqa: PLC0415 - same

    with open_file(file, ref) as wim, naming(file):
        facts = image_facts(open_view(wim, index))
    if facts is None:
        raise NotFound(f"a Windows in index {index} of {file}: it has no SOFTWARE hive")
    chosen = facts.updates if updates else facts.packages
    if options.json:
        print_json(asdict(facts) | {"packages": [asdict(package) for package in chosen]})
        return
    note(f"{facts.product_name} {facts.os_version} {facts.architecture}")
    columns = ("state", "installed", "type", "article", "package")
    print_table(
        columns,
        [
            (
                package_state(one.state),
                _day(one.installed_at),
                one.release_type,
                one.article,
                one.identity,
            )
            for one in chosen
        ],
    )


def features(file: Path, index: int, *, ref: References = ()) -> None:
    """List the optional features of the Windows in an image, as `dism /Get-Features` does.

    `wimsmith wim service --enable-feature NAME` and `--disable-feature NAME` switch them.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        ref: WIM file with content that FILE lacks (delta, metadata-only); may be repeated.
    """
    from wimsmith.offline.components.features.facts import features_of  # noqa: PLC0415 - same
    from wimsmith.offline.components.store.draft import Draft  # noqa: PLC0415 - same
    from wimsmith.offline.components.store.lookups import Store  # noqa: PLC0415 - same
    from wimsmith.offline.image import open_view  # noqa: PLC0415 - same

    with open_file(file, ref) as wim, naming(file):
        view = open_view(wim, index)
        if not view.has_hive("SOFTWARE"):
            raise NotFound(f"a Windows in index {index} of {file}: it has no SOFTWARE hive")
        found = features_of(Store(Draft(view, _NOWHERE, now=0)))
    rows = [
        asdict(one) | {"word": feature_state(one.state, has_payload=one.has_payload)}
        for one in found
    ]
    if options.json:
        print_json(rows)
        return
    columns = ("state", "feature", "package")
    print_table(columns, [(row["word"], row["name"], row["package"]) for row in rows])


def _chosen(wim: Wim, tree: Tree, index: int, path: str, *, recursive: bool) -> Iterable[Entry]:
    if not has_wildcards(path):
        return _listed(tree, found(wim, tree, index, path), recursive=recursive)
    tops = list(matching(tree, path))
    if not tops:
        raise NotFound(f"anything like {path} in index {index} of {wim.path}")
    if not recursive:
        return tops
    return dict.fromkeys(chain.from_iterable(tree.walk(top) for top in tops))


def _listed(tree: Tree, start: Entry, *, recursive: bool) -> Iterable[Entry]:
    if start.children is None:
        return [start]
    if recursive:
        return islice(tree.walk(start), 1, None)
    return start.children.values()


def _print_long(rows: Iterable[Row], *, with_paths: bool) -> None:
    cells = []
    for row in rows:
        name = row["path"] if with_paths else row["name"]
        target = (row["reparse"] or {}).get("target")
        shown = f"{name} -> {target}" if target else name
        size = row["size_bytes"]
        cells.append((row["attributes"], size, row["links"], row["written"], shown))
    print_table(("attributes", "size", "links", "written", "name"), cells)


def _details(row: Row, details: _Details) -> Iterator[tuple[str, str]]:
    if details.facts:
        yield from _facts(row)
    if details.acl:
        yield from security_lines(row["security"])
    if details.links:
        yield from (("link", name) for name in row["link_names"])
    if details.streams:
        yield from stream_lines(row)
    if details.facts:
        yield from item_lines(row)


def _told_once(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows with all names of a file at the first of them only: it may have a thousand."""
    told = set()
    for row in rows:
        names = row["link_names"]
        if names and names[0] in told:
            row["link_names"] = [f"{names[0]} and so on, see above"]
        told.update(names[:1])
        yield row


def _facts(row: Row) -> Iterator[tuple[str, str]]:
    shown = {
        "attributes": row["attributes"] or "-",
        "size": "" if "D" in row["attributes"] else size_text(row["size_bytes"]),
        "SHA-1": row["sha1"].hex() if any(row["sha1"]) else "",
        "short name": row["short_name"],
        "created": row["created"] or "",
        "accessed": row["accessed"] or "",
        "written": row["written"] or "",
        "reparse point": reparse_text(row["reparse"]),
    }
    yield from ((name, text) for name, text in shown.items() if text)


def _content_of(entry: Entry, path: str, stream: str) -> bytes:
    if entry.is_directory and not stream:
        raise InvalidInput(f"{path} is a folder", hint="`wimsmith wim ls` lists folders.")
    for held in entry.inode.streams:
        if held.name.upper() == stream.upper():
            return held.sha1
    raise NotFound(
        f"stream {stream} of {path}", hint="`wimsmith wim ls FILE INDEX PATH --streams` lists them."
    )


def _day(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d}"
