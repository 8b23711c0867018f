"""What the worker process does with folders and NTFS volumes: capture, apply, read back.

Loaded only for these verbs, so that the workers that only pack and unpack start soon.
"""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wimsmith.offline import paths
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.wim.format import tagged
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.format.document import ImageEdit
from wimsmith.offline.wim.format.lint import NameFindings
from wimsmith.offline.wim.format.tree import Attribute, Entry, Inode, Tree
from wimsmith.offline.wim.verbs.volumecheck import VolumeCheck, paths_of
from wimsmith.offline.wim.workers import _libwim, _libwim_volumes
from wimsmith.offline.wim.workers._libntfs import Volume
from wimsmith.offline.wim.workers._libwim_volumes import Listed, Scanned
from wimsmith.offline.wim.writing.finish import finish

Request = dict[str, Any]
Answer = tuple[dict[str, Any], bytes]
Attributes = tuple[tagged.ExtendedAttribute, ...]

_SPECIAL_LINKS = {
    0x80000013: "deduplicated",
    0x80000017: "system-compressed",
    0x80000008: "WIM-backed",
}
"""Reparse tags that Windows reads through, and who captures without Windows keeps as they are."""
_CLOUD, _CLOUD_MASK = 0x9000001A, 0xFFFF0FFF
_TWIN = "\0"


def capture(request: Request, progress: Progress) -> Answer:
    """Capture a folder or a volume into `part`; what was left out or is odd is the answer."""
    source, part = Path(request["source"]), Path(request["part"])
    extended = _read_extended(source, progress) if request["is_ntfs"] else {}
    compression = Compression(request["compression"])
    _libwim.set_compression_level(request["level"])
    with _libwim_volumes.new(compression, request["chunk_size"], progress) as wim:
        scanned = wim.add_image(
            source,
            Path(request["config"]),
            name=request["name"],
            is_ntfs=request["is_ntfs"],
            fix_links=request["fix_links"],
        )
        names = _odd_names(wim.names())
        answer = _scan_answer(scanned, names)
        if request["strict"] and (names.count or scanned.unsupported.count):
            return answer | {"written": False}, b""
        wim.write_part(part, threads=request["threads"], solid=request["solid"])
    with open_wim(part, codec := _libwim.LibwimCodec()) as written:
        tree = written.tree(1)
    answer["extended"] = _take_extended(extended, tree)
    answer["special"] = _special_links(tree)
    edit = ImageEdit(**request["edit"])
    finish(part, tree, edit, bootable=request["bootable"], codec=codec, progress=progress)
    return answer | {"written": True}, b""


def apply_volume(request: Request, progress: Progress) -> Answer:
    """Write an image into a volume, with the extended attributes that libwim leaves out."""
    source, volume = Path(request["source"]), Path(request["volume"])
    references = [Path(path) for path in request["references"]]
    with _libwim_volumes.VolumeHandle.open(source, progress) as wim:
        wim.refer_to(references)
        wim.extract_to_volume(request["index"], volume)
    with open_wim(source, _libwim.LibwimCodec(), references=references) as opened:
        tree = opened.tree(request["index"])
    extended = _give_extended(volume, tree, progress)
    _sync(volume)
    return {"extended": extended}, b""


def read_back(request: Request, progress: Progress) -> Answer:
    """Compare a volume with the image that was written to it."""
    references = [Path(path) for path in request["references"]]
    with open_wim(Path(request["source"]), _libwim.LibwimCodec(), references=references) as wim:
        check = VolumeCheck(
            wim.tree(request["index"]),
            wim.size_of,
            wim.read_blob,
            with_content=request["content"],
            progress=progress,
        )
        with Volume(Path(request["volume"])) as volume:
            found = check.run(volume)
    not_kept = {what: count for what, count in found.not_kept.items() if count}
    return {
        "entries": found.entries,
        "differences": found.differences,
        "first": found.first,
        "not_kept": not_kept,
    }, b""


