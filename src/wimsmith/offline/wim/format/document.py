"""The XML document of a WIM: facts about its images, in UTF-16.

Elements that nobody here knows are kept. A document with a DTD is refused, so that no entity
can grow.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from xml.parsers import expat

from wimsmith.errors import DamagedWim, InvalidInput, NotSupported
from wimsmith.offline.wim.format import remedies
from wimsmith.offline.wim.format.tree import Statistics

MAX_XML_BYTES = 1 << 22
MAX_XML_DEPTH = 64
_BOM = b"\xff\xfe"
_EMPTY = "<WIM></WIM>"
_U64 = 1 << 64
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class WindowsInfo:
    """The WINDOWS block: what the files of an image say they are. None where it says nothing.

    `architecture`: 0 x86, 5 ARM, 9 amd64, 12 ARM64. `service_pack_build` is the revision, the
    fourth number of a Windows 10 version.
    """

    architecture: int | None = None
    product_name: str | None = None
    edition_id: str | None = None
    installation_type: str | None = None
    hal: str | None = None
    product_type: str | None = None
    product_suite: str | None = None
    languages: tuple[str, ...] = ()
    default_language: str | None = None
    major: int | None = None
    minor: int | None = None
    build: int | None = None
    service_pack_build: int | None = None
    service_pack_level: int | None = None
    branch: str | None = None
    system_root: str | None = None


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the document says of one image. Times are FILETIME, None where absent.

    `wimboot`: the image was made for computers that run from the WIM file (Windows 8.1).
    """

    number: int
    name: str = ""
    description: str = ""
    flags: str = ""
    display_name: str = ""
    display_description: str = ""
    directory_count: int = 0
    file_count: int = 0
    total_bytes: int = 0
    hard_link_bytes: int = 0
    created: int | None = None
    modified: int | None = None
    wimboot: bool = False
    windows: WindowsInfo | None = None


@dataclass(frozen=True, slots=True)
class ImageEdit:
    """What to write about an image; None and what is absent stay as they are.

    `values` sets the text of any element, by path below IMAGE: `WINDOWS/VERSION/SPBUILD`.
    """

    name: str | None = None
    description: str | None = None
    flags: str | None = None
    display_name: str | None = None
    display_description: str | None = None
    created: int | None = None
    modified: int | None = None
    windows: WindowsInfo | None = None
    values: Mapping[str, str] = field(default_factory=dict)


_TEXTS = {
    "name": "NAME",
    "description": "DESCRIPTION",
    "flags": "FLAGS",
    "display_name": "DISPLAYNAME",
    "display_description": "DISPLAYDESCRIPTION",
}
_WINDOWS_TEXTS = {
    "product_name": "PRODUCTNAME",
    "edition_id": "EDITIONID",
    "installation_type": "INSTALLATIONTYPE",
    "hal": "HAL",
    "product_type": "PRODUCTTYPE",
    "product_suite": "PRODUCTSUITE",
    "branch": "VERSION/BRANCH",
    "system_root": "SYSTEMROOT",
}
_WINDOWS_NUMBERS = {
    "architecture": "ARCH",
    "major": "VERSION/MAJOR",
    "minor": "VERSION/MINOR",
    "build": "VERSION/BUILD",
    "service_pack_build": "VERSION/SPBUILD",
    "service_pack_level": "VERSION/SPLEVEL",
}
_STATISTICS = {
    "directories": "DIRCOUNT",
    "files": "FILECOUNT",
    "total_bytes": "TOTALBYTES",
    "hard_link_bytes": "HARDLINKBYTES",
}


