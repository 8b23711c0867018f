"""Commands that look into a WIM file."""

import base64
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from wimsmith.cli.output import (
    human_size,
    note,
    options,
    print_facts,
    print_json,
    print_line,
    print_table,
    show,
)
from wimsmith.cli.wim.common import found, open_file, printable, time_text
from wimsmith.errors import InvalidInput, NotFound
from wimsmith.offline.wim.container import Wim, naming
from wimsmith.offline.wim.document import ImageInfo, WindowsInfo
from wimsmith.offline.wim.lint import shown_path
from wimsmith.offline.wim.tree import Attribute, Entry, Tree

_ARCHITECTURES = {0: "x86", 5: "arm", 9: "amd64", 12: "arm64"}


_LETTERS = {
    Attribute.DIRECTORY: "D",
    Attribute.READONLY: "R",
    Attribute.HIDDEN: "H",
    Attribute.SYSTEM: "S",
    Attribute.ARCHIVE: "A",
    Attribute.REPARSE_POINT: "L",
    Attribute.ENCRYPTED: "E",
}


def info(file: Path) -> None:
    """Show the images that a WIM file holds.

    Args:
        file: WIM file.
    """
    with open_file(file) as wim:
        facts = _file_facts(wim)
        images = [_image_facts(image) for image in wim.images]
    show(facts | {"images": images}, lambda: _print_info(facts, images))


def ls(
    file: Path,
    index: int,
    path: str = "",
    *,
    long: Annotated[bool, Parameter(alias="-l", negative="")] = False,
    recursive: Annotated[bool, Parameter(alias="-r", negative="")] = False,
) -> None:
    """List a folder of an image.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        path: Folder or file in the image; the root if not given.
        long: Show attributes, size, number of links and time as well.
        recursive: List folders below as well, with paths from the root.
    """
    with open_file(file) as wim:
        tree = wim.tree(index)
        entries = _listed(tree, found(wim, tree, index, path), recursive=recursive)
        rows = [_row(wim, entry) for entry in entries]
    names = [row["path"] if recursive else row["name"] for row in rows]
    if options.json:
        print_json(rows)
    elif long:
        cells = [
            (row["attributes"], row["size_bytes"], row["links"], row["written"], name)
            for row, name in zip(rows, names, strict=True)
        ]
        print_table(("attributes", "size", "links", "written", "name"), cells)
    else:
        for name in names:
            print_line(printable(str(name)))


def cat(file: Path, index: int, path: str, *, stream: str = "") -> None:
    """Write the content of a file of an image to stdout.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        path: File in the image.
        stream: Named stream of the file, instead of its main content.
    """
    with open_file(file) as wim:
        sha1 = _content_of(found(wim, wim.tree(index), index, path), path, stream)
        if options.json:
            data = wim.read_blob(sha1)
            text = base64.b64encode(data).decode("ascii")
            print_json({"path": path, "size_bytes": len(data), "sha1": sha1, "base64": text})
            return
        for block in wim.open_blob(sha1):
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()


def packages(
    file: Path, index: int, *, updates: Annotated[bool, Parameter(negative="")] = False
) -> None:
    """List the packages of the Windows in an image, and what it says of itself.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        updates: Only installed updates.
    """
    from wimsmith.offline.facts import image_facts  # noqa: PLC0415 - the other verbs load less
    from wimsmith.offline.image import open_view  # noqa: PLC0415 - same

    with open_file(file) as wim, naming(file):
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
            (f"{one.state:#x}", _day(one.installed_at), one.release_type, one.article, one.identity)
            for one in chosen
        ],
    )


def _file_facts(wim: Wim) -> dict[str, object]:
    header = wim.header
    return {
        "path": str(wim.path),
        "size_bytes": wim.file_bytes,
        "compression": wim.compression.value,
        "chunk_size_bytes": wim.chunk_size,
        "solid": wim.is_solid,
        "boot_index": header.boot_index,
        "integrity_table": bool(header.integrity.stored_bytes),
        "guid": header.guid,
        "contents": len(wim.blobs),
        "content_bytes": sum(blob.size_bytes for blob in wim.blobs.values()),
    }


def _image_facts(image: ImageInfo) -> dict[str, object]:
    facts = asdict(image)
    for key in ("created", "modified"):
        facts[key] = time_text(facts[key])
    facts["architecture"] = facts["version"] = None
    if image.windows is not None:
        facts["architecture"] = _ARCHITECTURES.get(image.windows.architecture or 0)
        facts["version"] = _version(image.windows)
    return facts


def _print_info(facts: dict[str, object], images: list[dict[str, object]]) -> None:
    print_facts(
        {
            name.removesuffix("_bytes").replace("_", " "): _shown(name, value)
            for name, value in facts.items()
        }
    )
    print_line()
    columns = ("index", "name", "version", "architecture", "files", "size", "modified")
    print_table(
        columns,
        [
            (
                image["number"],
                image["display_name"] or image["name"],
                image["version"],
                image["architecture"],
                image["file_count"],
                human_size(int(str(image["total_bytes"]))),
                image["modified"],
            )
            for image in images
        ],
    )


def _shown(name: str, value: object) -> object:
    if name.endswith("_bytes"):
        return human_size(int(str(value)))
    return value.hex() if isinstance(value, bytes) else value


def _listed(tree: Tree, start: Entry, *, recursive: bool) -> Iterable[Entry]:
    if start.children is None:
        return [start]
    if recursive:
        return islice(tree.walk(start), 1, None)
    return start.children.values()


def _row(wim: Wim, entry: Entry) -> dict[str, object]:
    inode = entry.inode
    blob = wim.blobs.get(inode.sha1)
    return {
        "path": shown_path(entry),
        "name": entry.name,
        "short_name": entry.short_name,
        "attributes": "".join(
            letter for flag, letter in _LETTERS.items() if inode.attributes & flag
        ),
        "attribute_bits": inode.attributes,
        "size_bytes": blob.size_bytes if blob else 0,
        "links": len(inode.entries),
        "written": time_text(inode.written),
        "sha1": inode.sha1,
        "streams": [stream.name for stream in inode.named_streams],
    }


def _content_of(entry: Entry, path: str, stream: str) -> bytes:
    if entry.is_directory and not stream:
        raise InvalidInput(f"{path} is a folder", hint="`wimsmith wim ls` lists folders.")
    for held in entry.inode.streams:
        if held.name.upper() == stream.upper():
            return held.sha1
    raise NotFound(f"stream {stream} of {path}")


def _version(windows: WindowsInfo) -> str | None:
    if windows.build is None:
        return None
    return f"{windows.major}.{windows.minor}.{windows.build}.{windows.service_pack_build or 0}"


def _day(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d}"
