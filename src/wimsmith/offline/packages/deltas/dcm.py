"""DCM manifests: XML stored as a delta against a base text that every Windows image carries."""

import re
from collections.abc import Iterator

from wimsmith.errors import DamagedDelta, DamagedInput, LimitExceeded, NotFound
from wimsmith.offline.manifests.xmlreader import MAX_XML_BYTES, parse_xml
from wimsmith.offline.packages.deltas.delta import apply_delta
from wimsmith.offline.packages.deltas.peresources import resources

MAGIC = b"DCM\x01"
_MAX_BASE_BYTES = 1 << 20
_MAX_MARKS = 16
_PROLOG = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml[ \t\r\n]")
_MARK = b'manifestVersion="1.0" description="Deployment"'
_END = b"</assembly>"
_NOT_TEXT = re.compile(rb"[^\t\r\n -~]")
_ZERO = re.compile(rb"\0")


def is_dcm(data: bytes) -> bool:
    """Whether a manifest is stored as DCM rather than as plain XML."""
    return data.startswith(MAGIC)


def expand_dcm(data: bytes, base_manifest: bytes) -> bytes:
    """XML of a DCM manifest. The format has no checksum: compare the result with a catalog.

    Args:
        data: the manifest as stored, with its magic.
        base_manifest: the base text, from `find_base_manifest`.

    Raises:
        DamagedDelta: not DCM, or the delta in it is broken.
        LimitExceeded: larger than any manifest.
        NotSupported: a kind of delta that manifests have not been seen with.
    """
    if not is_dcm(data):
        raise DamagedDelta("it does not start as a DCM manifest")
    return apply_delta(
        base_manifest, data[len(MAGIC) :], max_bytes=MAX_XML_BYTES, proved_elsewhere=True
    )


def find_base_manifest(wcp_dll: bytes) -> bytes:
    """The base text inside `wcp.dll` of a servicing stack: the likeliest candidate.

    Raises:
        NotFound: no such text in these bytes.
    """
    for candidate in base_manifest_candidates(wcp_dll):
        return candidate
    raise NotFound("the base manifest in this wcp.dll")


def base_manifest_candidates(wcp_dll: bytes) -> Iterator[bytes]:
    """Texts in `wcp.dll` that may be the base, the likeliest first, each once.

    Which is the right one shows when a manifest expanded with it has the hash that its catalog or
    its store states. Candidates are the resources of the library that hold the text, then the
    text itself from its XML prolog to the next byte that is no text, or that is zero.
    """
    seen: set[bytes] = set()
    for text in (*_resource_texts(wcp_dll), *_bare_texts(wcp_dll)):
        if text not in seen and _is_base(text):
            seen.add(text)
            yield text


def _resource_texts(library: bytes) -> Iterator[bytes]:
    try:
        yield from (data for data in resources(library) if _MARK in data)
    except DamagedInput:
        return


def _bare_texts(library: bytes) -> Iterator[bytes]:
    mark = library.find(_MARK)
    for _attempt in range(_MAX_MARKS):
        if mark < 0:
            return
        start = max(0, mark - _MAX_BASE_BYTES)
        prologs = [found.start() for found in _PROLOG.finditer(library, start, mark)]
        if prologs:
            for ending in (_NOT_TEXT, _ZERO):
                end = ending.search(library, mark)
                yield library[prologs[-1] : end.start() if end else len(library)]
        mark = library.find(_MARK, mark + len(_MARK))


def _is_base(text: bytes) -> bool:
    """Whether a text starts with a well-formed assembly; words to copy from may follow it."""
    end = text.find(_END)
    if end < 0 or len(text) > _MAX_BASE_BYTES or not _PROLOG.match(text):
        return False
    try:
        parse_xml(text[: end + len(_END)])
    except (DamagedInput, LimitExceeded):
        return False
    return True
