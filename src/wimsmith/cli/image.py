"""`wimsmith image`: OS images of the site."""

from collections.abc import Iterable
from typing import Annotated, Literal

from cyclopts import App, Parameter

from wimsmith.cli.client import Row, Site, part, server_path, site
from wimsmith.cli.output import (
    human_size,
    human_time,
    note,
    options,
    print_facts,
    print_json,
    print_line,
    print_table,
    show,
)
from wimsmith.cli.states import package_state

app = App(name="image", help="OS images of the site.", help_format="plaintext")

Kind = Literal["default", "captured", "unknown"]
Wait = Annotated[bool, Parameter(negative="--no-wait")]


@app.command
def inspect(path: str) -> None:
    r"""Show what a WIM or ESD file holds, before it is added.

    Args:
        path: Path of the file on the server, or `\\server\share\file.wim`.
    """
    with site() as one:
        found = one.post("/images/inspect", {"path": server_path(path)})
    show(found, lambda: _print_inspected(found))


@app.command
def add(
    path: str,
    *,
    index: int | None = None,
    name: str | None = None,
    version: str | None = None,
    comment: str | None = None,
    kind: Kind | None = None,
    architecture: str | None = None,
    language: str | None = None,
    extract_folder: str | None = None,
    wait: Wait = True,
) -> None:
    r"""Add a WIM or ESD file as an image; the file itself is never changed.

    Of a solid (ESD) or pipable file an ordinary LZX WIM is made for the library; `wimsmith image
    inspect` says so beforehand.

    Args:
        path: Path of the file on the server, or `\\server\share\file.wim`.
        index: Extract this index into a new file beside the source, and add that one.
        name: Name of the image; the file name without `.wim` if not given.
        version: Version as your organisation counts it, any text.
        comment: Comment.
        kind: Whether it is from install media (default) or captured from a computer.
        architecture: Architecture for content caching; that of the index if not given.
        language: Language for content caching; that of the index if not given.
        extract_folder: Folder for the file that `--index` makes, instead of the source's.
        wait: End when the image is there; `--no-wait` ends when the work has begun.
    """
    body = {
        "path": server_path(path),
        "index": index,
        "name": name,
        "version": version,
        "comment": comment,
        "kind": kind,
        "architecture": architecture,
        "language": language,
        "extract_folder": server_path(extract_folder) if extract_folder else None,
    }
    with site() as one:
        job = _finish(one, one.post("/images", body), wait=wait)
        if wait and not options.json:
            _print_image(one.get(f"/images/{job['result']['package_id']}"))


@app.command(name="list")
def list_(
    text: str | None = None,
    *,
    kind: Kind | None = None,
    architecture: str | None = None,
    sort: str = "name",
) -> None:
    """List the images.

    Args:
        text: Only images with this text in their name, version or comment.
        kind: Only images of this kind.
        architecture: Only images of this architecture.
        sort: Field to sort by: name, package_id or created_at; `-name` for the other way.
    """
    with site() as one:
        rows = list(
            one.everything("/images", q=text, kind=kind, architecture=architecture, sort=sort)
        )
    columns = ("id", "name", "version", "indexes", "size", "architecture", "language", "status")
    show(rows, lambda: print_table(columns, (_image_cells(row) for row in rows)))


@app.command(name="show")
def show_(image: str) -> None:
    """Show one image with its indexes.

    Args:
        image: Package id or name.
    """
    with site() as one:
        row = one.get(f"/images/{part(image)}")
        indexes = one.get(f"/images/{part(image)}/indexes")["items"]
    if options.json:
        print_json(row | {"indexes": indexes})
        return
    _print_image(row)
    print_line()
    _print_indexes(indexes)


@app.command
def indexes(image: str, *, version: int | None = None) -> None:
    """List the indexes of an image.

    Args:
        image: Package id or name.
        version: Version number of the image; the current one if not given.
    """
    with site() as one:
        rows = one.get(f"/images/{part(image)}/indexes", version=version)["items"]
    show(rows, lambda: _print_indexes(rows))


@app.command
def updates(image: str, *, index: int | None = None) -> None:
    """Show what became of each update on each index, as last serviced.

    Args:
        image: Package id or name.
        index: Only this index.
    """
    with site() as one:
        rows = one.get(f"/images/{part(image)}/updates", index=index)["items"]
    show(rows, lambda: print_results(rows))


