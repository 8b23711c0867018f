"""Every reason that the file alone decides, from a generated file: code and sentence."""

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from offline.packages.made import component_identity, delta, identity_xml, mum, patch_stream
from offline.packages.madeindex import SECOND, MadeIndex, made_index
from offline.packages.madeprogram import program_buffer
from wimsmith.offline.packages.facts import inspect
from wimsmith.practice.cabinet import build_cabinet
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.updates import build_update

MATRIX = Path(__file__).parents[3] / "docs" / "concepts" / "update-kinds.md"
TOP = mum("Made-Package")
KEYFORM = "amd64_made_0123456789abcdef_1.2.3.4_none_0123456789abcdef"
SEARCH = '<DeltaBasisSearch><Location id="0" path="{windir}\\winsxs" flags="0"/></DeltaBasisSearch>'

Make = Callable[[], bytes]


def cabinet(**files: bytes) -> Make:
    """A cabinet; `_` in a name stands for a dot."""
    return lambda: build_cabinet({name.replace("_", "."): data for name, data in files.items()})


def top(inside: str = "", name: str = "P", attributes: str = "") -> Make:
    """A package of only a manifest."""
    given = {"attributes": attributes} if attributes else {}
    return lambda: build_cabinet({"update.mum": mum(name, inside, **given)})


def index_with(kind: str, stored: bytes) -> Make:
    """A package whose second library is stored in another way."""

    def make() -> bytes:
        index = made_index(TOP)
        index.entries[4] = replace(index.entries[4], kind=kind, stored=stored)
        return index.cabinet()

    return make


def compound(class_id: str) -> Make:
    """A compound file whose root has a class, as Windows Installer files have."""

    def make() -> bytes:
        head = bytearray(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(512, b"\0"))
        struct.pack_into("<H", head, 0x1E, 9)
        struct.pack_into("<I", head, 0x30, 1)
        root = bytes(0x50) + bytes.fromhex(class_id) + bytes(0x20)
        return bytes(head) + bytes(512) + root.ljust(512, b"\0")

    return make


MANAGED = program_buffer(0x1000_0000, 0, [], [], metadata=1)
DRIVER = f'<update name="u"><driver inf="a.inf">{identity_xml("D")}</driver></update>'
ELEVATE = (
    '<update name="u"><applicable disposition="staged"><updateComponent elevate="distribution">'
    f"{component_identity('C')}</updateComponent></applicable></update>"
)
OFFLINE = '<packageExtended completelyOfflineCapable="no"/>'
DIFFERENTIALS = '<customInformation PackageFormat="PSFX"/>'

