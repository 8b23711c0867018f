"""Entry of the command line: global flags, the tree of commands, exit codes.

Commands are named, not imported: `wimsmith --help` loads none of them.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter

from wimsmith import __version__
from wimsmith.cli.helptext import FlowingHelp
from wimsmith.cli.output import fail, note, options

USAGE_EXIT = 2
INTERRUPTED_EXIT = 130
BROKEN_PIPE_EXIT = 141
TERMINATED_EXIT = 143
_COLLECTION_THRESHOLDS = 100_000, 20, 50

_EPILOGUE = (
    "Every command takes --json (one JSON document on stdout), --debug (traceback of errors) and "
    "--state DIR (state directory of the site, else WIMSMITH_STATE_DIR)."
)
_SITE_NOUNS = {
    "image": "OS images: add, inspect, list, versions, extract, export",
    "updates": "Updates: inspect, extract, verify files (no site needed); import, list, show",
    "service": "Servicing: plan and schedule updates onto images, exclude, watch, cancel",
    "job": "Long work: list, show, watch, cancel",
    "settings": "Settings of the site",
}
_FILE_NOUNS = {
    "wim": "WIM files: look, check, service, edit, compare, capture, apply (no site needed)",
    "hive": "Registry hives: ls, get, diff, export, import (no site needed)",
    "practice": "Generate Windows-like images and updates to practise on (no site needed)",
}


def build() -> App:
    """The tree of commands."""
    app = App(
        name="wimsmith",
        help="Manage, service and deploy Windows images from Linux.",
        help_epilogue=_EPILOGUE,
        help_format="plaintext",
        help_formatter=FlowingHelp(),
        version=__version__,
    )
    app.meta.help_format = "plaintext"
    app.command("wimsmith.cli.serve:serve", name="serve", help="Run the service.")
    for noun, text in (_SITE_NOUNS | _FILE_NOUNS).items():
        app.command(f"wimsmith.cli.{noun}:app", name=noun, help=text)
    app.meta.default(_launcher(app))
    return app


def main(tokens: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    # The tree of an image is some 100,000 objects that live long: to look for rubbish among them
    # after every 700 new ones, as Python does, takes half of the time of reading it.
    gc.set_threshold(*_COLLECTION_THRESHOLDS)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, _end)
    sys.exit(run(list(sys.argv[1:] if tokens is None else tokens)))


def _end(number: int, _frame: FrameType | None) -> None:
    """Let a command that is told to end clean up as after Ctrl-C."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def run(tokens: list[str]) -> int:
    """Run one command; return its exit code, 0 when all went well."""
    try:
        result = build().meta(
            tokens, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        note(f"error: {_usage_text(error)}")
        note(f"hint: `{' '.join(['wimsmith', *(error.command_chain or ())])} --help` tells how.")
        return USAGE_EXIT
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE_EXIT
    except Exception as error:  # noqa: BLE001 - the last place that can tell the user
        return fail(error)
    return result if isinstance(result, int) else 0


def _usage_text(error: CycloptsError) -> str:
    """What is wrong with the words of a command."""
    if type(error) is MissingArgumentError and error.argument and not error.argument.tokens:
        names = [name.upper().lstrip("-") for name in error.argument.names[:1]]
        if names and error.argument.field_info.is_positional:
            return f"{names[0]} is missing"
    return str(error)


def _launcher(app: App) -> Callable[..., Any]:
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        json: Annotated[bool, Parameter(negative="", show=False)] = False,
        debug: Annotated[bool, Parameter(negative="", show=False)] = False,
        state: Annotated[Path | None, Parameter(show=False)] = None,
    ) -> Any:
        options.json, options.debug, options.state = json, debug, state
        return app(tokens, exit_on_error=False, print_error=False, result_action="return_value")

    return launch
