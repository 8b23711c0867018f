"""What the engine finds in a WIM, as values that can wait in a file for the next step."""

import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from wimsmith.errors import DamagedInput, DamagedWim, NotFound, NotSupported
from wimsmith.offline.components.snapshots import snapshot_of
from wimsmith.offline.facts import ImageFacts, InstalledPackage, image_facts
from wimsmith.offline.filetime import to_datetime
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.planning.snapshot import pack
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.wim.format.container import Kind, Wim, open_wim
from wimsmith.offline.wim.format.counting import count_content
from wimsmith.offline.wim.format.document import ImageInfo, WindowsInfo
from wimsmith.offline.wim.format.remedies import EXPORT_AS_LZX, EXPORT_DELTA, JOIN
from wimsmith.offline.wim.format.tree import EMPTY_SHA1
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.offline.wim.writing.watch import Watch

log = logging.getLogger("wimsmith.images")

_NOT_WHOLE = {
    Kind.SPLIT: ("part of a split set", JOIN),
    Kind.METADATA_ONLY: ("a file whose content is in another one", EXPORT_DELTA),
}
_CONVERTED = {
    Kind.SOLID: "a solid file (ESD)",
    Kind.PIPABLE: "a pipable file, which Windows does not read",
}
_ARCHITECTURES = {0: "x86", 5: "arm", 9: "amd64", 12: "arm64"}


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """A package known to an index."""

    identity: str
    state: int
    release_type: str
    article: str
    is_update: bool
    installed_at: str | None


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """One index. What the hives say wins over what the XML says; times are ISO 8601, UTC.

    `snapshot` is the state for planning, packed, in base64; empty where it could not be taken.
    """

    number: int
    name: str
    description: str
    edition: str
    product_name: str
    product_type: str
    installation_type: str
    hal: str
    branch: str
    os_version: str
    build: int
    revision: int
    architecture: str
    languages: tuple[str, ...]
    default_language: str
    size_bytes: int
    hard_link_bytes: int
    file_count: int
    directory_count: int
    created_at: str | None
    modified_at: str | None
    packages: tuple[PackageFacts, ...] = ()
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A WIM file. `conversion` says what it is if it must be converted, and is empty if not."""

    size_bytes: int
    guid: str
    compression: str
    chunk_size: int
    indexes: tuple[IndexFacts, ...]
    conversion: str = ""


def read_container(path: Path) -> FileFacts:
    """Facts of a WIM from its header and XML alone: fast, whatever its size.

    Raises:
        DamagedWim: not a WIM, or it has no index.
        NotSupported: split, encrypted and other files that cannot be added, with what to do.
    """
    with WorkerCodec() as codec, open_wim(path, codec) as wim:
        _check_kind(wim)
        return _checked(_file(wim, tuple(_index(info, None) for info in wim.images)), path)


def read_file(path: Path, progress: Progress = silent) -> FileFacts:
    """Facts of a WIM, with what the hives of every index say and the packages in it.

    Raises:
        DamagedWim, DamagedHive: the file, or a hive in it, cannot be read.
        NotSupported: as `read_container`, or a file that is to be converted first.
    """
    watch = Watch(progress)
    with WorkerCodec(beat=watch.beat) as codec, open_wim(path, codec) as wim:
        _check_kind(wim)
        _check_ordinary(wim)
        indexes = []
        for info in wim.images:
            watch.tell(Event("inspect", info.number - 1, len(wim.images), "items"))
            view = open_view(wim, info.number)
            found = image_facts(view)
            index = _index(info, found)
            indexes.append(replace(index, snapshot=_snapshot(view) if found else ""))
        watch.tell(Event("inspect", len(wim.images), len(wim.images), "items"))
        return _checked(_file(wim, tuple(indexes)), path)


def check_whole(path: Path, progress: Progress = silent) -> None:
    """Return if a WIM has all content that its images name.

    Raises:
        NotSupported: `missing-content`, as in a delta, with what to do.
        DamagedWim: it cannot be read.
    """
    watch = Watch(progress)
    with WorkerCodec(beat=watch.beat) as codec, open_wim(path, codec) as wim:
        for info in wim.images:
            watch.tell(Event("look", info.number - 1, len(wim.images), "items"))
            named = count_content(wim.metadata(info.number)).keys()
            if not named <= wim.blobs.keys() | {EMPTY_SHA1}:
                text = f"{path.name} has not all content of index {info.number}, as in a delta WIM"
                raise NotSupported("missing-content", text, hint=EXPORT_DELTA)


def save(facts: FileFacts, path: Path) -> None:
    """Write facts to a file for a later step."""
    path.write_text(json.dumps(asdict(facts)), encoding="utf-8")


def load(path: Path) -> FileFacts:
    """Read facts that `save` wrote."""
    return _from_json(json.loads(path.read_text(encoding="utf-8")))


def moment(text: str | None) -> datetime | None:
    """A time of the facts, aware."""
    return datetime.fromisoformat(text) if text else None


def _checked(facts: FileFacts, path: Path) -> FileFacts:
    if not facts.indexes:
        raise DamagedWim(f"{path.name} holds no image")
    return facts


def _check_kind(wim: Wim) -> None:
    """Return unless the file needs others to be read."""
    for kind in wim.kinds:
        if kind in _NOT_WHOLE:
            what, hint = _NOT_WHOLE[kind]
            raise NotSupported(kind.value, f"{wim.path.name} is {what}", hint=hint)


def _conversion(wim: Wim) -> str:
    return next((_CONVERTED[kind] for kind in wim.kinds if kind in _CONVERTED), "")


def _check_ordinary(wim: Wim) -> None:
    for kind in wim.kinds:
        if kind in _CONVERTED:
            text = f"{wim.path.name} is {_CONVERTED[kind]}"
            raise NotSupported(kind.value, text, hint=EXPORT_AS_LZX)


def _snapshot(view: ImageView) -> str:
    """The state of an index, packed; empty if its component store cannot be read.

    Such an image can be kept and deployed; what may be done to it is told when it is serviced.
    """
    try:
        return b64encode(pack(snapshot_of(view).as_data())).decode()
    except (DamagedInput, NotFound) as error:
        log.warning("Index %d cannot be planned for: %s", view.index_number, error)
        return ""


def _file(wim: Wim, indexes: tuple[IndexFacts, ...]) -> FileFacts:
    return FileFacts(
        size_bytes=wim.file_bytes,
        guid=str(UUID(bytes_le=wim.header.guid)),
        compression=wim.compression.value,
        chunk_size=wim.chunk_size,
        indexes=indexes,
        conversion=_conversion(wim),
    )


def _index(info: ImageInfo, found: ImageFacts | None) -> IndexFacts:
    block = info.windows or WindowsInfo()
    build, revision = block.build or 0, block.service_pack_build or 0
    version = f"{block.major}.{block.minor or 0}.{build}.{revision}" if block.major else ""
    architecture = "" if block.architecture is None else _ARCHITECTURES.get(block.architecture, "")
    return IndexFacts(
        number=info.number,
        name=info.display_name or info.name,
        description=info.display_description or info.description,
        edition=(found and found.edition) or block.edition_id or info.flags,
        product_name=(found and found.product_name) or block.product_name or "",
        product_type=block.product_type or "",
        installation_type=(found and found.installation_type) or block.installation_type or "",
        hal=block.hal or "",
        branch=block.branch or "",
        os_version=found.os_version if found else version,
        build=found.build if found else build,
        revision=found.revision if found else revision,
        architecture=(found and found.architecture) or architecture,
        languages=block.languages,
        default_language=block.default_language or next(iter(block.languages), ""),
        size_bytes=info.total_bytes,
        hard_link_bytes=info.hard_link_bytes,
        file_count=info.file_count,
        directory_count=info.directory_count,
        created_at=_filetime(info.created),
        modified_at=_filetime(info.modified),
        packages=tuple(_package(one) for one in found.packages) if found else (),
    )


def _package(package: InstalledPackage) -> PackageFacts:
    return PackageFacts(
        identity=package.identity,
        state=package.state,
        release_type=package.release_type,
        article=package.article,
        is_update=package.is_update,
        installed_at=package.installed_at.isoformat() if package.installed_at else None,
    )


def _filetime(value: int | None) -> str | None:
    moment = to_datetime(value or 0)
    return moment.isoformat() if moment else None


def _from_json(document: Mapping[str, Any]) -> FileFacts:
    indexes = tuple(_index_from_json(row) for row in document["indexes"])
    return FileFacts(**{**document, "indexes": indexes})


def _index_from_json(row: Mapping[str, Any]) -> IndexFacts:
    packages = tuple(PackageFacts(**package) for package in row["packages"])
    return IndexFacts(**{**row, "packages": packages, "languages": tuple(row["languages"])})


def package_columns(package: PackageFacts) -> dict[str, Any]:
    """Values of the columns of `IndexPackage` that the facts fill."""
    return asdict(package) | {"installed_at": moment(package.installed_at)}


def packed_snapshot(index: IndexFacts) -> bytes:
    """The packed snapshot of an index, empty if there is none."""
    return b64decode(index.snapshot)


def index_columns(index: IndexFacts) -> dict[str, Any]:
    """Values of the columns of `ImageIndex`."""
    values = {item.name: getattr(index, item.name) for item in fields(index)}
    del values["packages"], values["default_language"], values["snapshot"]
    return values | {
        "languages": list(index.languages),
        "created_at": moment(index.created_at),
        "modified_at": moment(index.modified_at),
        "package_count": len(index.packages),
    }
