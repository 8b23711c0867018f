"""Bootstrap settings: what must be known before the site database can be opened.

Everything an administrator changes while the site runs is a site setting in the database
(`site.settings`). Sources, the later wins: defaults, one TOML file, environment. Importing this
module loads nothing heavy, so the command line uses it to find the socket.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from wimsmith.errors import InvalidInput

SYSTEM_STATE = Path("/var/lib/wimsmith")
SYSTEM_CONFIG = Path("/etc/wimsmith/wimsmith.toml")


@dataclass(frozen=True, slots=True)
class Config:
    """Where the site keeps its things, and how this process takes part."""

    state_dir: Path
    logs_dir: Path
    database_url: str
    listen: str = ""
    workers: int = 2
    scheduler_interval_s: float = 20.0
    job_poll_s: float = 0.5

    @property
    def socket_path(self) -> Path:
        """The unix socket of the service, in a directory that only its group may enter."""
        return self.state_dir / "run" / "wimsmith.sock"

    @property
    def content_dir(self) -> Path:
        return self.state_dir / "content"

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def jobs_database_url(self) -> str:
        """Database of the job engine: a file of its own, or a schema beside ours."""
        if self.is_sqlite:
            return f"sqlite:///{self.state_dir / 'jobs.sqlite'}"
        return self.database_url


def load_config(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """Read the bootstrap settings.

    Args:
        path: The TOML file; None takes `WIMSMITH_CONFIG`, else /etc/wimsmith/wimsmith.toml if it
            is there.
        environment: `WIMSMITH_STATE_DIR`, `WIMSMITH_LOGS_DIR`, `WIMSMITH_DATABASE_URL` and so on:
            one variable for each field of `Config`.

    Raises:
        InvalidInput: the file cannot be read, or names a setting that does not exist.
    """
    variables = os.environ if environment is None else environment
    values = _from_file(path, variables) | _from_environment(variables)
    state_dir = Path(values.pop("state_dir", "") or _default_state()).absolute()
    config = Config(
        state_dir=state_dir,
        logs_dir=Path(values.pop("logs_dir", state_dir / "logs")).absolute(),
        database_url=values.pop("database_url", "") or f"sqlite:///{state_dir / 'site.sqlite'}",
    )
    return _typed(config, values)


def _default_state() -> Path:
    if os.geteuid() == 0 or SYSTEM_STATE.is_dir():
        return SYSTEM_STATE
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "wimsmith"


def _from_file(path: Path | None, variables: Mapping[str, str]) -> dict[str, str]:
    named = path or (Path(variables["WIMSMITH_CONFIG"]) if "WIMSMITH_CONFIG" in variables else None)
    source = named or SYSTEM_CONFIG
    if named is None and not source.is_file():
        return {}
    try:
        document = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{source}: {error}") from error
    unknown = sorted(set(document) - _names())
    if unknown:
        known = ", ".join(sorted(_names()))
        raise InvalidInput(f"{source}: unknown setting {unknown[0]}", hint=f"Known: {known}.")
    return {name: str(value) for name, value in document.items()}


def _from_environment(variables: Mapping[str, str]) -> dict[str, str]:
    prefixed = {name: f"WIMSMITH_{name.upper()}" for name in _names()}
    return {name: variables[key] for name, key in prefixed.items() if variables.get(key)}


def _typed(config: Config, values: Mapping[str, str]) -> Config:
    kinds = {item.name: type(getattr(config, item.name)) for item in fields(Config)}
    try:
        return replace(config, **{name: kinds[name](text) for name, text in values.items()})
    except ValueError as error:
        raise InvalidInput(f"bootstrap settings: {error}") from error


def _names() -> set[str]:
    return {item.name for item in fields(Config)}
