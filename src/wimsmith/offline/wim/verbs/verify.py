"""Reading all of a WIM and comparing every hash in it, with all cores."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from wimsmith.errors import DamagedInput, DamagedWim, LimitExceeded, NotFound, NotSupported
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.wim.format import integrity
from wimsmith.offline.wim.format.blobs import Blob
from wimsmith.offline.wim.format.container import Wim, naming, open_wim
from wimsmith.offline.wim.format.header import HEADER_BYTES
from wimsmith.offline.wim.format.integrity import IntegrityTable
from wimsmith.offline.wim.format.lint import NameFindings, UnusableName, shown_path
from wimsmith.offline.wim.format.resource import read_exactly
from wimsmith.offline.wim.format.tree import EMPTY_SHA1
from wimsmith.offline.wim.workers import budget
from wimsmith.offline.wim.workers.child import Beat
from wimsmith.offline.wim.workers.crew import Crew, Piece, hire_reader
from wimsmith.offline.wim.workers.slices import balanced, pack_blobs, slice_bytes
from wimsmith.offline.wim.workers.worker import WorkerCodec

MAX_LISTED = 1000
"""So many damages are told one by one; all are counted."""
MAX_FILES = 20
"""So many files are named that use one damaged content; all are counted."""

_PHASE = "Verifying"
_MOST_BLOBS = 4000
_HASHED_BYTES = 40 << 20
_SHA1_BYTES = 20
_FOREIGN = (DamagedInput, LimitExceeded, NotSupported)


@dataclass(slots=True)
class Damage:
    """Something in a WIM that is not what it should be.

    `kind` is "content", "missing" (content that no file holds), "metadata" or "integrity". `file`
    is the one that is damaged. Files of the images that use a content are named as INDEX:PATH, the
    first of them.
    """

    kind: str
    file: Path
    reason: str
    sha1: str = ""
    size_bytes: int = 0
    file_count: int = 0
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found by reading every byte of a WIM, with the parts and files that belong to it.

    `damaged` lists the first of `damaged_count` damages, `missing_count` of which are content that
    no file holds, as in a delta without its base. Names that Windows or this program cannot
    use are counted, and the first ones listed; they are no damage.
    """

    source: Path
    files: int
    images: int
    blobs: int
    size_bytes: int
    content_bytes: int
    integrity_table: bool
    workers: int
    duration_s: float
    intact: bool
    damaged_count: int = 0
    missing_count: int = 0
    damaged: tuple[Damage, ...] = ()
    unusable_count: int = 0
    unusable_names: tuple[UnusableName, ...] = ()

    def check(self) -> None:
        """Return if nothing is damaged.

        Raises:
            NotFound: all that is there is right, but content is in none of the files.
            DamagedWim: with what is, in short.
        """
        if self.intact:
            return
        first = self.damaged[0]
        if self.missing_count == self.damaged_count:
            what = f"{self.missing_count} contents that {first.file} names, in none of the files"
            raise NotFound(what, hint=_MISSING)
        more = f" (and {self.damaged_count - 1} more damages)" if self.damaged_count > 1 else ""
        raise DamagedWim(f"{first.file}: {first.reason}{more}")


_MISSING = (
    "If it is a delta or one part of several files, name those that hold the rest: `--ref FILE`."
)


