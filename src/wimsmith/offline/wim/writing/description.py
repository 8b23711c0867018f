"""The XML document of a new file: word for word what was said of each image that is as it was."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from xml.parsers import expat

from wimsmith.offline.wim.format.container import Wim
from wimsmith.offline.wim.format.document import MAX_XML_BYTES, Document, ImageEdit
from wimsmith.offline.wim.writing.plan import PlannedImage

_BOM = b"\xff\xfe"
_END = "</WIM>"
_IMAGE = "IMAGE"
_NUMBER = re.compile(r"(<IMAGE(?:\s[^<>]*?)?\sINDEX\s*=\s*)(\"[^\"<]*\"|'[^'<]*')")


def describe(images: Sequence[PlannedImage], total_bytes: int, now: int) -> bytes:
    """The document for these images, as UTF-16 with its byte-order mark.

    Args:
        images: in the order of the new file.
        total_bytes: size of the file without XML document and integrity table.
        now: FILETIME for images that were changed or made, where their edit names none.
    """
    head = _head(images, total_bytes)
    parts = [_text(image, number, now) for number, image in enumerate(images, 1)]
    return _BOM + "".join((head, *parts, _END)).encode("utf-16-le")


def _head(images: Sequence[PlannedImage], total_bytes: int) -> str:
    """All that stands before the images: attributes and further elements of the first source."""
    wims = [image.image.wim for image in images if image.image.wim is not None]
    document = Document(deepcopy(wims[0].document.root)) if wims else Document.new()
    for element in document.root.findall(_IMAGE):
        document.root.remove(element)
    document.set_total_bytes(total_bytes)
    return document.text().removesuffix(_END)


def _text(planned: PlannedImage, number: int, now: int) -> str:
    image = planned.image
    if image.wim is not None and image.is_described_as_before:
        text = image_text(image.wim, image.number)
        if text is not None and _NUMBER.match(text):
            return _NUMBER.sub(rf'\g<1>"{number}"', text, count=1)
    element = ET.Element(_IMAGE, {"INDEX": "1"})
    if image.wim is not None:
        element = deepcopy(_element(image.wim, image.number))
        element.set("INDEX", "1")
    element.tail = None
    document = Document.new()
    document.root.append(element)
    if planned.statistics is not None:
        document.set_statistics(1, planned.statistics)
    document.edit(1, _edit(planned, now))
    element.set("INDEX", str(number))
    return ET.tostring(element, encoding="unicode")


def _edit(planned: PlannedImage, now: int) -> ImageEdit:
    image, edit = planned.image, planned.image.edit
    if image.tree is None:
        return edit
    is_new = image.wim is None
    return replace(
        edit,
        modified=now if edit.modified is None else edit.modified,
        created=now if edit.created is None and is_new else edit.created,
    )


def _element(wim: Wim, number: int) -> ET.Element:
    elements = wim.document.root.findall(_IMAGE)
    for element in elements:
        if element.get("INDEX") == str(number):
            return element
    return elements[number - 1]  # numbered by their order alone


def image_text(wim: Wim, number: int) -> str | None:
    """What the document of an open file says of an image, to the letter.

    None if it cannot be told apart from the rest of the document.
    """
    raw = wim.resources.read(wim.header.xml, "the XML document", MAX_XML_BYTES)
    text = raw.removeprefix(_BOM).decode("utf-16-le").rstrip("\0").encode()
    spans: list[tuple[int, int, str | None]] = []
    depth = start = 0
    parser = expat.ParserCreate("UTF-8")
    index: str | None = None

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, start, index
        depth += 1
        if depth == 2 and name == _IMAGE:
            start, index = parser.CurrentByteIndex, attributes.get("INDEX")

    def end(name: str) -> None:
        nonlocal depth
        if depth == 2 and name == _IMAGE:
            spans.append((start, text.find(b">", parser.CurrentByteIndex) + 1, index))
        depth -= 1

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.Parse(text, True)
    for first, last, found in spans:
        if found == str(number) and text[first:last].endswith(b"</IMAGE>"):
            return text[first:last].decode()
    return None
