"""XML of manifests, read with limits: what comes out is an `xml.etree.ElementTree.Element`.

Manifests are foreign bytes. Document types and entities are refused, which closes every way of
making a small document large; size, depth, count and name length are bounded besides.
"""

import codecs
from collections.abc import Iterator
from typing import NoReturn, Protocol
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from wimsmith.errors import DamagedManifest, LimitExceeded

MAX_XML_BYTES = 64 << 20
MAX_DEPTH = 64
MAX_NODES = 2_000_000
MAX_NAME_CHARACTERS = 1024
_CHUNK_BYTES = 1 << 20

ASSEMBLY_NAMESPACES = frozenset(
    f"urn:schemas-microsoft-com:asm.v{version}" for version in (1, 2, 3)
)
SIGNATURE_NAMESPACE = "http://www.w3.org/2000/09/xmldsig#"


class XmlTarget(Protocol):
    """Takes what an XML document holds, piece by piece, as `TreeBuilder` does."""

    def start(self, tag: str, attrs: dict[str, str], /) -> object:
        """An element begins."""

    def end(self, tag: str, /) -> object:
        """An element ends."""

    def data(self, data: str, /) -> object:
        """Text between elements."""


def parse_xml(data: bytes) -> Element:
    """The root element of an XML document; names are `{namespace}local` as ElementTree has them.

    Raises:
        DamagedManifest: not well formed, or it has a document type or entities.
        LimitExceeded: more than 64 MiB, 64 levels, or 2 million elements and attributes.
    """
    builder = TreeBuilder()
    read_xml(data, builder)
    return builder.close()


def read_xml(data: bytes, target: XmlTarget, *, max_nodes: int | None = None) -> None:
    """Give `target` what an XML document holds, without keeping it all in memory.

    A mark of UTF-16 at the start counts more than the encoding that the document declares: texts
    that were converted keep their old declaration.

    Raises:
        DamagedManifest: not well formed, or it has a document type or entities.
        LimitExceeded: more than 64 MiB, 64 levels, or `max_nodes` elements and attributes (2
            million if it is not given).
    """
    if len(data) > MAX_XML_BYTES:
        raise LimitExceeded(f"an XML document of {len(data)} bytes")
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    reader = _Reader(target, "UTF-16" if marked else None, max_nodes or MAX_NODES)
    try:
        for start in range(0, len(data), _CHUNK_BYTES):
            reader.feed(data[start : start + _CHUNK_BYTES])
        reader.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise DamagedManifest(f"not XML: {error}") from error


def local_name(element: Element) -> str:
    """Name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def namespace(element: Element) -> str:
    """Namespace of an element, or the empty text."""
    return element.tag[1:].rpartition("}")[0] if element.tag.startswith("{") else ""


def is_assembly_element(element: Element) -> bool:
    """Whether the element is in one of the namespaces of assembly manifests."""
    return namespace(element) in ASSEMBLY_NAMESPACES


def children(element: Element, name: str) -> Iterator[Element]:
    """Children of an element in an assembly namespace that have this local name."""
    for child in element:
        if local_name(child) == name and is_assembly_element(child):
            yield child


def child(element: Element, name: str) -> Element | None:
    """The first of `children`, or None."""
    return next(children(element, name), None)


def attribute(element: Element, name: str) -> str:
    """Value of an attribute without namespace; an absent one reads as empty."""
    return element.get(name, "")


def flag(element: Element, name: str, *, default: bool | None = None) -> bool | None:
    """Value of a yes/no attribute.

    Raises:
        DamagedManifest: neither true/yes/1 nor false/no/0.
    """
    text = element.get(name)
    if text is None:
        return default
    if text.lower() in {"true", "yes", "1"}:
        return True
    if text.lower() in {"false", "no", "0"}:
        return False
    raise DamagedManifest(f"{local_name(element)} {name}={text[:60]!r}")


class _Reader:
    def __init__(self, target: XmlTarget, encoding: str | None, max_nodes: int) -> None:
        self._target = target
        self._depth = 0
        self._nodes = 0
        self._max_nodes = max_nodes
        parser = expat.ParserCreate(encoding, namespace_separator="}")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = target.data
        parser.StartDoctypeDeclHandler = _refuse
        parser.EntityDeclHandler = _refuse
        self._parser = parser

    def feed(self, chunk: bytes) -> None:
        self._parser.Parse(chunk, False)

    def close(self) -> None:
        self._parser.Parse(b"", True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._nodes += 1 + len(attributes)
        if self._depth > MAX_DEPTH or self._nodes > self._max_nodes:
            raise LimitExceeded("an XML document with too many levels or elements")
        named = {_qualified(key): value for key, value in attributes.items()}
        self._target.start(_qualified(name), named)

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._target.end(_qualified(name))


def _qualified(name: str) -> str:
    if len(name) > MAX_NAME_CHARACTERS:
        raise LimitExceeded("an XML document with overlong names")
    return "{" + name if "}" in name else name


def _refuse(*_about: object) -> NoReturn:
    raise DamagedManifest("it has a document type or entities, which manifests never have")
