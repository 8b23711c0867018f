"""Generated updates: unpacked by 7-Zip and cabextract, compared with real packages."""

import hashlib
import re
import subprocess
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from asn1crypto import cms

from practice.outside import run
from wimsmith.practice.everything import EVERY_TYPE
from wimsmith.practice.names import Identity, component_key
from wimsmith.practice.presets import preset, preset_names
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Container, Generation
from wimsmith.practice.updates import build_update

ASM = "{urn:schemas-microsoft-com:asm.v3}"
DSIG = "{http://www.w3.org/2000/09/xmldsig#}"
DAMAGED = {"corrupt-payload", "corrupt-manifest", "missing-payload", "truncated"}
UNTRUSTED = {"unsigned", "foreign-root", "wrong-catalog", "broken-signature"}
WRAPPED = {"container-index", "wim-update"}
INDEX = "{urn:ContainerIndex}"


def unpack(path: Path, target: Path) -> dict[str, bytes]:
    """Files of an update's payload cabinet as cabextract unpacks them."""
    run("cabextract", "-q", "-d", target, path)
    for inner in target.glob("windows-practice-*.cab"):
        return unpack(inner, target / "payload")
    return {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file()
    }


def make(name: str, folder: Path, root: PracticeRoot, generation: Generation) -> Path:
    spec = preset(name, generation)
    return build_update(spec, folder / spec.file_name, root=root)


def manifests(files: dict[str, bytes]) -> Iterator[tuple[str, ET.Element]]:
    for name, data in files.items():
        if name.endswith((".manifest", ".mum")):
            yield name, ET.fromstring(data)


def identity_of(root: ET.Element) -> Identity:
    found = root.find(f"{ASM}assemblyIdentity")
    assert found is not None
    return Identity(
        found.attrib["name"],
        found.attrib["version"],
        found.attrib["processorArchitecture"],
        found.attrib["language"],
        found.attrib["publicKeyToken"],
        found.get("versionScope", ""),
        found.get("type", ""),
    )


def catalogued(files: dict[str, bytes], catalog: str) -> set[str]:
    """SHA-1 digests, in hexadecimal, that a catalog vouches for."""
    content = cms.ContentInfo.load(files[catalog])["content"]["encap_content_info"]["content"]
    data = content.contents
    digests = {data[at + 2 : at + 22].hex() for at in _starts(data, b"\x04\x14")}
    early = {bytes.fromhex(data[at + 2 : at + 82].decode("utf-16-le")).hex() for at in _tags(data)}
    return digests | early


def _starts(data: bytes, mark: bytes) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(mark), data)]


def _tags(data: bytes) -> list[int]:
    pattern = rb"\x04\x52(?:[0-9A-F]\x00){40}\x00\x00"
    return [match.start() for match in re.finditer(pattern, data)]


@pytest.mark.parametrize("name", sorted(set(preset_names()) - WRAPPED - {"truncated"}))
def test_every_preset_unpacks(
    name: str, tmp_path: Path, root: PracticeRoot, generation: Generation
) -> None:
    path = make(name, tmp_path, root, generation)
    run("7z", "t", path)
    files = unpack(path, tmp_path / "out")
    assert files["update.mum"] in [
        data for one, data in files.items() if one.endswith(".mum") and one != "update.mum"
    ]
    assert files["update.cat"] in [
        data for one, data in files.items() if one.endswith(".cat") and one != "update.cat"
    ]


def test_members_of_an_index_are_what_it_says(
    tmp_path: Path, root: PracticeRoot, generation: Generation
) -> None:
    path = make("container-index", tmp_path, root, generation)
    members = unpack(path, tmp_path / "out")
    files = list(ET.fromstring(members["_manifest_.cix.xml"]).iter(f"{INDEX}File"))
    digests = {file.attrib["id"]: file.find(f"{INDEX}Hash") for file in files}
    kinds: Counter[str] = Counter()
    for file in files:
        source = file.find(f"{INDEX}Delta/{INDEX}Source")
        basis = file.find(f"{INDEX}Delta/{INDEX}Basis")
        own = digests[file.attrib["id"]]
        assert own is not None
        if source is None:
            assert basis is not None
            of_basis = digests[basis.attrib["file"]]
            assert of_basis is not None
            assert of_basis.attrib == own.attrib
            kinds["copy"] += 1
            continue
        stated = source.find(f"{INDEX}Hash")
        assert stated is not None
        stored = members[source.attrib["name"]]
        assert hashlib.new(stated.attrib["alg"], stored).hexdigest() == stated.attrib["value"]
        kinds[source.attrib["type"]] += 1
        if source.attrib["type"] == "RAW":
            assert (stated.attrib, str(len(stored))) == (own.attrib, file.attrib["length"])
    assert kinds["PA30"] == 2
    assert kinds["copy"] >= 4
    assert {file.attrib["name"] for file in files} >= {"update.mum", "update-bf.mum"}


