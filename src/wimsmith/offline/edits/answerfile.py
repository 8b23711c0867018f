r"""The answer file of an image: `Windows\Panther\unattend.xml`, where Setup looks for it.

Its secrets stay in it: no error and no report quotes what it holds.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from wimsmith.errors import DamagedManifest, InvalidInput, LimitExceeded, NotFound
from wimsmith.offline import paths
from wimsmith.offline.changes import ChangeSet, Content, PutFile, Times
from wimsmith.offline.edits.kinds import PlaceAnswerFile
from wimsmith.offline.image import ImageView
from wimsmith.offline.intake import file_written
from wimsmith.offline.manifests.xmlreader import local_name, namespace, parse_xml

ANSWER_FILE = "Windows/Panther/unattend.xml"
MAX_ANSWER_BYTES = 8 << 20
_NAMESPACE = "urn:schemas-microsoft-com:unattend"
_GOES_BEFORE = (
    "Windows/Panther/Unattend/unattend.xml",
    "Windows/Panther/Unattend/autounattend.xml",
)
_PASSES = frozenset(
    (
        "windowsPE",
        "offlineServicing",
        "generalize",
        "specialize",
        "auditSystem",
        "auditUser",
        "oobeSystem",
    )
)


def answer_file_changes(
    edit: PlaceAnswerFile, view: ImageView
) -> tuple[ChangeSet, tuple[str, ...]]:
    """The change that puts an answer file into an image, and what to know about it.

    A file that is there is replaced, and hands down its security.

    Raises:
        NotFound: there is no such file, or no Windows in the image.
        LimitExceeded: more than 8 MiB.
        InvalidInput: not well formed, or not an answer file.
    """
    if not view.exists(paths.parent(paths.parent(ANSWER_FILE))):
        raise NotFound("the folder Windows, which Setup would look in")
    data = _read(edit.source)
    remarks = (*_checked(data, edit.source), *_overruled_by(view))
    sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    written = file_written(edit.source)
    put = PutFile(ANSWER_FILE, sha1, times=Times(written, written, written))
    return ChangeSet((put,), content={sha1: Content(sha1, len(data), edit.source)}), remarks


def _overruled_by(view: ImageView) -> Iterator[str]:
    """What in the image Setup would take before the answer file."""
    for path in _GOES_BEFORE:
        if view.exists(path):
            yield f"Setup looks at {path} first, which the image has"
    value = view.hive("SYSTEM").value("Setup", "UnattendFile") if view.has_hive("SYSTEM") else None
    if value is not None and value.text():
        yield r"Setup looks first at the file that SYSTEM\Setup names as UnattendFile"


def _read(source: Path) -> bytes:
    if not source.is_file():
        raise NotFound(f"{source}")
    with source.open("rb") as file:
        data = file.read(MAX_ANSWER_BYTES + 1)
    if len(data) > MAX_ANSWER_BYTES:
        raise LimitExceeded(f"{source}: an answer file of more than {MAX_ANSWER_BYTES >> 20} MiB")
    return data


def _checked(data: bytes, source: Path) -> list[str]:
    try:
        root = parse_xml(data)
    except DamagedManifest as error:
        raise InvalidInput(f"{source} is no answer file: {error.args[0]}") from None
    if local_name(root) != "unattend" or namespace(root) != _NAMESPACE:
        raise InvalidInput(
            f"{source} is no answer file: its root is not unattend in {_NAMESPACE}",
            hint="Windows System Image Manager writes answer files.",
        )
    return _remarks([one for one in root if one.tag == f"{{{_NAMESPACE}}}settings"])


def _remarks(settings: list[Element]) -> list[str]:
    passes = [one.get("pass", "") for one in settings]
    remarks = []
    if not settings:
        remarks.append("the answer file has no settings")
    if unknown := sorted({one[:40] for one in passes} - _PASSES):
        remarks.append(f"Setup knows no pass {', '.join(map(repr, unknown))}")
    if "offlineServicing" in passes:
        remarks.append(
            "the pass offlineServicing is carried out by Setup when the image is installed: its"
            " packages, drivers and policies are not applied to the image now"
        )
    return remarks
