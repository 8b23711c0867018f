"""The container index: where the content of each file of a package comes from.

`_manifest_.cix.xml` stands in cabinets whose members are numbered, `*.psf.cix.xml` describes a
stream of differentials beside the cabinet. Both are in the namespace `urn:ContainerIndex`. A file
is taken from a stored member, from another file of the index, or made from both by a delta.
Sources of the format: docs/internals/packages.md.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from wimsmith.errors import DamagedManifest, DamagedPackage, LimitExceeded, UnsafePath
from wimsmith.offline import paths
from wimsmith.offline.manifests.xmlreader import read_xml
from wimsmith.offline.packages.containers.cablisting import check_names
from wimsmith.offline.packages.limits import DEFAULT_LIMITS, PackageLimits

NAMESPACE = "urn:ContainerIndex"
_TAG = f"{{{NAMESPACE}}}"
_DIGEST_BYTES = {"SHA1": 20, "SHA256": 32}
_LONG_KIND = "CIX_SOURCE_"
_MAX_NODES = 16_000_000
_MAX_NUMBER = (1 << 63) - 1
_MAX_ALTERNATIVES = 64
_MAX_LOCATIONS = 1000
_FILE = ("Container", "Files", "File")
_Kind = TypeVar("_Kind", bound=StrEnum)


class ContainerType(StrEnum):
    """What an index belongs to: a cabinet, or a stream of differentials."""

    CABINET = "CAB"
    STREAM = "PSF"


class SourceKind(StrEnum):
    """How a member is stored."""

    RAW = "RAW"
    PA19 = "PA19"
    PA30 = "PA30"
    LZX = "LZX"
    XPRESS = "XPRESS"
    XPRESS_HUFFMAN = "XPRESSHUFF"
    LZMS = "LZMS"


@dataclass(frozen=True, slots=True)
class IndexHash:
    """A digest; `algorithm` is sha1 or sha256."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Source:
    """Stored bytes: a member of the cabinet, or a part of the stream (offset, size in bytes)."""

    kind: SourceKind
    member: str = ""
    offset: int | None = None
    size_bytes: int | None = None
    hash: IndexHash | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to make a file: a source, a basis, or both.

    `basis` is the id of another file of the index; `is_outside` says that the basis is one that
    the package does not hold. A basis without a source is an identical copy.
    """

    source: Source | None = None
    basis: int | None = None
    is_outside: bool = False


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file that the container expands to. `name` is in normal form, `written` a FILETIME."""

    id: int
    name: str
    size_bytes: int
    written: int
    attributes: int
    hash: IndexHash
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True, slots=True)
class Location:
    """A folder of a running Windows in which bases are looked for."""

    id: str
    path: str
    flags: str = ""