def test_a_wim_update_is_a_wim_file_to_others(tmp_path: Path, root: PracticeRoot) -> None:
    path = make("wim-update", tmp_path, root, Generation.WINDOWS_11)
    assert path.suffix == ".msu"
    run("wimlib-imagex", "apply", path, "1", tmp_path / "out")
    found = {one.name.removeprefix(path.stem) for one in (tmp_path / "out").iterdir()}
    assert found == {
        ".psf",
        ".wim",
        "-pkgProperties.txt",
        "SSU-26100.1000-x64.cab",
        "DesktopDeployment.cab",
        "onepackage.AggregatedMetadata.cab",
    }
    run("wimlib-imagex", "apply", tmp_path / "out" / f"{path.stem}.wim", "1", tmp_path / "inner")
    assert (tmp_path / "inner" / "update.mum").is_file()
    assert not list(tmp_path.glob("*.inner"))


def test_a_truncated_update_does_not_unpack(tmp_path: Path, root: PracticeRoot) -> None:
    path = make("truncated", tmp_path, root, Generation.WINDOWS_10)
    result = subprocess.run(["7z", "t", path], check=False, capture_output=True)
    assert result.returncode != 0


@pytest.mark.parametrize("name", sorted(set(preset_names()) - DAMAGED - UNTRUSTED - WRAPPED))
def test_manifests_digests_names_and_catalogs_agree(
    name: str, tmp_path: Path, root: PracticeRoot, generation: Generation
) -> None:
    files = unpack(make(name, tmp_path, root, generation), tmp_path / "out")
    vouched = set().union(*(catalogued(files, one) for one in files if one.endswith(".cat")))
    for path, manifest in manifests(files):
        assert hashlib.sha1(files[path]).hexdigest() in vouched
        identity = identity_of(manifest)
        stem = path.rpartition(".")[0]
        if path.endswith(".manifest"):
            assert stem == component_key(identity)
        elif path != "update.mum":
            assert stem == identity.package_name
        for file in manifest.iter(f"{ASM}file"):
            _check_digest(file, files[f"{stem}/{file.attrib['name']}"])


def _check_digest(file: ET.Element, data: bytes) -> None:
    method = file.find(f".//{DSIG}DigestMethod")
    value = file.find(f".//{DSIG}DigestValue")
    assert method is not None
    assert value is not None
    digest = hashlib.new(method.attrib["Algorithm"].rpartition("#")[2], data).digest()
    assert digest == b64decode(value.text or "")


@pytest.mark.parametrize(
    ("name", "payload_is_right", "manifests_are_right"),
    [
        ("corrupt-payload", False, True),
        ("corrupt-manifest", True, False),
        ("wrong-catalog", True, False),
        ("small", True, True),
    ],
)
def test_damage_is_where_it_is_promised(
    name: str,
    payload_is_right: bool,
    manifests_are_right: bool,
    tmp_path: Path,
    root: PracticeRoot,
) -> None:
    files = unpack(make(name, tmp_path, root, Generation.WINDOWS_10), tmp_path / "out")
    vouched = catalogued(files, "update.cat")
    found = [hashlib.sha1(files[path]).hexdigest() in vouched for path, _ in manifests(files)]
    assert all(found) is manifests_are_right
    payload = []
    for path, manifest in manifests(files):
        for file in manifest.iter(f"{ASM}file"):
            data = files[f"{path.rpartition('.')[0]}/{file.attrib['name']}"]
            value = file.find(f".//{DSIG}DigestValue")
            assert value is not None
            payload.append(hashlib.sha256(data).digest() == b64decode(value.text or ""))
    assert all(payload) is payload_is_right


def test_file_hashes_are_those_of_the_stored_files(tmp_path: Path, root: PracticeRoot) -> None:
    files = unpack(make("rollup", tmp_path, root, Generation.WINDOWS_10), tmp_path / "out")
    text = files.pop("$filehashes$.dat").decode("utf-16")
    for section in ("sha1", "sha256"):
        block = text.partition(f"[{section}]")[2].partition("[")[0]
        rows = dict(line.rsplit("=", 1) for line in block.split("\r\n") if "=" in line)
        assert {path.replace("\\", "/") for path in rows} == set(files)
        for path, row in rows.items():
            data = files[path.replace("\\", "/")]
            digest = hashlib.new(section, data).hexdigest().upper()
            assert row == f"{digest},{len(data):X}"


def test_the_layout_is_that_of_a_real_package(
    real: Path, tmp_path: Path, root: PracticeRoot
) -> None:
    """The same kinds of files at the same places, whatever their names."""
    (package,) = (real / "cbs").glob("*en-US*.cab")
    theirs = unpack(package, tmp_path / "real")
    ours = unpack(make("every-element", tmp_path, root, Generation.WINDOWS_10), tmp_path / "ours")

    def kinds(files: dict[str, bytes]) -> set[str]:
        return {
            re.sub(r"[^/]+(?=\.[^./]+$)", "*", re.sub(r"^[^/]*_[0-9a-f]{16}(?=/)", "DIR", name))
            for name in files
            if "/" not in name
        } | {"payload" for name in files if re.fullmatch(r"[a-z0-9]+_.*_[0-9a-f]{16}/[^/]+", name)}

    assert kinds(theirs) == kinds(ours)
    mum = ET.fromstring(theirs["update.mum"])
    other = ET.fromstring(ours["update.mum"])
    assert other.tag == mum.tag
    assert {child.tag for child in other} == {child.tag for child in mum}


