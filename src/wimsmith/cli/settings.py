"""`wimsmith settings`: what an administrator changes while the site runs."""

import json
from typing import Any

from cyclopts import App

from wimsmith.cli.client import part, site
from wimsmith.cli.output import print_line, print_table, show

app = App(name="settings", help="Settings of the site.", help_format="plaintext")


@app.command(name="show")
def show_(name: str | None = None) -> None:
    """Show the settings, or one of them.

    Args:
        name: Only this setting.
    """
    with site() as one:
        path = "/settings" if name is None else f"/settings/{part(name)}"
        answer = one.get(path)
    rows = answer["items"] if name is None else [answer]
    cells = ([row["name"], _text(row["value"]), _text(row["default"]), row["text"]] for row in rows)
    columns = ("name", "value", "default", "meaning")
    show(answer, lambda: print_table(columns, cells))


@app.command(name="set")
def set_(name: str, value: str) -> None:
    """Change one setting.

    Args:
        name: Name of the setting.
        value: New value: `on` or `off`, text, or JSON for lists and tables.
    """
    with site() as one:
        row = one.put(f"/settings/{part(name)}", {"value": parse_value(value)})
    show(row, lambda: print_line(f"{row['name']} = {_text(row['value'])}"))


def parse_value(text: str) -> Any:
    """The value a user meant: on/off/yes/no are switches, JSON is JSON, the rest is text."""
    switch = {"on": True, "yes": True, "off": False, "no": False}.get(text.lower())
    if switch is not None:
        return switch
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else json.dumps(value)