REFUSALS: list[tuple[str, str, Make, str, str]] = [
    ("wim", "a.msu", lambda: b"MSWIM\0\0\0" + bytes(200), "container-wim", "in a WIM container"),
    ("psf", "a.psf", lambda: b"PSTREAM\0" + bytes(200), "psfx", "without its cabinet"),
    (
        "psf index",
        "a.cab",
        cabinet(update_mum=TOP, express_psf_cix_xml=b""),
        "psfx",
        "differentials",
    ),
    (
        "own psf index",
        "a.cab",
        cabinet(update_mum=TOP, kb_psf_cix_xml=b""),
        "psfx",
        "differentials",
    ),
    ("psf inside", "a.cab", cabinet(update_mum=TOP, a_psf=b""), "psfx", "differentials"),
    (
        "psf in set",
        "a.msu",
        lambda: build_cabinet({"WSUSSCAN.cab": b"", "a.cab": top()(), "a.psf": b""}),
        "psfx",
        "differentials",
    ),
    ("psfx manifest", "a.cab", top(DIFFERENTIALS), "psfx", "forward and reverse differentials"),
    (
        "psfx folder",
        "a.cab",
        lambda: build_cabinet({"update.mum": TOP, f"{KEYFORM}\\r\\a.dll": b"PA30"}),
        "psfx",
        "differentials",
    ),
    (
        "psfx type of index",
        "a.cab",
        lambda: MadeIndex(made_index(TOP).entries, kind="PSF").cabinet(),
        "psfx",
        "differentials",
    ),
    ("express name", "a-EXPRESS.cab", top(), "express", "deltas against older ones"),
    (
        "express index",
        "a.cab",
        lambda: MadeIndex(made_index(TOP).entries, search=SEARCH).cabinet(),
        "express",
        "files that it does not hold",
    ),
    ("baseless", "a-baseless.cab", top(), "baseless", "need others from outside"),
    ("metadata", "a.cab", cabinet(LCUCompDB_xml_cab=b""), "uup", "without its payload"),
    (
        "metadata in set",
        "a.msu",
        lambda: build_cabinet({"WSUSSCAN.cab": b"", "x.AggregatedMetadata.cab": b""}),
        "uup",
        "without its payload",
    ),
    ("program", "a.exe", lambda: b"MZ" + bytes(99), "not-cbs", "a program"),
    (
        "installer",
        "a.msi",
        compound("84100c0000000000c000000000000046"),
        "not-cbs",
        "Installer file",
    ),
    ("patch", "a.msp", compound("86100c0000000000c000000000000046"), "not-cbs", "(.msp)"),
    ("short installer", "a.msp", lambda: compound("86")()[:40], "not-cbs", "Installer file"),
    ("app", "a.appx", lambda: b"PK\x03\x04" + bytes(99), "not-cbs", "app package"),
    ("image", "a.esd", lambda: b"MSWIM\0\0\0" + bytes(200), "not-cbs", "a Windows image"),
    ("text", "a.txt", lambda: b"plain text", "not-cbs", "not a cabinet"),
    ("driver", "a.cab", cabinet(driver_inf=b"", driver_sys=b""), "not-cbs", "a driver cabinet"),
    ("metadata of features", "a.cab", cabinet(FodMetadata_xml=b""), "not-cbs", "on demand"),
    ("nothing", "a.cab", cabinet(readme_txt=b""), "not-cbs", "no update.mum"),
    ("offline", "a.cab", top(OFFLINE), "not-offline-capable", "cannot be installed offline"),
    (
        "language pack",
        "a.cab",
        top(name="Microsoft-Windows-Client-LanguagePack-Package"),
        "language-pack",
        "a language pack of the operating system",
    ),
    (
        "service pack",
        "a.cab",
        top(attributes='releaseType="Service Pack"'),
        "service-pack",
        "is a service pack",
    ),
    ("hotpatch", "a.cab", top(name="Package_for_Hotpatch"), "hotpatch", "patches running programs"),
    (
        "edition",
        "a.cab",
        top(name="X-ProfessionalEdition-Edition", attributes='targetEdition="Professional"'),
        "edition-upgrade",
        "sets the edition Professional",
    ),
    ("driver element", "a.cab", top(DRIVER), "driver-element", "installs drivers"),
    ("elevation", "a.cab", top(ELEVATE), "elevate-unproven", "distribution"),
    ("compressed", "a.cab", index_with("LZX", b"?"), "delta-kind", "is stored as LZX"),
    ("newer delta", "a.cab", index_with("PA30", b"PA31" + bytes(40)), "delta-kind", "PA31"),
    (
        "arm",
        "a.cab",
        index_with("PA30", delta(b"", SECOND, file_type=0x80)),
        "delta-arch",
        "between ARM64 programs",
    ),
    (
        "managed",
        "a.cab",
        index_with(
            "PA30", delta(patch_stream([SECOND]), SECOND, file_type=0x10, preprocess=MANAGED)
        ),
        "delta-managed",
        ".NET metadata",
    ),
    ("element", "a.cab", top("<mystery/>"), "advanced-new:package/mystery", "which is unknown"),
]


@pytest.mark.parametrize(
    ("name", "make", "code", "sentence"),
    [pytest.param(*rest, id=about) for about, *rest in REFUSALS],
)
def test_each_reason_is_named(
    tmp_path: Path, name: str, make: Make, code: str, sentence: str
) -> None:
    (tmp_path / name).write_bytes(make())
    before = (tmp_path / name).read_bytes()
    obstacles = inspect(tmp_path / name, tmp_path / "work").obstacles
    assert [one.code for one in obstacles] == [code]
    assert sentence in obstacles[0].text
    assert (tmp_path / name).read_bytes() == before


def test_the_matrix_for_users_has_every_reason_and_no_other() -> None:
    text = MATRIX.read_text("utf-8")
    stated = set(re.findall(r"^\| `([a-z:A-Z-]+)` \|", text, re.MULTILINE))
    tested = {re.sub(":.*", ":ELEMENT", code) for _, _, _, code, _ in REFUSALS}
    assert stated == tested


@pytest.mark.parametrize(
    ("name", "code"), [("wim-update", "container-wim"), ("psfx", "psfx"), ("hotpatch", "hotpatch")]
)
def test_generated_updates_are_refused(
    root: PracticeRoot, tmp_path: Path, name: str, code: str
) -> None:
    spec = preset(name)
    path = build_update(spec, tmp_path / spec.file_name, root=root)
    assert [one.code for one in inspect(path, tmp_path / "work").obstacles] == [code]
