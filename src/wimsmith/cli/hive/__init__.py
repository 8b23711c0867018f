"""`wimsmith hive`: registry hives on this machine and in WIM files, without a site."""

from cyclopts import App

from wimsmith.cli.helptext import flowing

_EPILOGUE = r"""
HIVE is a file, such as mnt/Windows/System32/config/SOFTWARE, or a hive in a WIM file:
WIM:INDEX:NAME, as in install.wim:1:SOFTWARE. NAME is SOFTWARE, SYSTEM, SAM, SECURITY,
COMPONENTS, DEFAULT, DRIVERS or NTUSER (the default user), or the path of a file in the image.
Transaction logs beside a hive (.LOG, .LOG1, .LOG2) are read where it needs them.

PATH is a key below the root of the hive: "Microsoft\Windows NT\CurrentVersion".

Every command takes --json (one JSON document on stdout) and --debug (traceback of errors).
"""

_DIFF = """Show what is different between two hives: + added, - removed, ~ changed.

Ends with exit code 0 if nothing is, 1 if something is."""
_EXPORT = """Write a key and all below it as a .reg file.

The file is as the Registry Editor writes it. Without a target the text goes to stdout, in UTF-8."""
_IMPORT = """Bring a .reg file into a hive: all of it, or nothing.

Nothing is changed if a line is not understood or a key is in another hive. The new hive is checked
before it gets its name."""

_COMMANDS = {
    "info": ("look:info", "Show what a hive says of itself."),
    "ls": ("look:ls", "List the subkeys of a key. `get` shows its values."),
    "get": ("look:get", "Show the values of a key, or one of them."),
    "diff": ("compare:diff", _DIFF),
    "export": ("text:export", _EXPORT),
    "import": ("text:import_", _IMPORT),
    "check": ("look:check", "Read all of a hive and check that it is consistent."),
}

app = App(
    name="hive",
    help="Registry hives on this machine and in WIM files (no site needed).",
    help_epilogue=flowing(_EPILOGUE),
    help_format="plaintext",
)
for _name, (_place, _text) in _COMMANDS.items():
    app.command(f"wimsmith.cli.hive.{_place}", name=_name, help=_text)