@dataclass(frozen=True, slots=True)
class ContainerIndex:
    """A whole index."""

    name: str
    type: ContainerType
    files: tuple[IndexedFile, ...]
    locations: tuple[Location, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Bytes of all files after expanding."""
        return sum(file.size_bytes for file in self.files)


def parse_container_index(data: bytes, *, limits: PackageLimits = DEFAULT_LIMITS) -> ContainerIndex:
    """Read a container index.

    Raises:
        DamagedPackage: not XML, not a container index, a number or digest is malformed, two files
            have one id or one name, or a basis is no file of the index.
        UnsafePath: a name that leaves the folder or that Windows could not hold.
        LimitExceeded: more or larger files than `limits` allow.
    """
    reader = _Reader(limits)
    try:
        read_xml(data, reader, max_nodes=_MAX_NODES)
    except DamagedManifest as error:
        raise DamagedPackage(f"container index: {error.args[0]}") from error
    index = reader.index()
    _check_bases(index)
    _check_sizes(index, limits)
    check_names(file.name for file in index.files)
    return index


def ordered(files: Sequence[IndexedFile], basis_of: dict[int, int]) -> Iterator[IndexedFile]:
    """Files, each after the one it is made from, otherwise as they stand in the index.

    Args:
        files: all files.
        basis_of: id of the basis by id of the file, where there is one.

    Raises:
        DamagedPackage: files that are made from each other in a circle.
    """
    by_id = {file.id: file for file in files}
    done: set[int] = set()
    for file in files:
        chain: dict[int, None] = {}
        following: int | None = file.id
        while following is not None and following not in done:
            if following in chain:
                raise DamagedPackage(f"{by_id[following].name[:200]} is made from itself")
            chain[following] = None
            following = basis_of.get(following)
        done.update(chain)
        yield from (by_id[number] for number in reversed(chain))


class _Reader:
    """Builds the index while the document is read; what it does not know it passes over."""

    def __init__(self, limits: PackageLimits) -> None:
        self._limits = limits
        self._path: list[str] = []
        self._container: dict[str, str] | None = None
        self._locations: list[Location] = []
        self._files: list[IndexedFile] = []
        self._ids: set[int] = set()
        self._draft = _Draft({})
        self._starts: dict[tuple[str, ...], Callable[[dict[str, str]], None]] = {
            ("Container",): self._start_container,
            ("Container", "DeltaBasisSearch", "Location"): self._start_location,
            _FILE: self._start_file,
            (*_FILE, "Hash"): self._add_hash,
            (*_FILE, "Delta"): self._start_delta,
            (*_FILE, "Delta", "Source"): self._set_source,
            (*_FILE, "Delta", "Source", "Hash"): self._add_source_hash,
            (*_FILE, "Delta", "Basis"): self._set_basis,
        }

    def start(self, tag: str, attrs: dict[str, str], /) -> None:
        self._path.append(tag.removeprefix(_TAG))
        handle = self._starts.get(tuple(self._path))
        if handle is not None:
            handle(attrs)

    def end(self, _tag: str, /) -> None:
        if tuple(self._path) == _FILE:
            self._files.append(self._draft.file())
        self._path.pop()

    def data(self, data: str, /) -> None:
        """Text has no meaning in an index."""

    def index(self) -> ContainerIndex:
        about = self._container
        if about is None:
            raise DamagedPackage("not a container index")
        return ContainerIndex(
            name=about.get("name", ""),
            type=_choice(ContainerType, about.get("type", ""), "type of container"),
            files=tuple(self._files),
            locations=tuple(self._locations),
        )

    def _start_container(self, attributes: dict[str, str]) -> None:
        self._container = attributes

    def _start_location(self, attributes: dict[str, str]) -> None:
        if len(self._locations) >= _MAX_LOCATIONS:
            raise LimitExceeded(f"an index with more than {_MAX_LOCATIONS} locations")
        get = attributes.get
        self._locations.append(Location(get("id", ""), get("path", ""), get("flags", "")))

    def _start_file(self, attributes: dict[str, str]) -> None:
        if len(self._files) >= self._limits.files:
            raise LimitExceeded(f"an index of more than {self._limits.files} files")
        self._draft = _Draft(attributes)
        if self._draft.id in self._ids:
            raise DamagedPackage(f"two files with the id {self._draft.id}")
        self._ids.add(self._draft.id)

    def _add_hash(self, attributes: dict[str, str]) -> None:
        self._draft.hash = _stronger(self._draft.hash, attributes)

    def _start_delta(self, _attributes: dict[str, str]) -> None:
        if len(self._draft.recipes) >= _MAX_ALTERNATIVES:
            raise LimitExceeded(f"a file with more than {_MAX_ALTERNATIVES} deltas")
        self._draft.recipes.append(_RecipeDraft())

    def _set_source(self, attributes: dict[str, str]) -> None:
        recipe = self._draft.recipes[-1]
        if recipe.source is not None:
            raise DamagedPackage("a delta with two sources")
        recipe.source = attributes

    def _add_source_hash(self, attributes: dict[str, str]) -> None:
        recipe = self._draft.recipes[-1]
        recipe.hash = _stronger(recipe.hash, attributes)

    def _set_basis(self, attributes: dict[str, str]) -> None:
        recipe = self._draft.recipes[-1]
        if recipe.basis is not None:
            raise DamagedPackage("a delta with two bases")
        recipe.basis = attributes


class _RecipeDraft:
    """A `Delta` element while it is read."""

    def __init__(self) -> None:
        self.source: dict[str, str] | None = None
        self.basis: dict[str, str] | None = None
        self.hash: IndexHash | None = None

    def recipe(self) -> Recipe:
        source = None if self.source is None else _source(self.source, self.hash)
        if self.basis is None:
            if source is None:
                raise DamagedPackage("a delta without source and basis")
            return Recipe(source)
        if "file" not in self.basis:
            return Recipe(source, is_outside=True)
        return Recipe(source, _number(self.basis, "file"))


class _Draft:
    """A `File` element while it is read."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self._attributes = attributes
        self.id = _number(attributes, "id") if attributes else 0
        self.hash: IndexHash | None = None
        self.recipes: list[_RecipeDraft] = []

    def file(self) -> IndexedFile:
        stored_name = self._attributes.get("name", "")
        if self.hash is None:
            raise DamagedPackage(f"{stored_name[:200]} has no SHA-1 or SHA-256")
        if not self.recipes:
            raise DamagedPackage(f"{stored_name[:200]} comes from nowhere")
        return IndexedFile(
            id=self.id,
            name=_normal_name(stored_name),
            size_bytes=_number(self._attributes, "length"),
            written=_number(self._attributes, "time", 0),
            attributes=_number(self._attributes, "attr", 0),
            hash=self.hash,
            recipes=tuple(draft.recipe() for draft in self.recipes),
        )


def _source(attributes: dict[str, str], digest: IndexHash | None) -> Source:
    text = attributes.get("type", "").upper().removeprefix(_LONG_KIND)
    return Source(
        kind=_choice(SourceKind, text, "type of source"),
        member=attributes.get("name", "").replace("\\", "/"),
        offset=_number(attributes, "offset") if "offset" in attributes else None,
        size_bytes=_number(attributes, "length") if "length" in attributes else None,
        hash=digest,
    )


def _stronger(known: IndexHash | None, attributes: dict[str, str]) -> IndexHash | None:
    """The longer digest of a known one and the one in a `Hash` element.

    An element with further attributes is about a part of the bytes, or about other bytes.
    """
    algorithm = attributes.get("alg", "").upper()
    if algorithm not in _DIGEST_BYTES or not attributes.keys() <= {"alg", "value"}:
        return known
    try:
        digest = bytes.fromhex(attributes.get("value", ""))
    except ValueError as error:
        raise DamagedPackage("a digest that is no hexadecimal number") from error
    if len(digest) != _DIGEST_BYTES[algorithm]:
        raise DamagedPackage(f"a {algorithm} digest of {len(digest)} bytes")
    if known is not None and len(known.digest) >= len(digest):
        return known
    return IndexHash(algorithm.lower(), digest)


def _number(attributes: dict[str, str], name: str, default: int | None = None) -> int:
    text = attributes.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 20:
        raise DamagedPackage(f"{name}={(text or '')[:60]!r} in the container index")
    if int(text) > _MAX_NUMBER:
        raise DamagedPackage(f"{name}={text!r} in the container index")
    return int(text)


def _choice(kind: type[_Kind], text: str, about: str) -> _Kind:
    try:
        return kind(text)
    except ValueError as error:
        raise DamagedPackage(f"{about} {text[:60]!r} in the container index") from error


def _normal_name(stored: str) -> str:
    if not stored or stored[0] in "\\/" or stored[-1] in "\\/":
        raise UnsafePath(repr(stored)[:200])
    return paths.check(stored)


def _check_bases(index: ContainerIndex) -> None:
    """Refuse bases that are not there; with locations they may be files of the running system."""
    if index.locations:
        return
    known = {file.id for file in index.files}
    for file in index.files:
        for recipe in file.recipes:
            if recipe.basis is not None and recipe.basis not in known:
                raise DamagedPackage(
                    f"{file.name[:200]} is made from a file {recipe.basis}, which is not there"
                )


def _check_sizes(index: ContainerIndex, limits: PackageLimits) -> None:
    largest = max((file.size_bytes for file in index.files), default=0)
    if largest > limits.file_bytes or index.total_bytes > limits.total_bytes:
        raise LimitExceeded(f"an index of files with {index.total_bytes} bytes")
