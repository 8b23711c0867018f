"""`wimsmith wim info`: what a WIM file says of itself and its images."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from wimsmith.cli.output import (
    human_size,
    options,
    print_facts,
    print_json,
    print_line,
    print_table,
)
from wimsmith.cli.wimfile import open_file, time_text
from wimsmith.offline.wim.format.container import Wim
from wimsmith.offline.wim.format.document import MAX_XML_BYTES, ImageInfo, WindowsInfo
from wimsmith.offline.wim.format.header import Flag

_ARCHITECTURES = {0: "x86", 5: "arm", 6: "ia64", 9: "amd64", 12: "arm64"}
_FLAGS = {
    "compressed": Flag.COMPRESSED,
    "read-only": Flag.READ_ONLY,
    "spanned": Flag.SPANNED,
    "resource-only": Flag.RESOURCE_ONLY,
    "metadata-only": Flag.METADATA_ONLY,
    "write-in-progress": Flag.WRITE_IN_PROGRESS,
    "relative-links": Flag.RELATIVE_LINKS,
    "xpress": Flag.XPRESS,
    "lzx": Flag.LZX,
    "lzms": Flag.LZMS,
}


def info(
    file: Path,
    index: int | None = None,
    *,
    long: Annotated[bool, Parameter(alias="-l", negative="")] = False,
    xml: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Show a WIM file and the images that it holds.

    Args:
        file: WIM file.
        index: Number of an image, from 1: show all that the file says of this one.
        long: Show all of every image.
        xml: Print the XML document of the file as it is stored, converted to UTF-8.
    """
    with open_file(file) as wim:
        if xml:
            _print_xml(wim)
            return
        chosen = wim.images if index is None else (wim.image(index),)
        facts = _file_facts(wim)
        images = [_image_facts(image, wim.header.boot_index) for image in chosen]
    if options.json:
        print_json(facts | {"images": images} if index is None else images[0])
        return
    if index is None:
        _print_file(facts)
    if long or index is not None:
        _print_images(images, separated=index is None)
    else:
        print_line()
        _print_table(images)


def _print_xml(wim: Wim) -> None:
    raw = wim.resources.read(wim.header.xml, "the XML document", MAX_XML_BYTES)
    text = raw.decode("utf-16", "replace").rstrip("\0")
    if options.json:
        print_json({"xml": text})
    else:
        print_line(text)


def _file_facts(wim: Wim) -> dict[str, Any]:
    header = wim.header
    return {
        "path": str(wim.path),
        "size_bytes": wim.file_bytes,
        "compression": wim.compression.value,
        "chunk_size_bytes": wim.chunk_size,
        "kinds": list(wim.kinds),
        "solid": wim.is_solid,
        "part": header.part_number,
        "parts": header.total_parts,
        "flags": [name for name, bit in _FLAGS.items() if header.flags & bit],
        "version": f"{header.version >> 16}.{header.version >> 8 & 0xFF}",
        "boot_index": header.boot_index,
        "integrity_table": bool(header.integrity.stored_bytes),
        "guid": header.guid,
        "contents": len(wim.blobs),
        "content_bytes": sum(blob.size_bytes for blob in wim.blobs.values()),
    }


def _image_facts(image: ImageInfo, boot_index: int) -> dict[str, Any]:
    facts = asdict(image)
    for key in ("created", "modified"):
        facts[key] = time_text(facts[key])
    facts["boot"] = image.number == boot_index
    facts["architecture"] = facts["version"] = None
    if image.windows is not None:
        facts["architecture"] = _architecture(image.windows)
        facts["version"] = _version(image.windows)
    return facts


def _print_file(facts: Mapping[str, Any]) -> None:
    shown = dict(facts)
    shown["part"] = f"{facts['part']} of {facts['parts']}" if facts["parts"] > 1 else None
    shown["parts"] = None
    shown["flags"] = ", ".join(facts["flags"])
    shown["kinds"] = ", ".join(facts["kinds"])
    shown["solid"] = None
    shown["chunk_size_bytes"] = facts["chunk_size_bytes"] or None
    print_facts({_label(name): _shown(name, value) for name, value in shown.items()})


def _print_table(images: Iterable[Mapping[str, Any]]) -> None:
    columns = ("index", "name", "version", "architecture", "files", "size", "modified")
    rows = [
        (
            image["number"],
            image["display_name"] or image["name"],
            image["version"],
            image["architecture"],
            image["file_count"],
            human_size(image["total_bytes"]),
            image["modified"],
        )
        for image in images
    ]
    print_table(columns, rows)


def _print_images(images: Iterable[Mapping[str, Any]], *, separated: bool) -> None:
    for image in images:
        if separated:
            print_line()
        print_facts(_long_facts(image))


def _long_facts(image: Mapping[str, Any]) -> dict[str, object]:
    """All facts of an image, those of Windows in the order in which DISM shows them."""
    windows = image["windows"] or {}
    languages = [
        f"{language} (default)" if language == windows["default_language"] else language
        for language in windows.get("languages", ())
    ]
    return {
        "index": image["number"],
        "name": image["name"],
        "description": image["description"],
        "display name": image["display_name"],
        "display description": image["display_description"],
        "flags": image["flags"],
        "size": _shown("total_bytes", image["total_bytes"]),
        "hard link bytes": _shown("hard_link_bytes", image["hard_link_bytes"]),
        "folders": image["directory_count"],
        "files": image["file_count"],
        "created": image["created"],
        "modified": image["modified"],
        "bootable": image["boot"],
        "WIMBoot": image["wimboot"],
        "architecture": image["architecture"],
        "product name": windows.get("product_name"),
        "edition": windows.get("edition_id"),
        "installation": windows.get("installation_type"),
        "product type": windows.get("product_type"),
        "product suite": windows.get("product_suite"),
        "HAL": windows.get("hal"),
        "version": image["version"],
        "branch": windows.get("branch"),
        "service pack build": windows.get("service_pack_build"),
        "service pack level": windows.get("service_pack_level"),
        "languages": ", ".join(languages),
        "system root": windows.get("system_root"),
    }


def _label(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")


def _shown(name: str, value: object) -> object:
    if name.endswith("_bytes") and value is not None:
        return human_size(int(str(value)))
    return value.hex() if isinstance(value, bytes) else value


def _architecture(windows: WindowsInfo) -> str | None:
    number = windows.architecture
    return None if number is None else _ARCHITECTURES.get(number, str(number))


def _version(windows: WindowsInfo) -> str | None:
    if windows.build is None:
        return None
    return f"{windows.major}.{windows.minor}.{windows.build}.{windows.service_pack_build or 0}"