@app.command
def packages(
    image: str, *, index: int | None = None, version: int | None = None, text: str | None = None
) -> None:
    """List the packages installed in an image, those it came with and those added since.

    Args:
        image: Package id or name.
        index: Only this index.
        version: Version number of the image; the current one if not given.
        text: Only packages with this text in their identity.
    """
    with site() as one:
        path = f"/images/{part(image)}/packages"
        rows = list(one.everything(path, index=index, version=version, q=text))
    columns = ("index", "state", "type", "article", "source", "identity")
    show(
        rows,
        lambda: print_table(
            columns,
            (
                [
                    row["index"],
                    package_state(row["state"]),
                    row["release_type"],
                    row["article"],
                    row["source"],
                    row["identity"],
                ]
                for row in rows
            ),
        ),
    )


@app.command
def choices(image: str, *, text: str | None = None) -> None:
    """List the imported updates and what each would likely do on each index.

    Args:
        image: Package id or name.
        text: Only updates with this text in their title, article or identity.
    """
    with site() as one:
        rows = one.get(f"/images/{part(image)}/choices", q=text)["items"]
    cells = (
        [row["id"], row["article"], row["title"], likely["index"], likely["code"], likely["word"]]
        for row in rows
        for likely in row["indexes"]
    )
    columns = ("update", "article", "title", "index", "reason", "likely")
    show(rows, lambda: print_table(columns, cells))


@app.command
def versions(image: str) -> None:
    """List the versions of an image, newest first.

    Args:
        image: Package id or name.
    """
    with site() as one:
        rows = one.get(f"/images/{part(image)}/versions")["items"]
    columns = ("version", "current", "origin", "indexes", "size", "created", "by", "sha256")
    cells = (
        [
            row["number"],
            row["current"],
            row["origin"],
            row["index_count"],
            human_size(row["size_bytes"]),
            human_time(row["created_at"]),
            row["actor"],
            row["sha256"],
        ]
        for row in rows
    )
    show(rows, lambda: print_table(columns, cells))


@app.command
def lineage(image: str) -> None:
    """Show where an image came from and what happened to it, oldest first.

    Args:
        image: Package id or name.
    """
    with site() as one:
        rows = one.get(f"/images/{part(image)}/lineage")["items"]
    columns = ("at", "event", "version", "by", "sha256", "text")
    cells = (
        [
            human_time(row["at"]),
            row["kind"],
            row["version"],
            row["actor"],
            row["sha256"],
            row["text"],
        ]
        for row in rows
    )
    show(rows, lambda: print_table(columns, cells))


