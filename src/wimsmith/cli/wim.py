"""`wimsmith wim`: WIM files on this machine, without a site."""

import base64
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from wimsmith.cli.output import (
    human_size,
    note,
    options,
    print_facts,
    print_json,
    print_line,
    print_table,
    progress_bar,
    show,
)
from wimsmith.errors import InvalidInput, NotFound
from wimsmith.offline.filetime import to_datetime
from wimsmith.offline.wim import verbs
from wimsmith.offline.wim.codec import Compression
from wimsmith.offline.wim.container import Wim, naming, open_wim
from wimsmith.offline.wim.document import ImageInfo, WindowsInfo
from wimsmith.offline.wim.lint import shown_path
from wimsmith.offline.wim.tree import Attribute, Entry, Tree
from wimsmith.offline.wim.worker import WorkerCodec

app = App(name="wim", help="WIM files on this machine (no site needed).", help_format="plaintext")

Form = Literal["none", "xpress", "lzx", "lzms"]

_SHOWN_NAMES = 20
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


@app.command
def info(file: Path) -> None:
    """Show the images that a WIM file holds.

    Args:
        file: WIM file.
    """
    with _open(file) as wim:
        facts = _file_facts(wim)
        images = [_image_facts(image) for image in wim.images]
    show(facts | {"images": images}, lambda: _print_info(facts, images))


@app.command(name="ls")
def list_entries(
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
    with _open(file) as wim:
        tree = wim.tree(index)
        entries = _listed(tree, _found(wim, tree, index, path), recursive=recursive)
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
            print_line(_printable(str(name)))


@app.command
def cat(file: Path, index: int, path: str, *, stream: str = "") -> None:
    """Write the content of a file of an image to stdout.

    Args:
        file: WIM file.
        index: Number of the image, from 1.
        path: File in the image.
        stream: Named stream of the file, instead of its main content.
    """
    with _open(file) as wim:
        sha1 = _content_of(_found(wim, wim.tree(index), index, path), path, stream)
        if options.json:
            data = wim.read_blob(sha1)
            text = base64.b64encode(data).decode("ascii")
            print_json({"path": path, "size_bytes": len(data), "sha1": sha1, "base64": text})
            return
        for block in wim.open_blob(sha1):
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()


@app.command
def export(
    source: Path,
    index: str,
    target: Path,
    *,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    check: bool = True,
    compress: Form | None = None,
    level: int = verbs.FAST_LEVEL,
    solid: Annotated[bool, Parameter(negative="")] = False,
    recompress: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Copy one image, or all, into a new WIM file that holds only what is needed.

    The source is not changed. The target appears when it is complete and checked.

    Args:
        source: WIM file to read.
        index: Number of the image, from 1; several with commas between; or `all`.
        target: WIM file to make.
        overwrite: Replace the target if it exists.
        check: Read the result again and compare all hashes before it gets its name.
        compress: Pack the content in another form; `lzx` is what Windows media use.
        level: How hard to pack: 20 fast, 50 usual, 100 slow.
        solid: Pack all content together with LZMS, as in an ESD file: smallest and slow.
        recompress: Pack anew what could be copied as it is.
    """
    with progress_bar() as progress:
        report = verbs.export(
            source,
            _numbers(index),
            target,
            progress=progress,
            check=check,
            overwrite=overwrite,
            compression=Compression.LZMS if solid and not compress else _compression(compress),
            level=level,
            solid=solid,
            recompress=recompress,
        )
    images = ", ".join(str(number) for number in report.images)
    size = human_size(report.size_bytes)
    checked = ", checked" if report.checked else ""
    text = f"{target}: index {images} of {source}, {size}{checked}, {report.duration_s:.1f} s"
    show(report, lambda: print_line(text))


@app.command
def extract(file: Path, index: int, target: Path, *patterns: str) -> None:
    """Extract an image, or parts of it, into a new folder.

    Args:
        file: WIM file to read.
        index: Number of the image, from 1.
        target: Folder to make; an existing one must be empty.
        patterns: Paths in the image, with `?` and `*`; folders come whole. All if none is given.
    """
    with progress_bar() as progress:
        report = verbs.extract(file, index, target, patterns=patterns, progress=progress)
    for name in report.left_out:
        note(f"warning: the link {name} leads out of the image and was left out")
    size = human_size(report.size_bytes)
    text = f"{target}: {report.files} files, {report.directories} folders, {size}"
    show(report, lambda: print_line(f"{text}, {report.duration_s:.1f} s"))


@app.command
def verify(file: Path) -> None:
    """Read all of a WIM file and compare every hash in it.

    Args:
        file: WIM file.
    """
    with progress_bar() as progress:
        report = verbs.verify(file, progress=progress)
    _warn_of_names(report)
    table = "integrity table checked" if report.integrity_table else "no integrity table"
    content = f"{report.blobs} contents of {human_size(report.content_bytes)}"
    text = f"{file}: {report.images} images, {content} as they should be, {table}"
    show(report, lambda: print_line(f"{text}, {report.duration_s:.1f} s"))


@app.command
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

    with _open(file) as wim, naming(file):
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


@contextmanager
def _open(file: Path) -> Iterator[Wim]:
    with WorkerCodec() as codec, open_wim(file, codec) as wim:
        yield wim


def _warn_of_names(report: verbs.VerifyReport) -> None:
    for name in report.unusable_names[:_SHOWN_NAMES]:
        note(f"warning: index {name.index}: {_printable(name.path)} {name.fault}")
    if report.unusable_count:
        note(f"warning: {report.unusable_count} names cannot be used; their content is intact")


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
        facts[key] = _time(facts[key])
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


def _found(wim: Wim, tree: Tree, index: int, path: str) -> Entry:
    entry = tree.find(path)
    if entry is None:
        raise NotFound(f"{path} in index {index} of {wim.path}")
    return entry


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
        "written": _time(inode.written),
        "sha1": inode.sha1,
        "streams": [stream.name for stream in inode.named_streams],
    }


def _content_of(entry: Entry, path: str, stream: str) -> bytes:
    if entry.is_directory and not stream:
        raise InvalidInput(f"{path} is a folder", hint="`wimsmith wim ls` lists folders.")
    for found in entry.inode.streams:
        if found.name.upper() == stream.upper():
            return found.sha1
    raise NotFound(f"stream {stream} of {path}")


def _printable(name: str) -> str:
    """A name without what could move the cursor or turn the writing direction."""
    return "".join(character if character.isprintable() else "?" for character in name)


def _numbers(index: str) -> list[int] | None:
    if index == "all":
        return None
    try:
        return [int(part) for part in index.split(",")]
    except ValueError:
        raise InvalidInput(f"index {index!r}", hint="Say a number from 1, or all.") from None


def _compression(form: Form | None) -> Compression | None:
    return None if form is None else Compression(form)


def _version(windows: WindowsInfo) -> str | None:
    if windows.build is None:
        return None
    return f"{windows.major}.{windows.minor}.{windows.build}.{windows.service_pack_build or 0}"


def _time(filetime: int | None) -> str | None:
    moment = to_datetime(filetime or 0)
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _day(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d}"