class Document:
    """The XML document of a WIM, read or new, that can be edited."""

    def __init__(self, root: ET.Element) -> None:
        self.root = root

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a document; no bytes at all are an empty one.

        Raises:
            DamagedWim: not UTF-16, not well-formed, or with a DTD.
            NotSupported: the file is an encrypted ESD.
        """
        try:
            text = data.removeprefix(_BOM).decode("utf-16-le") if data else _EMPTY
            root = _element_tree(text.rstrip("\0"))
        except (expat.ExpatError, UnicodeDecodeError, ValueError) as error:
            raise DamagedWim(f"the XML document: {error}") from error
        if root.tag == "ESD" or root.find("ESD/ENCRYPTED") is not None:
            raise NotSupported("encrypted-esd", "an encrypted ESD file", hint=remedies.DECRYPT)
        return cls(root)

    @classmethod
    def new(cls) -> Self:
        """A document without images."""
        return cls(ET.Element("WIM"))

    def serialize(self) -> bytes:
        """The document as UTF-16 with its byte-order mark."""
        return _BOM + self.text().encode("utf-16-le")

    def text(self) -> str:
        """The document as text."""
        return ET.tostring(self.root, encoding="unicode")

    def images(self, count: int) -> tuple[ImageInfo, ...]:
        """Facts of images 1 to `count`.

        Raises:
            DamagedWim: an image is missing, described twice, or numbered otherwise.
        """
        elements = self._elements()
        if len(elements) != count:
            raise DamagedWim(f"the XML document describes {len(elements)} of {count} images")
        by_number: dict[int, ET.Element] = {}
        for position, element in enumerate(elements, 1):
            by_number[_whole(element.get("INDEX"), position)] = element
        if sorted(by_number) != list(range(1, count + 1)):
            raise DamagedWim(f"the XML document numbers the images {sorted(by_number)[:20]}")
        return tuple(_image(number, by_number[number]) for number in range(1, count + 1))

    def keep(self, numbers: Sequence[int]) -> None:
        """Keep these images, in this order, numbered from 1."""
        by_number = {
            _whole(element.get("INDEX"), position): element
            for position, element in enumerate(self._elements(), 1)
        }
        for element in by_number.values():
            self.root.remove(element)
        for new_number, number in enumerate(numbers, 1):
            by_number[number].set("INDEX", str(new_number))
            self.root.append(by_number[number])

    def append_image(self) -> int:
        """Add an image without facts; return its number."""
        number = len(self._elements()) + 1
        ET.SubElement(self.root, "IMAGE", {"INDEX": str(number)})
        return number

    def edit(self, number: int, edit: ImageEdit) -> None:
        """Write what an edit says of image `number`."""
        image = self._image(number)
        for name, path in _TEXTS.items():
            _set_optional(image, path, getattr(edit, name))
        if edit.created is not None:
            _set_time(image, "CREATIONTIME", edit.created)
        if edit.modified is not None:
            _set_time(image, "LASTMODIFICATIONTIME", edit.modified)
        if edit.windows is not None:
            _set_windows(image, edit.windows)
        for path, text in edit.values.items():
            _set(image, path, text)

    def set_statistics(self, number: int, statistics: Statistics) -> None:
        """Write counts and sizes of image `number`."""
        for name, path in _STATISTICS.items():
            _set(self._image(number), path, str(getattr(statistics, name)))

    def set_total_bytes(self, total_bytes: int) -> None:
        """Write the size of the file without XML and integrity table."""
        _set(self.root, "TOTALBYTES", str(total_bytes))

    def _elements(self) -> list[ET.Element]:
        return self.root.findall("IMAGE")

    def _image(self, number: int) -> ET.Element:
        for position, element in enumerate(self._elements(), 1):
            if _whole(element.get("INDEX"), position) == number:
                return element
        raise DamagedWim(f"the XML document has no image {number}")


def _element_tree(text: str) -> ET.Element:
    """The elements of a document, with the names they have: prefixes are not looked up."""
    builder = _Builder(insert_comments=True, insert_pis=True)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.CommentHandler = builder.comment
    parser.ProcessingInstructionHandler = builder.pi
    parser.Parse(text, True)
    return builder.close()


def _refuse_doctype(*_about: object) -> None:
    raise DamagedWim("the XML document has a DTD")


class _Builder(ET.TreeBuilder):
    """Builds the tree, refusing elements nested too deep."""

    depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:
        self.depth += 1
        if self.depth > MAX_XML_DEPTH:
            raise DamagedWim(f"the XML document nests more than {MAX_XML_DEPTH} elements")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        self.depth -= 1
        return super().end(tag)


def _image(number: int, element: ET.Element) -> ImageInfo:
    windows = element.find("WINDOWS")
    return ImageInfo(
        number=number,
        **{name: _text(element, path) or "" for name, path in _TEXTS.items()},
        directory_count=_number(element, "DIRCOUNT") or 0,
        file_count=_number(element, "FILECOUNT") or 0,
        total_bytes=_number(element, "TOTALBYTES") or 0,
        hard_link_bytes=_number(element, "HARDLINKBYTES") or 0,
        created=_time(element, "CREATIONTIME"),
        modified=_time(element, "LASTMODIFICATIONTIME"),
        wimboot=_number(element, "WIMBOOT") == 1,
        windows=None if windows is None else _windows(windows),
    )


def _windows(element: ET.Element) -> WindowsInfo:
    facts: dict[str, Any] = {name: _text(element, path) for name, path in _WINDOWS_TEXTS.items()}
    facts |= {name: _number(element, path) for name, path in _WINDOWS_NUMBERS.items()}
    languages = tuple(one.text or "" for one in element.findall("LANGUAGES/LANGUAGE"))
    default = _text(element, "LANGUAGES/DEFAULT")
    return WindowsInfo(**facts, languages=languages, default_language=default)


def _set_windows(image: ET.Element, windows: WindowsInfo) -> None:
    block = _element(image, "WINDOWS")
    for name, path in (_WINDOWS_NUMBERS | _WINDOWS_TEXTS).items():
        value = getattr(windows, name)
        _set_optional(block, path, None if value is None else str(value))
    if windows.languages:
        languages = _element(block, "LANGUAGES")
        for old in languages.findall("LANGUAGE"):
            languages.remove(old)
        for position, language in enumerate(windows.languages):
            one = ET.Element("LANGUAGE")
            one.text = language
            languages.insert(position, one)
    _set_optional(block, "LANGUAGES/DEFAULT", windows.default_language)


def _text(element: ET.Element, path: str) -> str | None:
    found = element.find(path)
    return None if found is None else (found.text or "")


def _number(element: ET.Element, path: str) -> int | None:
    """A decimal number, or None where it is absent or something else."""
    text = (_text(element, path) or "").strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= 20
    return int(text) if is_number else None


def _whole(text: str | None, otherwise: int) -> int:
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) <= 10
    return int(text) if text is not None and is_number else otherwise


def _time(element: ET.Element, path: str) -> int | None:
    high, low = (_text(element, f"{path}/{half}") for half in ("HIGHPART", "LOWPART"))
    try:
        value = int(high or "", 16) << 32 | int(low or "", 16)
    except ValueError:
        return None
    return value if 0 <= value < _U64 else None


def _set_time(image: ET.Element, path: str, filetime: int) -> None:
    _set(image, f"{path}/HIGHPART", f"0x{filetime >> 32:08X}")
    _set(image, f"{path}/LOWPART", f"0x{filetime & 0xFFFF_FFFF:08X}")


def _set_optional(element: ET.Element, path: str, text: str | None) -> None:
    if text is not None:
        _set(element, path, text)


def _set(element: ET.Element, path: str, text: str) -> None:
    if _NOT_XML.search(text):
        raise InvalidInput(f"{text!r} has characters that an XML document cannot hold"[:300])
    _element(element, path).text = text


def _element(element: ET.Element, path: str) -> ET.Element:
    """The element at a path of plain names, made where it is missing."""
    for name in path.split("/"):
        found = element.find(name)
        element = ET.SubElement(element, name) if found is None else found
    return element
