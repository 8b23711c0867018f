"""`wimsmith wim`: WIM files on this machine, without a site."""

from cyclopts import App

app = App(name="wim", help="WIM files on this machine (no site needed).", help_format="plaintext")
for _place in (
    "look:info",
    "look:ls",
    "look:cat",
    "look:packages",
    "copy:export",
    "copy:extract",
    "copy:verify",
):
    app.command(f"wimsmith.cli.wim.{_place}", name=_place.partition(":")[2])
