"""What every use case may need of the site it runs in."""

from dataclasses import dataclass

from wimsmith.config import Config
from wimsmith.db.engine import Database
from wimsmith.jobs.runner import Jobs
from wimsmith.storage.folder import FolderStore


@dataclass(frozen=True, slots=True)
class Site:
    """One site: its bootstrap settings, its database, its content library, its jobs."""

    config: Config
    database: Database
    store: FolderStore
    jobs: Jobs
