"""Extracting an update into a folder, as a cabinet with everything in full would hold it.

Every digest that the update states of its files is compared: in its container index, its list of
hashes, its manifests. That shows damage; whether somebody trustworthy made it is a question for
`trust.py`.
"""

import hashlib
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from wimsmith.errors import AlreadyExists, DamagedPackage, NotEnoughSpace
from wimsmith.offline import paths
from wimsmith.offline.durable import fsync_folder
from wimsmith.offline.manifests.component import ComponentManifest
from wimsmith.offline.packages.containers.cabinet import CabinetFile
from wimsmith.offline.packages.containers.hashlist import (
    HASH_LIST,
    MAX_HASH_LIST_BYTES,
    ListedHash,
    parse_hash_list,
)
from wimsmith.offline.packages.contents import contents_of
from wimsmith.offline.packages.limits import DEFAULT_LIMITS, PackageLimits
from wimsmith.offline.packages.package import ExpandedPackage, expand_all
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.wim.writing.staging import Staging

log = logging.getLogger("wimsmith.offline")

_COPY_BYTES = 1 << 20
_FILETIME_OF_1970 = 116_444_736_000_000_000


class Proof(StrEnum):
    """What states the digest that a file has, the strongest first."""

    INDEX = "container-index"
    CATALOG = "catalog"
    MANIFEST = "manifest"
    LIST = "hash-list"


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """An update that was extracted.

    `folders` has one folder below `target` for each package, in the order in which they are
    installed; it is empty if there is only one package, whose files are in `target` itself.
    `proofs` counts files by what states their digest, `unproved` names those of which nothing does.
    """

    source: Path
    target: Path
    folders: tuple[str, ...]
    files: int
    size_bytes: int
    proofs: Mapping[str, int]
    unproved: tuple[str, ...]
    duration_s: float


