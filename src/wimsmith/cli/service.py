"""`wimsmith service`: schedule updates onto images, and see what became of them."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from wimsmith.cli.client import Row, Site, part, site
from wimsmith.cli.image import print_results, result_text
from wimsmith.cli.output import (
    counted,
    human_time,
    options,
    print_facts,
    print_json,
    print_line,
    print_table,
    show,
)
from wimsmith.errors import InvalidInput, NothingApplied, PartlyApplied

app = App(name="service", help="Apply updates to images.", help_format="plaintext")

State = Literal["Scheduled", "Running", "Succeeded", "Failed"]
Switch = Annotated[bool, Parameter(negative="")]
Names = Annotated[list[str], Parameter(negative="")]
_PLANNING = {
    "plan": "Show in which order updates would go onto an image, and what would become of each.",
    "exclude": "Exclude an update from one image or from all: runs leave it alone.",
    "exclusions": "List excluded updates with who excluded them, when and why.",
    "include": "Remove an exclusion, so that the update can be applied again.",
}
for _name, _text in _PLANNING.items():
    app.command(f"wimsmith.cli.planning:{_name}", name=_name, help=_text)
GOOD_OUTCOMES = frozenset({"applied", "installed", "superseded", "not-applicable"})


@app.command
def schedule(
    image: str,
    *,
    update: Names | None = None,
    remove: Names | None = None,
    enable_feature: Names | None = None,
    disable_feature: Names | None = None,
    edits: Path | None = None,
    edit_sources: str | None = None,
    now: Switch = False,
    at: datetime | None = None,
    utc: Switch = False,
    continue_on_error: Switch = False,
    name: str | None = None,
    description: str | None = None,
    remove_superseded: Switch = False,
    allow_not_generalised: Switch = False,
    update_dps: Switch = False,
    wait: Annotated[bool, Parameter(negative="--no-wait")] = True,
) -> None:
    """Schedule updates onto every index of an image, now or once at a given time.

    Packages are removed first, then updates are added and features switched. With
    --remove-superseded the component store is cleaned up after that, with its base reset, and the
    image is exported to drop what it does not need any more; if the clean-up fails, nothing is
    committed.

    Args:
        image: Package id or name.
        update: Number, identity or article of an update; may be given several times.
        remove: Identity or KB number of an installed package to remove; may be repeated.
        enable_feature: Name of a feature to switch on; may be repeated.
        disable_feature: Name of a feature to switch off; may be repeated.
        edits: JSON file with a list of edits, as docs/guides/editing-images.md has them.
        edit_sources: Folder on the server with the files of the edits.
        now: Run as soon as possible.
        at: Run at this time, for example 2026-12-08T22:00; the server's local time without --utc.
        utc: The time of --at is UTC.
        continue_on_error: Go on with the other updates when one fails, and publish what worked.
        name: Name of the schedule.
        description: Description of the schedule.
        remove_superseded: Remove superseded updates afterwards; single-index images only.
        allow_not_generalised: Accept an image that was not generalised with Sysprep.
        update_dps: Update distribution points afterwards.
        wait: With --now: end when the run has ended; `--no-wait` ends when it has begun.
    """
    if now == (at is not None):
        raise InvalidInput("give either --now or --at TIME")
    body = {
        "image": image,
        "updates": update or [],
        "remove": remove or [],
        "enable_features": enable_feature or [],
        "disable_features": disable_feature or [],
        "edits": _edits(edits),
        "edit_sources": edit_sources,
        "run_now": now or None,
        "run_at": at.isoformat() if at else None,
        "utc": utc or None,
        "continue_on_error": continue_on_error,
        "name": name,
        "description": description,
        "remove_superseded": remove_superseded,
        "allow_not_generalised": allow_not_generalised,
        "update_distribution_points": update_dps or None,
    }
    with site() as one:
        row = one.post("/servicing/schedules", body)
        if now and wait:
            _wait_for_run(one, row)
        else:
            show(row, lambda: _print_schedule(row))


@app.command(name="show")
def show_(schedule: str) -> None:
    """Show a schedule and the results of its run.

    Args:
        schedule: Number of the schedule, or package id or name of an image for its latest.
    """
    with site() as one:
        row = one.get(f"/servicing/schedules/{part(schedule)}")
        if row["run"]:
            row["run"] = one.get(f"/servicing/runs/{row['run']['id']}")
    if options.json:
        print_json(row)
        return
    _print_schedule(row)
    if row["run"]:
        _print_run(row["run"])


@app.command(name="list")
def list_(*, image: str | None = None, status: State | None = None) -> None:
    """List the schedules.

    Args:
        image: Only those of this image.
        status: Only those in this state.
    """
    with site() as one:
        rows = list(one.everything("/servicing/schedules", image=image, state=status))
    columns = ("schedule", "image", "name", "run at", "status", "updates")
    cells = (
        [
            row["id"],
            f"{row['image']} {row['image_name']}",
            row["name"] or None,
            "as soon as possible" if row["run_now"] else human_time(row["run_at"]),
            row["status"],
            " ".join(one["article"] or one["identity"] for one in row["updates"]),
        ]
        for row in rows
    )
    show(rows, lambda: print_table(columns, cells))


@app.command
def cancel(schedule: str) -> None:
    """Cancel a run that is in process; nothing of it is published.

    Args:
        schedule: Number of the schedule, or package id or name of an image for its latest.
    """
    with site() as one:
        job = one.post(f"/servicing/schedules/{part(schedule)}/cancel")
    show(job, lambda: print_line(f"job {job['id']} is asked to stop"))


@app.command
def clear(schedule: str) -> None:
    """Remove a schedule that has not run yet.

    Args:
        schedule: Number of the schedule, or package id or name of an image for its latest.
    """
    with site() as one:
        one.delete(f"/servicing/schedules/{part(schedule)}")
    show({"cleared": schedule}, lambda: print_line(f"cleared {schedule}"))


def judge(run: Row) -> None:
    """Raise unless every update is in the image or has no business there.

    Raises:
        NothingApplied: no update was applied, and at least one should have been.
        PartlyApplied: some were applied, and at least one more should have been.
    """
    rows = [*run["results"], *run["actions"]]
    left_out = [
        row for row in rows if row["outcome"] not in GOOD_OUTCOMES and row["code"] != "excluded"
    ]
    if not left_out:
        return
    applied = any(row["outcome"] == "applied" for row in rows)
    kind = PartlyApplied if applied else NothingApplied
    first = left_out[0]
    about = f"index {first['index']}, {_subject(first)}"
    reason = f" ({first['code']})" if first["code"] else ""
    raise kind(f"{about}: {first['word']}{reason}")


def _edits(path: Path | None) -> list[Row]:
    """The edits in a file of this machine."""
    if path is None:
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path} is no JSON document: {error}") from None
    if not isinstance(rows, list):
        raise InvalidInput(f"{path} holds no list of edits")
    return rows


def _subject(row: Row) -> str:
    """What a row of a run is about: an update, a package or a feature."""
    return str(row.get("subject") or row["article"] or row["identity"])


def _wait_for_run(one: Site, row: Row) -> None:
    one.wait(one.get(f"/jobs/{row['run']['job']}"))
    run = one.get(f"/servicing/runs/{row['run']['id']}")
    show(run, lambda: _print_run(run))
    judge(run)


def _print_schedule(row: Row) -> None:
    print_facts(
        {
            "schedule": row["id"],
            "image": f"{row['image']} {row['image_name']}",
            "name": row["name"] or None,
            "run at": "as soon as possible" if row["run_now"] else human_time(row["run_at"]),
            "continue on error": row["continue_on_error"],
            "state": row["state"],
            "status": row["status"],
            "remove superseded": row["remove_superseded"],
            "updates": ", ".join(one["article"] or one["identity"] for one in row["updates"]),
            "also": ", ".join(f"{one['kind']} {one['subject']}" for one in row["actions"]),
        }
    )


def _print_run(run: Row) -> None:
    print_line()
    print_facts(
        {
            "run": run["id"],
            "status": run["status"],
            "image version": f"{run['base_version']} -> {run['result_version'] or 'none'}",
            "started": human_time(run["started_at"]),
            "ended": human_time(run["ended_at"]),
            "text": run["text"] or None,
            "error": run["error_text"],
        }
    )
    for gate in run["gate"]:
        _print_gate(gate)
    if run["clean_up"]:
        _print_clean_up(run["clean_up"])
    print_line()
    print_results(run["results"])
    if run["actions"]:
        print_line()
        columns = ("index", "what", "name", "reason", "result")
        names = ("index", "kind", "subject", "code")
        cells = ([*(row[name] for name in names), result_text(row)] for row in run["actions"])
        print_table(columns, cells)


def _print_gate(gate: Row) -> None:
    """Whether an index could be serviced."""
    for finding in gate["findings"]:
        text = f"{finding['text']} ({finding['code']})"
        print_line(f"index {gate['index']} is not serviced: {text}")
    if not gate["findings"]:
        count = counted(len(gate["rules"]), "rule")
        print_line(f"index {gate['index']} can be serviced: none of {count} stands against it")


def _print_clean_up(cleaned: Row) -> None:
    print_line(f"clean-up: {cleaned['text']}")
    for warning in cleaned["warnings"]:
        print_line(f"warning: {warning}")
    if cleaned["after_bytes"] is not None:
        print_line(
            f"size: {cleaned['before_bytes']} bytes before, {cleaned['committed_bytes']} committed,"
            f" {cleaned['after_bytes']} exported; {cleaned['freed_bytes']} bytes freed"
        )
