"""`wimsmith service`: schedule updates onto images, and see what became of them."""

from datetime import datetime
from typing import Annotated, Literal

from cyclopts import App, Parameter

from wimsmith.cli.client import Row, Site, part, site
from wimsmith.cli.image import print_results
from wimsmith.cli.output import (
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
GOOD_OUTCOMES = frozenset({"applied", "installed", "superseded", "not-applicable"})


@app.command
def schedule(
    image: str,
    *,
    update: Annotated[list[str], Parameter(negative="")],
    now: Switch = False,
    at: datetime | None = None,
    utc: Switch = False,
    continue_on_error: Switch = False,
    name: str | None = None,
    description: str | None = None,
    update_dps: Switch = False,
    remove_superseded: Switch = False,
    wait: Annotated[bool, Parameter(negative="--no-wait")] = True,
) -> None:
    """Schedule updates onto every index of an image, now or once at a given time.

    Args:
        image: Package id or name.
        update: Number, identity or article of an update; may be given several times.
        now: Run as soon as possible.
        at: Run at this time, for example 2026-12-08T22:00; the server's local time without --utc.
        utc: The time of --at is UTC.
        continue_on_error: Go on with the other updates when one fails, and publish what worked.
        name: Name of the schedule.
        description: Description of the schedule.
        update_dps: Update distribution points afterwards.
        remove_superseded: Remove superseded updates afterwards; single-index images only.
        wait: With --now: end when the run has ended; `--no-wait` ends when it has begun.
    """
    if now == (at is not None):
        raise InvalidInput("give either --now or --at TIME")
    body = {
        "image": image,
        "updates": update,
        "run_now": now or None,
        "run_at": at.isoformat() if at else None,
        "utc": utc or None,
        "continue_on_error": continue_on_error,
        "name": name,
        "description": description,
        "update_distribution_points": update_dps or None,
        "remove_superseded": remove_superseded or None,
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
    left_out = [row for row in run["results"] if row["outcome"] not in GOOD_OUTCOMES]
    if not left_out:
        return
    applied = any(row["outcome"] == "applied" for row in run["results"])
    kind = PartlyApplied if applied else NothingApplied
    first = left_out[0]
    about = f"index {first['index']}, {first['article'] or first['identity']}"
    reason = f" ({first['code']})" if first["code"] else ""
    raise kind(f"{about}: {first['word']}{reason}")


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
            "updates": ", ".join(one["article"] or one["identity"] for one in row["updates"]),
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
    print_line()
    print_results(run["results"])
