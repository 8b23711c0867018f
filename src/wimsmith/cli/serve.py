"""`wimsmith serve`: run the service in this process."""

import os

from wimsmith.cli.output import options
from wimsmith.config import load_config


def serve() -> None:
    """Run the service: API on a unix socket, jobs, schedules; until it is told to end.

    The state directory is that of `--state DIR`, else of WIMSMITH_STATE_DIR or the configuration.
    """
    from wimsmith.app import serve as serve_site  # noqa: PLC0415 - a mistyped command loads no server

    environment = dict(os.environ)
    if options.state is not None:
        environment["WIMSMITH_STATE_DIR"] = str(options.state)
    serve_site(load_config(environment=environment))