def verify_wim(
    source: Path,
    *,
    references: Sequence[Path] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> VerifyReport:
    """Check integrity tables if there are any, all metadata, names, and the hash of all content.

    Each worker process reads a part of the content itself, so that all cores are used.

    Args:
        source: the WIM, or any part of a split set, whose other parts stand beside it.
        references: further files that hold content; all of theirs is checked as well.
        workers: how many processes; as many as cores and memory allow if None.
        progress: called often; may raise to cancel.

    Raises:
        DamagedWim: header, blob table or XML document are so wrong that nothing else can be read.
        NotSupported: a kind of file that is not read here.
        WorkerFailed: a worker was ended; nothing is known then.
    """
    started = time.monotonic()
    opening = partial(progress, Event(_PHASE))
    with (
        naming(source),
        WorkerCodec(beat=opening) as codec,
        open_wim(source, codec, references=references) as wim,
    ):
        blobs = sorted(wim.blobs.values(), key=lambda blob: blob.storage_order)
        chunk_size = max((blob.solid.chunk_size for blob in blobs if blob.solid), default=0)
        count = workers or budget.reading_workers(chunk_size)
        checks = _Checks(wim, blobs, count)
        hire = partial(hire_reader, wim)
        with Crew(checks.pieces, workers=count, hire=hire, progress=progress) as crew:
            names = checks.read_images(crew)
            answers = crew.finish()
        checks.take(answers)
        checks.name_users(partial(progress, Event("Finding the files that use it")))
        return VerifyReport(
            source=source,
            files=len(wim.files),
            images=len(wim.images),
            blobs=len(blobs),
            size_bytes=wim.file_bytes,
            content_bytes=sum(blob.size_bytes for blob in blobs),
            integrity_table=all(
                file.header.integrity.stored_bytes for file in wim.files[: wim.part_count]
            ),
            workers=count,
            duration_s=time.monotonic() - started,
            intact=not checks.damaged,
            damaged_count=len(checks.damaged),
            missing_count=sum(one.kind == "missing" for one in checks.damaged),
            damaged=tuple(checks.damaged[:MAX_LISTED]),
            unusable_count=names.count,
            unusable_names=tuple(names.first),
        )


class _Checks:
    """What is to be checked in one WIM, and what was found."""

    def __init__(self, wim: Wim, blobs: Sequence[Blob], workers: int) -> None:
        self._wim = wim
        self.damaged: list[Damage] = []
        self._tables: list[tuple[int, IntegrityTable, int]] = []
        placed = [*self._content_pieces(blobs, workers), *self._integrity_pieces()]
        placed.sort(key=lambda one: one[0])  # so that each part of a file is read from disk once
        self.pieces = [piece for _, piece in placed]

    def read_images(self, crew: Crew) -> NameFindings:
        """Look at the metadata of each image while the workers prove content."""
        names = NameFindings()
        missing: dict[bytes, None] = {}
        for number in range(1, len(self._wim.images) + 1):
            crew.watch()
            try:
                tree = self._wim.tree(number)
            except _FOREIGN as error:
                file = self._file_of(self._wim.table.metadata[number - 1])
                text = f"image {number}: {_without(file, error)}"
                self.damaged.append(Damage("metadata", file, text))
            else:
                names.look_at(tree, number)
                used = (sha1 for inode in tree.inodes() for sha1 in inode.content())
                missing |= dict.fromkeys(one for one in used if one not in self._wim.blobs)
        missing.pop(EMPTY_SHA1, None)
        self.damaged += [
            Damage("missing", self._wim.path, f"{_label(sha1)} is in none of the files", sha1.hex())
            for sha1 in missing
        ]
        return names

    def take(self, answers: Iterable[tuple[dict[str, object], bytes]]) -> None:
        """Look at what the workers found."""
        content: list[Damage] = []
        for piece, (answer, payload) in zip(self.pieces, answers, strict=True):
            if piece.header["do"] == "hash":
                self._compare_table(piece, payload)
                continue
            found = answer["damaged"]
            assert isinstance(found, list)
            for sha1, reason in found:
                blob = self._wim.blobs[bytes.fromhex(sha1)]
                file = self._file_of(blob)
                text = str(reason).removeprefix(f"{file.absolute()}: ")
                content.append(Damage("content", file, text, sha1, blob.size_bytes))
        self.damaged += content

    def name_users(self, beat: Beat) -> None:
        """Find the files that use what is damaged; `beat` may raise to cancel."""
        by_sha1 = {bytes.fromhex(one.sha1): one for one in self.damaged if one.sha1}
        if not by_sha1:
            return
        for number in range(1, len(self._wim.images) + 1):
            beat()
            try:
                tree = self._wim.tree(number)
            except _FOREIGN:  # told already
                continue
            for entry in tree.walk():
                for sha1 in set(entry.inode.content()) & by_sha1.keys():
                    damage = by_sha1[sha1]
                    damage.file_count += 1
                    if len(damage.files) < MAX_FILES:
                        damage.files.append(f"{number}:/{shown_path(entry)}")

    def _content_pieces(
        self, blobs: Sequence[Blob], workers: int
    ) -> Iterator[tuple[tuple[int, int], Piece]]:
        most_bytes = slice_bytes(blobs, workers)
        for run in balanced(blobs, lambda blob: blob.size_bytes, most_bytes, _MOST_BLOBS):
            solid, payload = pack_blobs(run)
            size_bytes = sum(blob.size_bytes for blob in run)
            request = {"do": "prove", "solid": solid}
            yield run[0].storage_order[:2], Piece(_PHASE, request, size_bytes, payload)

    def _integrity_pieces(self) -> Iterator[tuple[tuple[int, int], Piece]]:
        for number, file in enumerate(self._wim.files):
            location = file.header.integrity
            if not location.stored_bytes:
                continue
            end = integrity.covered_end(file.header)
            what = "the integrity table"
            try:
                raw = read_exactly(file.descriptor, location.offset, location.stored_bytes, what)
                table = IntegrityTable.parse(raw, end - HEADER_BYTES)
            except _FOREIGN as error:
                self.damaged.append(Damage("integrity", file.path, str(error.args[-1])))
                continue
            step = max(1, _HASHED_BYTES // table.chunk_bytes)
            for first in range(0, len(table.hashes), step):
                start = HEADER_BYTES + first * table.chunk_bytes
                stop = min(start + step * table.chunk_bytes, end)
                request = {
                    "do": "hash",
                    "file": number,
                    "start": start,
                    "end": stop,
                    "chunk_bytes": table.chunk_bytes,
                    "expected": b"".join(table.hashes[first : first + step]).hex(),
                }
                yield (number, start), Piece(_PHASE, request, stop - start)

    def _compare_table(self, piece: Piece, payload: bytes) -> None:
        request = piece.header
        expected = bytes.fromhex(request["expected"])
        for place in range(0, len(expected), _SHA1_BYTES):
            if expected[place : place + _SHA1_BYTES] == payload[place : place + _SHA1_BYTES]:
                continue
            start = request["start"] + place // _SHA1_BYTES * request["chunk_bytes"]
            count = min(request["chunk_bytes"], request["end"] - start)
            path = self._wim.files[request["file"]].path
            text = f"integrity check failed in the {count} bytes from {start}"
            self.damaged.append(Damage("integrity", path, text))

    def _file_of(self, blob: Blob) -> Path:
        return self._wim.files[blob.file].path


def _without(file: Path, error: Exception) -> str:
    """What an error says, without the name of the file that it begins with."""
    return str(error.args[-1]).removeprefix(f"{file}: ")


def _label(sha1: bytes) -> str:
    return f"content {sha1.hex()}"
