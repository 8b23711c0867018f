"""What is kept of indexes and updates, as planning takes it."""

import re
from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from wimsmith.errors import DamagedManifest, UnreadableFacts
from wimsmith.images import service as images
from wimsmith.images.models import ImageIndex, ImageVersion
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version, parse_package_name
from wimsmith.offline.manifests.package import PackageManifest
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.snapshot import Snapshot, unpack
from wimsmith.offline.planning.state import Image as PlannedImage
from wimsmith.offline.verdicts import Finding, Verdict
from wimsmith.servicing.preview import Candidate, IndexState
from wimsmith.updates.descriptions import Kept, descriptions
from wimsmith.updates.models import Update

_OLD_INDEX = "it was read by an earlier version of Wimsmith: reload the image"
_NO_STORE = "its component store could not be read when the image was added"
_OLD_UPDATE = "it was imported by an earlier version of Wimsmith: import the file again"
_NO_PACKAGE = "its file does not say which packages it holds"
_VERSION = re.compile(r"(\d{1,5})\.(\d{1,5})(?:\..*)?", re.ASCII)


def index_states(session: Session, version: ImageVersion) -> list[IndexState]:
    """States of the indexes of a version, as far as they are kept."""
    packed = images.snapshots(session, version)
    return [_index_state(index, packed.get(index.number)) for index in version.indexes]


def candidates(session: Session, updates: Sequence[Update]) -> list[Candidate]:
    """Updates as planning sees them."""
    known = descriptions(session, [one.id for one in updates])
    return [_candidate(one, known) for one in updates]


def _index_state(index: ImageIndex, packed: bytes | None) -> IndexState:
    snapshot, doubt = None, _OLD_INDEX if packed is None else _NO_STORE
    if packed:
        try:
            snapshot = Snapshot.from_data(unpack(packed))
        except UnreadableFacts as error:
            doubt = str(error)
    image = snapshot.image if snapshot else _image(index)
    return IndexState(index.number, image, snapshot, "" if snapshot else doubt)


def _image(index: ImageIndex) -> PlannedImage:
    """What is known of an index without its snapshot: enough to put updates in order."""
    found = _VERSION.fullmatch(index.os_version)
    major, minor = (int(found[1]), int(found[2])) if found else (0, 0)
    return PlannedImage(
        major=major,
        minor=minor,
        build=index.build,
        architecture=index.architecture,
        system_root="",
        windows="",
        control_set="",
        languages=(),
        revision=index.revision,
    )


def _candidate(update: Update, known: Mapping[int, Kept]) -> Candidate:
    refused = None
    if update.verdict:
        refused = Finding(Verdict(update.verdict), update.reason_code, update.reason_text)
    description = known.get(update.id)
    if isinstance(description, UpdateDescription):
        return Candidate(update.id, description, refused)
    doubt = _NO_PACKAGE if update.id in known else _OLD_UPDATE
    if isinstance(description, UnreadableFacts):
        doubt = str(description)
    return Candidate(update.id, _bare(update), refused, doubt)


def _bare(update: Update) -> UpdateDescription:
    """What the row of an update says of it: enough to find it in exclusions."""
    try:
        identity = parse_package_name(update.identity)
    except DamagedManifest:
        identity = AssemblyIdentity(update.file_name, Version(0, 0, 0, 0))
    top = PackageManifest(identity, release_type=update.release_type)
    packages = {identity.package_name.lower(): top}
    return UpdateDescription(top, packages, article=update.article, is_whole=False)
