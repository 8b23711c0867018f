"""Commands on the updates of a site."""

from wimsmith.cli.client import Row, part, server_path, site
from wimsmith.cli.output import (
    human_size,
    options,
    print_facts,
    print_json,
    print_line,
    print_table,
    show,
)


def import_(path: str) -> None:
    """Import updates (.cab, .msu) into the content library.

    Args:
        path: An update file, or a folder with some, on the server.
    """
    with site() as one:
        job = one.wait(one.post("/updates/import", {"path": server_path(path)}))
        result = job["result"]
        if options.json:
            print_json(job)
            return
        numbers = (*result["imported"], *result["known"])
        rows = [one.get(f"/updates/{part(number)}") for number in numbers]
    _print_updates(rows)
    for refused in result["refused"]:
        print_line(f"refused: {refused['file']}: {refused['text']} ({refused['code']})")


def list_(
    text: str | None = None, *, architecture: str | None = None, sort: str = "article"
) -> None:
    """List the imported updates.

    Args:
        text: Only updates with this text in their title, article or identity.
        architecture: Only updates for this architecture.
        sort: Field to sort by: article, title or imported_at; `-article` for the other way.
    """
    with site() as one:
        rows = list(one.everything("/updates", q=text, architecture=architecture, sort=sort))
    show(rows, lambda: _print_updates(rows))


def show_(update: str) -> None:
    """Show one update: its identity, its parents, and why it is refused if it is.

    Args:
        update: Number, identity, or article such as KB5000001.
    """
    with site() as one:
        row = one.get(f"/updates/{part(update)}")
    show(row, lambda: _print_update(row))


def _print_updates(rows: list[Row]) -> None:
    columns = ("id", "article", "architecture", "type", "state", "size", "title")
    cells = (
        [
            row["id"],
            row["article"],
            row["architecture"],
            row["release_type"],
            f"{row['state']} ({row['reason_code']})" if row["reason_code"] else row["state"],
            human_size(row["size_bytes"]),
            row["title"] or row["file_name"],
        ]
        for row in rows
    )
    print_table(columns, cells)


def _print_update(row: Row) -> None:
    names = ("identity", "article", "title", "kind", "release_type", "architecture", "language")
    print_facts(
        {name.replace("_", " "): row[name] for name in names}
        | {
            "size": human_size(row["size_bytes"]),
            "sha256": row["sha256"],
            "file": row["source_path"],
            "state": row["state"],
            "leads to": row["leads_to"],
            "made against": row["needs_build"],
            "brings stack": ", ".join(row["servicing_stacks"]),
            "branches": ", ".join(one.upper() for one in row["branches"]),
            "would need": row["needed"],
        }
    )
    for parents in row["parents"]:
        print_line(f"needs: {' or '.join(parents)}")
    for finding in row["findings"]:
        print_line(f"{finding['code']}: {finding['text']}")
    for finding in row["conditions"]:
        print_line(f"in some images {finding['code']}: {finding['text']}")
    for place, one in enumerate(row["parts"], 1):
        reasons = ", ".join(finding["code"] for finding in one["findings"]) or "can be read"
        print_line(f"package {place}: {one['name']}: {one['identity'] or 'unknown'} ({reasons})")
