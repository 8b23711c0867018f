"""`wimsmith job`: long work of the service."""

from typing import Literal

from cyclopts import App

from wimsmith.cli.client import Row, part, site
from wimsmith.cli.output import human_time, print_facts, print_line, print_table, show

app = App(name="job", help="Long work of the service.", help_format="plaintext")

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]


@app.command(name="list")
def list_(*, status: State | None = None, kind: str | None = None, last: int = 50) -> None:
    """List jobs, newest first.

    Args:
        status: Only jobs in this state.
        kind: Only jobs of this kind.
        last: How many at most.
    """
    with site() as one:
        rows = one.get("/jobs", state=status, kind=kind, limit=last)["items"]
    columns = ("job", "kind", "subject", "state", "done", "phase", "created", "error")
    cells = (
        [
            row["id"],
            row["kind"],
            row["subject"],
            row["state"],
            _share(row),
            row["phase"],
            human_time(row["created_at"]),
            row["error_code"],
        ]
        for row in rows
    )
    show(rows, lambda: print_table(columns, cells))


@app.command(name="show")
def show_(job: str) -> None:
    """Show one job.

    Args:
        job: Id of the job.
    """
    with site() as one:
        row = one.get(f"/jobs/{part(job)}")
    show(row, lambda: _print_job(row))


@app.command
def watch(job: str) -> None:
    """Follow a job to its end; the exit code is that of its error.

    Args:
        job: Id of the job.
    """
    with site() as one:
        row = one.wait(one.get(f"/jobs/{part(job)}"))
    show(row, lambda: _print_job(row))


@app.command
def cancel(job: str) -> None:
    """Ask a job to stop.

    Args:
        job: Id of the job.
    """
    with site() as one:
        row = one.post(f"/jobs/{part(job)}/cancel")
    show(row, lambda: print_line(f"job {row['id']} is asked to stop"))


def _share(row: Row) -> str | None:
    return None if row["fraction"] is None else f"{row['fraction']:.0%}"


def _print_job(row: Row) -> None:
    print_facts(
        {
            "job": row["id"],
            "kind": row["kind"],
            "subject": row["subject"],
            "state": row["state"],
            "phase": row["phase"] or None,
            "done": _share(row),
            "by": row["actor"],
            "created": human_time(row["created_at"]),
            "started": human_time(row["started_at"]),
            "ended": human_time(row["ended_at"]),
            "error": row["error_text"],
            "code": row["error_code"],
            "hint": row["error_hint"],
        }
    )
