"""Very many manifests of one store as XML: those stored as deltas are expanded in child processes.

Which text is their base is proved, never assumed: one manifest expanded with it has the SHA-256
that the store states.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path

from wimsmith.errors import DamagedInput, LimitExceeded, NotSupported
from wimsmith.offline.manifests.xmlreader import MAX_XML_BYTES
from wimsmith.offline.packages.deltas.batch import DeltaJob, expand_deltas
from wimsmith.offline.packages.deltas.dcm import MAGIC, expand_dcm, is_dcm
from wimsmith.offline.packages.deltas.delta import stated_bytes

_BATCH_FILES = 500
_BATCH_BYTES = 64 << 20
_PROBES = 16
_MAX_FAILURES = 64

Expanded = Iterator[tuple[str, bytes | None]]


class Fault(StrEnum):
    """Why a manifest has no XML."""

    NO_BASE = "the base text of its manifest is not known"
    BROKEN = "its manifest cannot be expanded"


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest of a store: `key` as it was asked for, `stated` the SHA-256 that the store has.

    `xml` is empty where there is a `fault`; that it is what the store states is not yet said.
    """

    key: str
    xml: bytes = field(repr=False)
    stated: bytes | None
    is_compressed: bool
    fault: Fault | None = None

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.xml).digest()

    @property
    def is_proved(self) -> bool:
        """Whether the XML is what the store states; without a hash only plain XML can be."""
        if self.stated is None:
            return self.fault is None and not self.is_compressed
        return self.fault is None and self.sha256 == self.stated


class Expander:
    """Expands manifests against the base text of the image that proves to be the right one.

    Each manifest that is broken costs the start of another child process; after some dozens the
    rest is given up as well, so that a store full of rubbish takes no longer than a sound one.
    """

    def __init__(
        self, candidates: Callable[[], Sequence[bytes]], stated: Callable[[str], bytes | None]
    ) -> None:
        """Nothing is read before it is needed.

        Args:
            candidates: gives the texts in the image's servicing stacks, likeliest first.
            stated: gives the SHA-256 that the store states for the XML of a key.
        """
        self._candidates = candidates
        self._stated = stated
        self._failures = 0
        self.base: bytes | None = None

    def proves(self, stored: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a base text is known, or deltas with the SHA-256 of their XML prove one."""
        if self.base is not None:
            return True
        for data, digest in islice(stored, _PROBES):
            for candidate in self._candidates():
                if _sha256_of(data, candidate) == digest:
                    self.base = candidate
                    return True
        return False

    def read(self, stored: Iterable[tuple[str, bytes]]) -> Iterator[StoredManifest]:
        """The XML of manifests by key, in any order; deltas wait until some are together.

        Raises:
            WorkerFailed: the child process that expands deltas could not be started.
            OSError: no space for deltas, for example.
        """
        batch: dict[str, bytes] = {}
        size = 0
        for key, data in stored:
            if not is_dcm(data):
                yield StoredManifest(key, data, self._stated(key), is_compressed=False)
                continue
            batch[key] = data
            size += len(data)
            if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
                yield from self._deltas(batch)
                batch, size = {}, 0
        if batch:
            yield from self._deltas(batch)

    def _deltas(self, batch: Mapping[str, bytes]) -> Iterator[StoredManifest]:
        digests = {key: self._stated(key) for key in batch}
        if not self.proves((batch[key], one) for key, one in digests.items() if one is not None):
            for key, digest in digests.items():
                yield StoredManifest(key, b"", digest, is_compressed=True, fault=Fault.NO_BASE)
            return
        for key, xml in self._expanded(batch):
            fault = Fault.BROKEN if xml is None else None
            yield StoredManifest(key, xml or b"", digests[key], is_compressed=True, fault=fault)

    def _expanded(self, stored: Mapping[str, bytes]) -> Expanded:
        sizes = {key: _size_bytes(data) for key, data in stored.items()}
        yield from ((key, None) for key, size in sizes.items() if size is None)
        waiting = [(key, size) for key, size in sizes.items() if size is not None]
        with tempfile.TemporaryDirectory(prefix="wimsmith-manifests-") as name:
            folder = Path(name)
            (folder / "base").write_bytes(self.base or b"")
            (folder / "out").mkdir()
            while waiting and self._failures <= _MAX_FAILURES:
                jobs = [_job(folder, stored, *item) for item in waiting]
                _try(jobs, folder / "out")
                done = 0
                for (key, size), job in zip(waiting, jobs, strict=True):
                    if not job.target.exists():
                        break
                    data = job.target.read_bytes()
                    job.target.unlink()
                    done += 1
                    yield key, data if len(data) == size else None
                for key, _ in waiting[done : done + 1]:
                    self._failures += 1
                    yield key, None
                waiting = waiting[done + 1 :]
        yield from ((key, None) for key, _ in waiting)


def _sha256_of(data: bytes, base: bytes) -> bytes | None:
    """SHA-256 of the XML that a delta becomes with a base text, None if it becomes nothing."""
    try:
        return hashlib.sha256(expand_dcm(data, base)).digest()
    except (DamagedInput, LimitExceeded, NotSupported):
        return None


def _job(folder: Path, stored: Mapping[str, bytes], key: str, size: int) -> DeltaJob:
    number = hashlib.sha256(key.encode()).hexdigest()[:24]
    delta = folder / number
    if not delta.exists():
        delta.write_bytes(stored[key])
    target = folder / "out" / number
    return DeltaJob(key, delta, folder / "base", target, size, proved_elsewhere=True)


def _try(jobs: Sequence[DeltaJob], folder: Path) -> None:
    """Make targets up to the first job that fails, which then has none."""
    try:
        expand_deltas(jobs, folder)
    except (DamagedInput, LimitExceeded, NotSupported):
        return  # the first missing target tells which one it was


def _size_bytes(data: bytes) -> int | None:
    """Size of the XML that a manifest states, if it can be that of a manifest."""
    try:
        size = stated_bytes(data[len(MAGIC) :])
    except (DamagedInput, NotSupported):
        return None
    return size if 0 < size <= MAX_XML_BYTES else None
