"""DCM manifests and the base text they are deltas against."""

import hashlib
import lzma
import random
import struct
from pathlib import Path

import pytest

from offline.packages.interpreted import interpreted
from offline.packages.made import Copy, delta, patch_stream
from wimsmith.errors import DamagedDelta, DamagedInput, LimitExceeded, NotFound, WimsmithError
from wimsmith.offline.manifests.component import parse_component
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.manifests.xmlreader import MAX_XML_BYTES
from wimsmith.offline.packages.containers.cabinet import expand_cabinet
from wimsmith.offline.packages.deltas.dcm import (
    base_manifest_candidates,
    expand_dcm,
    find_base_manifest,
    is_dcm,
)
from wimsmith.offline.packages.deltas.peresources import resources
from wimsmith.offline.packages.trust.catalog import parse_catalog

BASE = (
    b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\r\n'
    b'<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0" '
    b'description="Deployment" displayName="Deployment">\r\n</assembly>\r\nwords to copy\r\n'
)


def program_with_resource(data: bytes, *, section_bytes: int = 0x2000) -> bytes:
    """A program file with one section that holds one resource of type 614."""
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    coff = struct.pack("<4sHHIIIHH", b"PE", 0x8664, 1, 0, 0, 0, 240, 0x2022)
    directories = bytes(16) + struct.pack("<II", 0x1000, section_bytes) + bytes(13 * 8)
    optional = struct.pack("<H", 0x20B).ljust(112, b"\0") + directories
    section = struct.pack(
        "<8sIIIIIIHHI", b".rsrc", section_bytes, 0x1000, section_bytes, 0x400, 0, 0, 0, 0, 0
    )
    tree = b"".join(
        struct.pack("<12xHHII", 0, 1, 614, target) for target in (0x8000_0018, 0x8000_0030, 0x48)
    )
    entry = struct.pack("<IIII", 0x1000 + 0x58, len(data), 0, 0)
    body = (tree + entry + data).ljust(section_bytes, b"Z")
    return (head + coff + optional + section).ljust(0x400, b"\0") + body


def test_a_manifest_expands_against_the_base() -> None:
    manifest = BASE[:56] + b"<assembly/>"
    stored = b"DCM\x01" + delta(
        patch_stream([Copy(56, slot=3), b"<assembly/>"]), manifest, digest=b"", algorithm=0
    )
    assert is_dcm(stored)
    assert expand_dcm(stored, BASE) == manifest


def test_other_bytes_are_no_dcm_manifest() -> None:
    for data in (b"", b"<?xml", b"DCM\x02" + bytes(60), b"DCM\x01" + bytes(60)):
        with pytest.raises(DamagedDelta):
            expand_dcm(data, BASE)


def test_a_manifest_cannot_grow_beyond_all_manifests() -> None:
    huge = delta(patch_stream([b"a"]), b"a", size=MAX_XML_BYTES + 1, digest=b"")
    with pytest.raises(LimitExceeded):
        expand_dcm(b"DCM\x01" + huge, BASE)


def test_the_base_is_found_as_a_resource_to_the_last_byte() -> None:
    library = program_with_resource(BASE)
    assert list(resources(library)) == [BASE]
    assert find_base_manifest(library) == BASE


def test_the_base_is_found_as_text_among_other_bytes() -> None:
    noise = random.Random(1).randbytes(3000)
    for library in (noise + BASE + b"\0" + noise, b"MZ" + BASE + b"\xff" + noise, BASE):
        assert find_base_manifest(library) == BASE


def test_a_library_without_base_says_so() -> None:
    unfinished = BASE.replace(b"</assembly>", b"")
    for library in (
        b"",
        b"MZ" + bytes(5000),
        unfinished,
        BASE.replace(b"<assembly ", b"<assembly <"),
    ):
        with pytest.raises(NotFound):
            find_base_manifest(library)


def test_each_candidate_comes_once() -> None:
    assert list(base_manifest_candidates(program_with_resource(BASE) + BASE)).count(BASE) == 1


def test_damaged_programs_are_refused_or_read() -> None:
    source = random.Random(3)
    good = program_with_resource(BASE)
    for _count in range(800):
        changed = bytearray(good)
        for _flip in range(3):
            changed[source.randrange(0x480)] = source.randrange(256)
        try:
            list(resources(bytes(changed)))
        except DamagedInput:
            continue


def test_the_golden_manifest(real: Path, base_manifest: bytes) -> None:
    stored = next((real / "dcm").glob("wow64_*.manifest")).read_bytes()
    golden = lzma.decompress((real / "dcm" / "wow64_golden.xml.xz").read_bytes())
    assert expand_dcm(stored, base_manifest) == golden
    in_python = interpreted()["delta"].apply_delta
    assert in_python(base_manifest, stored[4:], proved_elsewhere=True) == golden


def test_real_manifests_are_what_their_names_say(real: Path, base_manifest: bytes) -> None:
    stored = sorted((real / "dcm").glob("*.manifest"))
    assert len(stored) >= 4
    for path in stored:
        manifest = parse_component(expand_dcm(path.read_bytes(), base_manifest))
        assert keyform(manifest.identity) == path.stem


def test_real_packages_list_their_expanded_manifests(
    real: Path, base_manifest: bytes, tmp_path: Path
) -> None:
    expanded = 0
    for number, cabinet in enumerate(sorted((real / "cbs").glob("*nternet*.cab"))):
        files = expand_cabinet(cabinet, tmp_path / str(number))
        listed = {
            digest
            for file in files
            if file.name.endswith(".cat")
            for digest in parse_catalog(file.path.read_bytes()).hashes
        }
        for file in files:
            if file.name.endswith(".manifest") and is_dcm(data := file.path.read_bytes()):
                assert hashlib.sha256(expand_dcm(data, base_manifest)).digest() in listed
                expanded += 1
    assert expanded == 10


def test_mutated_real_manifests_end_in_bytes_or_in_our_errors(
    real: Path, base_manifest: bytes
) -> None:
    source = random.Random(5)
    for path in sorted((real / "dcm").glob("*.manifest"))[:2]:
        good = path.read_bytes()
        for _count in range(150):
            changed = bytearray(good)
            for _flip in range(source.randint(1, 3)):
                changed[source.randrange(4, len(changed))] ^= 1 << source.randrange(8)
            try:
                expand_dcm(bytes(changed), base_manifest)
            except WimsmithError:
                continue