def extract_update(
    source: Path,
    target: Path,
    *,
    base_manifests: Sequence[bytes] = (),
    limits: PackageLimits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> ExtractReport:
    """Extract all packages of an update into a new folder, on the disk when it appears.

    Deltas are expanded; manifests stored as DCM stay as they are. Files get the time that the
    package states. Names that differ from each other by case alone are one folder.

    Args:
        source: a `.cab` or `.msu` file; never changed.
        target: folder to make; an existing one must be empty.
        base_manifests: base texts, with which payload of compressed manifests is proved, too.
        limits: most that the update may ask for.
        progress: called often; may raise to cancel.

    Raises:
        AlreadyExists: the target holds something.
        NotSupported: a container that is refused by name.
        DamagedPackage: broken anywhere, or a file is not what is stated of it.
        DamagedInput, LimitExceeded, NotEnoughSpace, PathUnreachable, WorkerFailed, and what
            `progress` raises. Nothing is left behind then.
    """
    started = time.monotonic()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise AlreadyExists(target, hint="Choose a new or empty folder.")
    with Staging(target) as staging:
        work, tree = staging.folder / "work", staging.folder / "tree"
        tree.mkdir()
        packages = expand_all(source, work, limits=limits, progress=progress)
        folders = [""] if len(packages) == 1 else list(_folder_names(packages))
        proofs: dict[str, Proof | None] = {}
        for folder, package in zip(folders, packages, strict=True):
            found = _prove(package, base_manifests, progress)
            proofs |= {paths.join(folder, name): proof for name, proof in found.items()}
        _Writer(tree, progress).write(folders, packages)
        staging.publish_tree(tree)
    unproved = tuple(sorted(name for name, proof in proofs.items() if proof is None))
    for name in unproved:
        log.info("%s: nothing states a digest of %s", source, name)
    return ExtractReport(
        source=source,
        target=target,
        folders=tuple(folder for folder in folders if folder),
        files=len(proofs),
        size_bytes=sum(file.size_bytes for one in packages for file in one.files.values()),
        proofs=dict(Counter(proof.value for proof in proofs.values() if proof is not None)),
        unproved=unproved,
        duration_s=time.monotonic() - started,
    )


def _folder_names(packages: Sequence[ExpandedPackage]) -> Iterator[str]:
    digits = len(str(len(packages)))
    for number, package in enumerate(packages, 1):
        yield f"{number:0{digits}}-{package.top.identity.name[:200]}"


def _prove(
    package: ExpandedPackage, base_manifests: Sequence[bytes], progress: Progress
) -> dict[str, Proof | None]:
    """What proves each file, by name.

    Raises:
        DamagedPackage: a file has another digest than is stated.
    """
    contents = contents_of(package, base_manifests, progress)
    digests = _Digests(sum(file.size_bytes for file in package.files.values()), progress)
    found: dict[str, Proof | None] = {file.name: None for file in package.files.values()}
    found |= dict.fromkeys(_compared_with_list(package, digests), Proof.LIST)
    for keyform, manifest in contents.manifests.items():
        found |= dict.fromkeys(_compared(package, keyform, manifest, digests), Proof.MANIFEST)
    found |= dict.fromkeys(_in_catalogs(package, contents.manifests), Proof.CATALOG)
    if package.index is not None:  # expanding it has compared every digest
        found = dict.fromkeys(found, Proof.INDEX)
    return found


class _Digests:
    """Digests of files, each computed once."""

    def __init__(self, total_bytes: int, progress: Progress) -> None:
        self._known: dict[tuple[Path, str], bytes] = {}
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._progress = progress

    def of(self, path: Path, algorithm: str) -> bytes:
        if (path, algorithm) not in self._known:
            self._known[path, algorithm] = self._computed(path, algorithm)
        return self._known[path, algorithm]

    def _computed(self, path: Path, algorithm: str) -> bytes:
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with path.open("rb") as file:
            while block := file.read(_COPY_BYTES):
                digest.update(block)
                self._done_bytes += len(block)
                done = min(self._done_bytes, self._total_bytes)
                self._progress(Event("compare", done, self._total_bytes, "bytes"))
        return digest.digest()


def _compared_with_list(package: ExpandedPackage, digests: _Digests) -> Iterator[str]:
    """Names of files that have the digest of the list of hashes; it need not name all."""
    listed = _hash_list(package)
    for name, file in package.files.items():
        stated = listed.get(name)
        if stated is None:
            continue
        found = digests.of(file.path, stated.algorithm)
        if (file.size_bytes, found) != (stated.size_bytes, stated.digest):
            raise DamagedPackage(f"{file.name[:300]} is not what the list of hashes states")
        yield file.name


def _hash_list(package: ExpandedPackage) -> Mapping[str, ListedHash]:
    file = package.files.get(paths.fold(HASH_LIST))
    if file is None or package.index is not None:
        return {}
    if file.size_bytes > MAX_HASH_LIST_BYTES:
        raise DamagedPackage(f"a list of hashes of {file.size_bytes} bytes")
    return parse_hash_list(file.path.read_bytes())


def _compared(
    package: ExpandedPackage, keyform: str, manifest: ComponentManifest, digests: _Digests
) -> Iterator[str]:
    """Names of payload files that have the digest of their manifest."""
    for stated in manifest.files:
        if stated.hash is None:
            continue
        file = package.payload_of(keyform, stated)
        if digests.of(file.path, stated.hash.algorithm) != stated.hash.digest:
            raise DamagedPackage(f"{file.name[:300]} is not what its manifest states")
        yield file.name


def _in_catalogs(
    package: ExpandedPackage, manifests: Mapping[str, ComponentManifest]
) -> Iterator[str]:
    """Names of package manifests and plain manifests that a catalog lists."""
    for file in package.files.values():
        stem, _, extension = file.name.lower().rpartition(".")
        if "/" in file.name or not (extension == "mum" or stem in manifests):
            continue
        if package.lists(file.path.read_bytes()):
            yield file.name


class _Writer:
    """Gives the numbered files of packages their names below a folder."""

    def __init__(self, tree: Path, progress: Progress) -> None:
        self._tree = tree
        self._progress = progress
        self._folders: dict[str, Path] = {"": tree}

    def write(self, folders: Sequence[str], packages: Sequence[ExpandedPackage]) -> None:
        """Move files to their names, or copy where several have the same bytes; sync them.

        Raises:
            NotEnoughSpace: the copies do not fit.
        """
        found = [
            (paths.join(folder, file.name), file)
            for folder, package in zip(folders, packages, strict=True)
            for file in package.files.values()
        ]
        self._check_space([file for _, file in found])
        left = Counter(file.path for _, file in found)
        for done, (name, file) in enumerate(found, 1):
            target = self._folder(paths.parent(name)) / paths.split(name)[-1]
            left[file.path] -= 1
            if left[file.path]:
                shutil.copyfile(file.path, target)
            else:
                file.path.rename(target)
            _finish(target, file)
            self._progress(Event("write", done, len(found), "files"))
        for folder in reversed(self._folders.values()):
            fsync_folder(folder)

    def _check_space(self, files: Sequence[CabinetFile]) -> None:
        once = {file.path: file.size_bytes for file in files}
        needed = sum(file.size_bytes for file in files) - sum(once.values())
        free = shutil.disk_usage(self._tree).free
        if needed > free:
            raise NotEnoughSpace(f"copies of files need {needed} bytes and {free} are free")

    def _folder(self, name: str) -> Path:
        """The folder of this name, which Windows compares without case; made when first asked."""
        folded = paths.fold(name)
        if folded not in self._folders:
            folder = self._folder(paths.parent(name)) / paths.split(name)[-1]
            folder.mkdir()
            self._folders[folded] = folder
        return self._folders[folded]


def _finish(target: Path, file: CabinetFile) -> None:
    """Bring a file to the disk with the time that its package states."""
    descriptor = os.open(target, os.O_RDONLY)
    try:
        if file.written > _FILETIME_OF_1970:
            written_ns = (file.written - _FILETIME_OF_1970) * 100
            os.utime(descriptor, ns=(written_ns, written_ns))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