@app.command(name="set")
def set_(
    image: str,
    *,
    name: str | None = None,
    version: str | None = None,
    comment: str | None = None,
    kind: Kind | None = None,
    architecture: str | None = None,
    language: str | None = None,
    path: str | None = None,
) -> None:
    """Change properties of an image; what is not named stays as it is.

    Args:
        image: Package id or name.
        name: New name.
        version: New version text.
        comment: New comment.
        kind: New kind.
        architecture: New architecture.
        language: New language.
        path: New source file; `wimsmith image reload` reads it.
    """
    given = {
        "name": name,
        "version": version,
        "comment": comment,
        "kind": kind,
        "architecture": architecture,
        "language": language,
        "path": server_path(path) if path else None,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    with site() as one:
        before, revision = one.read(f"/images/{part(image)}")
        row = one.patch(f"/images/{before['package_id']}", changes, revision) if changes else before
    show(row, lambda: _print_image(row))


@app.command
def reload(image: str, *, wait: Wait = True) -> None:
    """Read the source file again; a changed file becomes a new version.

    Args:
        image: Package id or name.
        wait: End when it is done; `--no-wait` ends when the work has begun.
    """
    with site() as one:
        job = _finish(one, one.post(f"/images/{part(image)}/reload"), wait=wait)
    if wait and not options.json:
        result = job["result"]
        changed = f"version {result['version']}" if result["changed"] else "the source is unchanged"
        print_line(f"{image}: {changed}")


@app.command
def extract(
    image: str,
    *,
    index: int,
    folder: str | None = None,
    file_name: str | None = None,
    wait: Wait = True,
) -> None:
    """Extract one index into a new file; the image then points at that file.

    Args:
        image: Package id or name.
        index: Number of the index.
        folder: Folder for the new file, instead of the source's.
        file_name: Name of the new file.
        wait: End when it is done; `--no-wait` ends when the work has begun.
    """
    body = {
        "index": index,
        "folder": server_path(folder) if folder else None,
        "file_name": file_name,
    }
    with site() as one:
        job = _finish(one, one.post(f"/images/{part(image)}/extract", body), wait=wait)
    if wait and not options.json:
        print_line(job["result"]["path"])


@app.command
def export(
    image: str,
    path: str,
    *,
    version: int | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    wait: Wait = True,
) -> None:
    """Write a version of an image into a file.

    Args:
        image: Package id or name.
        path: Path of the new file on the server.
        version: Version number; the current one if not given.
        overwrite: Replace a file that is there.
        wait: End when it is done; `--no-wait` ends when the work has begun.
    """
    body = {"path": server_path(path), "version": version, "overwrite": overwrite}
    with site() as one:
        job = _finish(one, one.post(f"/images/{part(image)}/export", body), wait=wait)
    if wait and not options.json:
        result = job["result"]
        print_line(f"{result['path']}  {human_size(result['size_bytes'])}  {result['sha256']}")


@app.command
def rm(image: str) -> None:
    """Remove an image and its versions from the site; source files stay.

    Args:
        image: Package id or name.
    """
    with site() as one:
        one.delete(f"/images/{part(image)}")
    show({"removed": image}, lambda: print_line(f"removed {image}"))


def print_results(rows: Iterable[Row]) -> None:
    """Results of servicing: one line for each index and update."""
    columns = ("index", "article", "update", "reason", "result")
    cells = (
        [row["index"], row["article"], row["identity"], row["code"], result_text(row)]
        for row in rows
    )
    print_table(columns, cells)


def result_text(row: Row) -> str:
    """The word of a verdict, with its text unless the word says it already."""
    word, text = row["word"], row["text"] or ""
    return word if not text or text in word else f"{word}: {text}"


def _finish(one: Site, job: Row, *, wait: bool) -> Row:
    """Wait for a job if asked, and print it as JSON if asked."""
    if wait:
        job = one.wait(job)
    elif not options.json:
        note(f"note: job {job['id']} has begun; `wimsmith job watch {job['id']}` shows it")
    if options.json:
        print_json(job)
    return job


def _print_inspected(found: Row) -> None:
    print_facts(
        {
            "file": found["path"],
            "size": human_size(found["size_bytes"]),
            "compression": found["compression"],
            "converted": f"{found['conversion']}: an ordinary WIM is made of it"
            if found["conversion"]
            else "",
            "suggested name": found["suggested"]["name"],
        }
    )
    print_line()
    _print_indexes(found["indexes"])


def _print_image(row: Row) -> None:
    print_facts(
        {
            "image": row["package_id"],
            "name": row["name"],
            "version": row["version"],
            "comment": row["comment"],
            "kind": row["kind"],
            "architecture": row["architecture"],
            "language": row["language"],
            "source": row["source_path"],
            "current version": row["current_version"],
            "size": human_size(row["size_bytes"]),
            "sha256": row["sha256"],
            "indexes": row["index_count"],
            "next servicing": human_time(row["scheduled_at"]),
            "servicing": row["scheduled_status"],
            "changed": human_time(row["changed_at"]),
        }
    )


def _print_indexes(rows: Iterable[Row]) -> None:
    columns = ("index", "name", "build", "edition", "architecture", "languages", "size", "packages")
    cells = (
        [
            row["number"],
            row["name"],
            row["os_version"],
            row["edition"],
            row["architecture"],
            ", ".join(row["languages"] or ()),
            human_size(row["size_bytes"]),
            row.get("package_count"),
        ]
        for row in rows
    )
    print_table(columns, cells)


def _image_cells(row: Row) -> list[object]:
    return [
        row["package_id"],
        row["name"],
        row["current_version"],
        row["index_count"],
        human_size(row["size_bytes"]),
        row["architecture"],
        row["language"],
        row["scheduled_status"] or None,
    ]
