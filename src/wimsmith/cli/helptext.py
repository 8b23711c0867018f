"""Help texts whose lines are broken by the terminal alone, without defaults that say nothing.

Docstrings are broken where the source is; on a terminal of another width that looks torn.
"""

from typing import TYPE_CHECKING, Any

from attrs import evolve
from cyclopts.help import DefaultFormatter, HelpPanel, InlineText

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions


def flowing(text: str) -> str:
    """Text with one line for each paragraph."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


_SELF_EVIDENT = frozenset(["False", "()", "[]", '""'])


class FlowingHelp(DefaultFormatter):
    """Shows help as usual, with the paragraphs of docstrings in one line each.

    That a switch is off and a list is empty if nobody gives it is not told.
    """

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: HelpPanel) -> None:
        entries = [
            evolve(entry, default=None) if entry.default in _SELF_EVIDENT else entry
            for entry in panel.entries
        ]
        for entry in entries:
            _flow(entry.description)
        super().__call__(console, options, evolve(panel, entries=entries))

    def render_description(
        self, console: "Console", options: "ConsoleOptions", description: Any
    ) -> None:
        _flow(description)
        super().render_description(console, options, description)


def _flow(description: object) -> None:
    from rich.text import Text  # noqa: PLC0415 - only help pays for it

    shown = description
    if isinstance(description, InlineText):
        shown = description.primary_renderable
    if isinstance(shown, Text):
        shown.plain = flowing(shown.plain)
