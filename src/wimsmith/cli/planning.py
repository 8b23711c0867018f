"""`wimsmith service plan`, `exclude`, `exclusions` and `include`: what a run would do, and not do.

`wimsmith service` has these commands among its own.
"""

from typing import Annotated

from cyclopts import Parameter

from wimsmith.cli.client import Row, site
from wimsmith.cli.output import human_time, print_line, print_table, show

Names = Annotated[list[str], Parameter(negative="")]


def plan(image: str, *, update: Names) -> None:
    """Show in which order updates would be applied to an image, and what would become of each.

    Nothing is applied. Every reason is listed, the one that decides first. The site judges from
    what it keeps of the image and of the updates; a run judges again with the files themselves.

    Args:
        image: Package id or name.
        update: Number, identity or article of an update; may be given several times.
    """
    with site() as one:
        answer = one.post("/servicing/plan", {"image": image, "updates": update})
    rows = answer["items"]
    cells = (
        [
            row["index"],
            row["place"],
            row["article"] or row["identity"],
            row["word"],
            "; ".join(_reason(one, row["word"]) for one in row["findings"]) or row["text"],
        ]
        for row in rows
    )
    columns = ("index", "place", "update", "likely", "reasons")
    show(answer, lambda: print_table(columns, cells))


def _reason(finding: Row, word: str) -> str:
    """A finding, without its text if the word of the verdict says it already."""
    code, text = finding["code"], finding["text"]
    return str(code) if text in word else f"{code}: {text}"


def exclude(subject: str, *, reason: str, image: str | None = None) -> None:
    """Exclude an update: runs leave it alone, whether it was chosen or not.

    Args:
        subject: Article such as KB5005033, or package: name~token~architecture~language~version,
            without the version for all versions.
        reason: Why, for those who come later.
        image: Package id or name of the only image that it is excluded from; otherwise all.
    """
    with site() as one:
        body = {"subject": subject, "reason": reason, "image": image}
        row = one.post("/servicing/exclusions", body)
    where = row["image"] or "all images"
    show(row, lambda: print_line(f"exclusion {row['id']}: {row['subject']} from {where}"))


def exclusions(*, image: str | None = None) -> None:
    """List excluded updates with who excluded them, when and why.

    Args:
        image: Only those that this image falls under.
    """
    with site() as one:
        answer = one.get("/servicing/exclusions", image=image)
    cells = (
        [
            row["id"],
            row["subject"],
            row["image"] or "all",
            human_time(row["created_at"]),
            row["actor"],
            row["reason"],
        ]
        for row in answer["items"]
    )
    columns = ("exclusion", "update", "image", "since", "by", "reason")
    show(answer, lambda: print_table(columns, cells))


def include(exclusion: int) -> None:
    """Remove an exclusion, so that the update can be applied again.

    Args:
        exclusion: Number of the exclusion.
    """
    with site() as one:
        one.delete(f"/servicing/exclusions/{exclusion}")
    show({"removed": exclusion}, lambda: print_line(f"removed exclusion {exclusion}"))