def _vocabulary(roots: list[ET.Element]) -> set[tuple[str, str]]:
    """Elements with each of their attributes."""
    return {
        (element.tag, attribute)
        for root in roots
        for element in root.iter()
        for attribute in ("", *element.attrib)
    }


def test_manifests_say_only_what_real_ones_say(
    real: Path, tmp_path: Path, root: PracticeRoot
) -> None:
    """Every element and attribute of a generated primitive package occurs in real packages,

    or in the lists of the servicing notes (values and links have no small real sample).
    """
    theirs: list[ET.Element] = []
    for number, package in enumerate(sorted((real / "cbs").glob("*.cab"))):
        for name, data in unpack(package, tmp_path / str(number)).items():
            if name.endswith((".mum", ".manifest")) and data[:3] != b"DCM":
                theirs.append(ET.fromstring(data))
    ours = [
        element
        for name in ("every-element", "branches", "feature-languages", "rollup")
        for _, element in manifests(
            unpack(make(name, tmp_path / name, root, Generation.WINDOWS_10), tmp_path / f"o{name}")
        )
    ]
    documented = {
        (f"{ASM}{element}", attribute)
        for element, attributes in {
            "registryKeys": "",
            "registryKey": " keyName owner",
            "registryValue": " name valueType value operationHint mutable",
            "link": " destination",
            "file": " attributes",
            "parent": " revisionCompare",
            "packageExtended": " completelyOfflineCapable",
        }.items()
        for attribute in ["", *attributes.split()]
    }
    assert _vocabulary(ours) - _vocabulary(theirs) <= documented


def test_every_value_type_is_there(tmp_path: Path, root: PracticeRoot) -> None:
    files = unpack(make("every-element", tmp_path, root, Generation.WINDOWS_10), tmp_path / "out")
    found = {
        value.attrib["valueType"]
        for _, manifest in manifests(files)
        for value in manifest.iter(f"{ASM}registryValue")
    }
    assert found == {value.type for value in EVERY_TYPE}
    assert {"REG_SZ", "REG_MULTI_SZ", "REG_QWORD", "REG_NONE", "00020001"} <= found


def test_a_rollup_is_superseded_by_the_next(tmp_path: Path) -> None:
    first, second = preset("rollup").package.identity, preset("rollup-v2").package.identity
    assert first.index_name == second.index_name
    assert [int(part) for part in first.version.split(".")] < [
        int(part) for part in second.version.split(".")
    ]


def test_an_msu_holds_what_real_ones_hold(real: Path, tmp_path: Path, root: PracticeRoot) -> None:
    (package,) = (real / "msu").glob("*.msu")
    run("cabextract", "-q", "-d", tmp_path / "real", package)
    spec = preset("small-msu", Generation.WINDOWS_7)
    assert spec.container is Container.MSU
    path = build_update(spec, tmp_path / spec.file_name, root=root)
    run("cabextract", "-q", "-d", tmp_path / "ours", path)

    def kinds(folder: Path, stem: str) -> set[str]:
        return {one.name.replace(stem, "*") for one in folder.iterdir()}

    assert kinds(tmp_path / "ours", path.stem) == kinds(tmp_path / "real", package.stem)
    ours = (tmp_path / "ours" / f"{path.stem}-pkgProperties.txt").read_text("ascii")
    theirs = (tmp_path / "real" / f"{package.stem}-pkgProperties.txt").read_text("ascii")
    names = [re.findall(r'^([^=]+)="', text, re.MULTILINE) for text in (ours, theirs)]
    assert names[0] == names[1]
    xml = ET.parse(tmp_path / "ours" / f"{path.stem}.xml").getroot()
    other = ET.parse(tmp_path / "real" / f"{package.stem}.xml").getroot()
    assert [one.tag for one in xml.iter()] == [one.tag for one in other.iter()]


def test_the_same_specification_gives_the_same_bytes(tmp_path: Path, root: PracticeRoot) -> None:
    for name in ("rollup", "every-element"):
        first = make(name, tmp_path / "1", root, Generation.WINDOWS_10).read_bytes()
        assert make(name, tmp_path / "2", root, Generation.WINDOWS_10).read_bytes() == first


def test_extra_files_and_trailing_bytes(tmp_path: Path, root: PracticeRoot) -> None:
    spec = replace(
        preset("small"), extra_files={"folder\\express.psf.cix.xml": b"<x/>"}, trailing_bytes=64
    )
    path = build_update(spec, tmp_path / "a.cab", root=root)
    assert path.read_bytes().endswith(bytes(64))
    assert unpack(path, tmp_path / "out")["folder/express.psf.cix.xml"] == b"<x/>"
