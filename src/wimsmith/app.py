"""Wires everything together: the only place that knows all rooms of the house."""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from wimsmith import logs
from wimsmith.api.app import build_api
from wimsmith.api.peers import UnixProtocol
from wimsmith.config import Config
from wimsmith.db import migrate
from wimsmith.db.engine import Database
from wimsmith.db.lock import state_lock
from wimsmith.errors import InvalidInput, TcpNeedsAuthentication
from wimsmith.images import jobs as image_jobs
from wimsmith.jobs import ledger
from wimsmith.jobs.engine_dbos import DbosEngine
from wimsmith.jobs.port import Engine
from wimsmith.jobs.runner import Jobs
from wimsmith.jobs.scheduler import Scheduler
from wimsmith.servicing import jobs as servicing_jobs
from wimsmith.servicing import service as servicing
from wimsmith.servicing import workspace
from wimsmith.site import settings
from wimsmith.site.context import Site
from wimsmith.site.drive import resolve_drive
from wimsmith.storage import library
from wimsmith.storage.folder import FolderStore
from wimsmith.updates import jobs as update_jobs

log = logging.getLogger("wimsmith")

STOP_TIMEOUT_S = 20.0
_ROOMS = (image_jobs, update_jobs, servicing_jobs)
_STREAMS_TIMEOUT_S = 2


def build_site(config: Config, engine: Engine) -> Site:
    """Open the site of a configuration: database at its newest schema, library, kinds of jobs.

    Raises:
        DatabaseUnusable: the database cannot be opened or migrated.
        OSError: the state directory cannot be written.
    """
    config.state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    database = Database(config.database_url)
    migrate.upgrade(database)
    site = Site(config, database, FolderStore(config.content_dir), Jobs(database, engine))
    for room in _ROOMS:
        site.jobs.register(*room.kinds(site))
    return site


def job_steps() -> dict[str, tuple[str, ...]]:
    """Names of the steps of every kind of job, in order: the places where a job can be killed."""
    steps = {kind: steps for room in _ROOMS for kind, steps in room.STEPS.items()}
    return {kind: tuple(step.name for step in found) for kind, found in steps.items()}


def serve(config: Config) -> None:
    """Run the service until SIGTERM or SIGINT.

    Raises:
        TcpNeedsAuthentication: a network port is asked for.
        StateInUse: another process runs this site.
    """
    if config.listen:
        raise TcpNeedsAuthentication(config.listen)
    config.state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    with state_lock(config.state_dir), contextlib.closing(_Logs(config.logs_dir)):
        engine = DbosEngine(
            config.jobs_database_url, workers=config.workers, poll_s=config.job_poll_s
        )
        site = build_site(config, engine)
        with _listening(config.socket_path) as listener, _working(site):
            _answer(site, listener)


def sweep_site(site: Site) -> None:
    """Remove what an interrupted process left: half-copied content, workspaces of ended jobs."""
    site.store.sweep_incoming()
    with site.database.read() as session:
        drive = resolve_drive(
            settings.get(session, settings.SERVICING_DRIVE), site.config.state_dir
        )
        unfinished = {row.id for row in ledger.unfinished(session)}
        alive = {f"{kind}-{number}" for kind in ("import", "convert") for number in unfinished}
        alive |= {str(number) for number in servicing.unfinished_runs(session, unfinished)}
    for name in workspace.sweep(drive.folder, alive):
        log.info("Removed the workspace %s, which no run uses", name)
    library.sweep(site.database, site.store)


class _Logs:
    """The log files, open until closed."""

    def __init__(self, folder: Path) -> None:
        self.close = logs.configure(folder)


@contextmanager
def _working(site: Site) -> Iterator[None]:
    """Jobs and schedules run inside. On leaving, jobs are interrupted and go on another time."""
    sweep_site(site)
    site.jobs.start()
    tasks = (site.jobs.sweep, lambda: servicing.start_due(site))
    scheduler = Scheduler(tasks, site.config.scheduler_interval_s)
    scheduler.start()
    log.info("The site %s is open", site.config.state_dir)
    try:
        yield
    finally:
        scheduler.stop()
        ended = site.jobs.stop(STOP_TIMEOUT_S)
        site.database.close()
        log.info("The site %s is closed", site.config.state_dir)
        if not ended:
            log.warning(
                "A job did not let go in %.0f s; it goes on at the next start", STOP_TIMEOUT_S
            )
            os._exit(0)  # its thread would keep the process; what it does is lost on purpose


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A unix socket that only the owner and the group of its directory reach."""
    path.parent.mkdir(mode=0o750, exist_ok=True)
    path.parent.chmod(0o750)
    path.unlink(missing_ok=True)  # the state lock says that nobody else listens
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o660)
        yield listener
    except OSError as error:
        if path.exists():
            raise
        hint = "A unix socket needs a path below 108 bytes; use a shorter state directory."
        raise InvalidInput(f"{path}: {error}", hint=hint) from error
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def _answer(site: Site, listener: socket.socket) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises them again when it has stopped
    config = uvicorn.Config(
        build_api(site),
        http=UnixProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_STREAMS_TIMEOUT_S,
    )
    uvicorn.Server(config).run(sockets=[listener])
