"""`wimsmith updates`: update files on this machine, and the updates of a site."""

from cyclopts import App

_EPILOGUE = (
    "inspect, extract and verify need no site: they read files on this machine and change nothing. "
    "import, list and show talk to the site."
)

_INSPECT = """Tell what update files are: for which Windows, what they need, whether they can be
installed.

Updates that this program cannot install are described as well, with the reasons; their codes are
explained in docs/concepts/verdicts.md. With --json everything that is known is given, every
component and every file as well.

Example: wimsmith updates inspect *.msu

Ends with exit code 0 if all files are updates that could be read, whether they can be installed or
not."""
_EXTRACT = """Extract an update file into a new folder: manifests, catalogs, payload, deltas
expanded.

The folder appears when it is complete and on the disk. Every digest that the update states is
compared; `wimsmith updates verify` tells whether it comes from somebody trusted. An update with
several packages gets a folder for each, in the order in which they are installed."""
_VERIFY = """Prove an update file link by link: signatures, catalogs, manifests, and every file.

The links are: the signature of the file itself, if it has one; the signatures of the catalogs in
it; catalogs list the manifests; manifests state the digests of the files. Signatures count if they
lead to a root of Microsoft, or to one given with --root. Nothing is asked over the network, so
revoked certificates are not noticed.

Ends with exit code 0 only if every link holds and none was left out."""

_COMMANDS = {
    "inspect": ("inspect:inspect", _INSPECT),
    "extract": ("extract:extract", _EXTRACT),
    "verify": ("verify:verify", _VERIFY),
    "import": ("site:import_", "Import updates (.cab, .msu) into the content library."),
    "list": ("site:list_", "List the imported updates."),
    "show": (
        "site:show_",
        "Show one update: its identity, its parents, and why it is refused if it is.",
    ),
}


def _paragraphs(text: str) -> str:
    """Text whose lines are broken by the terminal alone."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


app = App(
    name="updates",
    help="Updates: look into files, prove them, bring them to the site.",
    help_epilogue=_EPILOGUE,
    help_format="plaintext",
)
for _name, (_place, _text) in _COMMANDS.items():
    app.command(f"wimsmith.cli.updates.{_place}", name=_name, help=_paragraphs(_text))