def look(request: Request, progress: Progress) -> Answer:
    """Names in the root folder of a volume, and whether its Windows is hibernated."""
    progress(Event("Looking at the volume"))
    with Volume(Path(request["volume"])) as volume:
        is_hibernated = volume.first_bytes("hiberfil.sys", 4).lower() == b"hibr"
        return {"names": volume.root_names(), "hibernated": is_hibernated}, b""


VERBS = {"capture": capture, "apply-volume": apply_volume, "read-back": read_back, "look": look}


def _scan_answer(scanned: Scanned, names: NameFindings) -> dict[str, Any]:
    return {
        "directories": scanned.directories,
        "files": scanned.files,
        "size_bytes": scanned.size_bytes,
        "excluded": _plain(scanned.excluded),
        "unsupported": _plain(scanned.unsupported),
        "fixed_links": _plain(scanned.fixed_links),
        "kept_links": _plain(scanned.kept_links),
        "names": {
            "count": names.count,
            "first": [(one.path, one.fault.name) for one in names.first],
        },
    }


def _plain(listed: Listed) -> dict[str, Any]:
    return {"count": listed.count, "first": listed.first}


def _odd_names(names: list[tuple[int, str]]) -> NameFindings:
    """Names that Windows cannot use, before anything is written."""
    root = Entry("", "", Inode(Attribute.DIRECTORY))
    above: list[tuple[Entry, dict[str, Entry]]] = [(root, {})]
    for depth, name in names:
        if depth:
            del above[depth:]
            folder, siblings = above[-1]
            folder.children = siblings
            entry = Entry(name, "", folder.inode, folder)
            key = paths.fold(name)
            siblings[_TWIN + name if key in siblings else key] = entry
            above.append((entry, {}))
    findings = NameFindings()
    findings.look_at(Tree(root), 1)
    return findings


def _read_extended(volume: Path, progress: Progress) -> dict[tuple[str, ...], Attributes]:
    """Extended attributes by path.

    This comes before libwim scans the volume, since that follows directories which contain
    themselves without end, and this refuses them.
    """
    found = {}
    with Volume(volume) as opened:
        for done, (path, _name, facts) in enumerate(opened.walk()):
            progress(Event("Reading the volume", done, 0, "files"))
            if facts.extended:
                found[path] = tagged.from_volume(facts.extended)
    return found


def _take_extended(found: Mapping[tuple[str, ...], Attributes], tree: Tree) -> int:
    """Put extended attributes into a captured tree; count the files."""
    inodes = {
        entry.inode: attributes
        for path, entry in paths_of(tree)
        if (attributes := found.get(path)) is not None
    }
    for inode, attributes in inodes.items():
        inode.tagged += tagged.pack_extended(attributes)
    return len(inodes)


def _give_extended(volume: Path, tree: Tree, progress: Progress) -> int:
    """Give the files of a volume the extended attributes they have in the tree; count them."""
    wanted = {
        path: attributes
        for path, entry in paths_of(tree)
        if entry.inode.entries[0] is entry
        and entry.inode.tagged
        and (attributes := tagged.extended_of(entry.inode.tagged))
    }
    if wanted:
        with Volume(volume, writable=True) as opened:
            for done, (path, attributes) in enumerate(wanted.items()):
                progress(Event("Setting extended attributes", done, len(wanted), "files"))
                opened.set_extended(path, tagged.to_volume(attributes))
    return len(wanted)


def _special_links(tree: Tree) -> dict[str, int]:
    """How many files are read through by Windows, and so are not whole by themselves."""
    found: Counter[str] = Counter()
    for inode in tree.inodes():
        if inode.reparse is not None:
            tag = inode.reparse.tag
            kind = "cloud" if tag & _CLOUD_MASK == _CLOUD else _SPECIAL_LINKS.get(tag)
            found.update([kind] if kind else [])
    return dict(found)


def _sync(volume: Path) -> None:
    descriptor = os.open(volume, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
