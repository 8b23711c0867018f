"""What refused packages say about themselves: which build they lead to, and from where."""

import struct
from pathlib import Path

import pytest

from offline.packages.made import TOKEN, mum
from offline.packages.madewim import compdb, packed, write_members
from wimsmith.errors import Cancelled, DamagedPackage, WimsmithError
from wimsmith.offline.manifests.identity import Version
from wimsmith.offline.packages.compdb import BuildStep, chain_from, parse_compdb
from wimsmith.offline.packages.containers.containerindex import parse_container_index
from wimsmith.offline.packages.containers.kinds import Obstacle
from wimsmith.offline.packages.containers.psfx import stream_index, summarize_differentials
from wimsmith.offline.packages.containers.shelves import open_shelf
from wimsmith.offline.packages.limits import PackageLimits
from wimsmith.offline.packages.planning import PlannedFacts, planned_facts
from wimsmith.offline.progress import silent
from wimsmith.practice.cabinet import build_cabinet
from wimsmith.practice.deltas import build_delta
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation
from wimsmith.practice.unified import aggregated_metadata, differential_stream
from wimsmith.practice.updates import build_update

WIM = Obstacle("container-wim", "an update in a WIM container")
PSFX = Obstacle("psfx", "a package of differentials")
KEYFORM = "amd64_made_0123456789abcdef_10.0.26100.{}_none_0123456789abcdef"


def planned(path: Path, folder: Path, obstacle: Obstacle = WIM) -> PlannedFacts:
    facts = planned_facts(path, folder / "plan", obstacle)
    assert facts is not None
    return facts


def version(text: str) -> Version:
    return Version.parse(text)


def test_a_wim_update_says_what_it_is(root: PracticeRoot, tmp_path: Path) -> None:
    spec = preset("wim-update", Generation.WINDOWS_11)
    path = build_update(spec, tmp_path / spec.file_name, root=root)
    facts = planned(path, tmp_path)
    assert facts.unread == ()
    assert facts.article == "KB5000041"
    assert facts.architecture == "amd64"
    assert facts.needs_build == version("10.0.26100.1")
    assert facts.leads_to_build == version("10.0.26100.701")
    assert [(step.kind, step.article) for step in facts.steps] == [
        ("lcu", "KB5000041"),
        ("ssu", "KB5000999"),
    ]
    names = [one.package_name for one in facts.packages]
    assert names[0] == spec.package.identity.package_name
    assert names[1].startswith("Package_for_ServicingStack~")
    assert facts.servicing_stacks == ("SSU-26100.1000-x64.cab",)
    assert facts.top is not None
    assert facts.top.release_type == "Security Update"
    sizes = {member.name.rpartition(".")[2]: member.size_bytes for member in facts.members}
    assert facts.differentials is not None
    assert facts.differentials.stored_bytes == sizes["psf"] - 128
    assert facts.differentials.differentials == {"forward": facts.differentials.files}
    assert facts.differentials.versions == (version("10.0.26100.701"),)
    assert facts.differentials.locations == ("{windir}\\winsxs",)


@pytest.mark.parametrize(
    "data", [b"MSWIM\0\0\0" + bytes(200), b"MSWIM\0\0\0", b"MSWIM\0\0\0" + b"\xff" * 5000]
)
def test_a_broken_wim_is_refused_all_the_same(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.msu").write_bytes(data)
    facts = planned(tmp_path / "a.msu", tmp_path)
    assert facts.obstacle is WIM
    assert len(facts.unread) == 1
    assert facts.unread[0].startswith("a.msu: ")
    assert (facts.update, facts.article, facts.architecture) == (None, "", "")


def test_what_cannot_be_read_is_said_and_the_rest_is_read(tmp_path: Path) -> None:
    metadata = {
        **packed("LCUCompDB_KB5000001.xml", compdb("10.0.26100.1", "10.0.26100.1742")),
        **packed("LCUCompDB_KB5000002.xml", compdb("10.0.26100.1742", "10.0.26100.4000")),
        **packed("SSUCompDB_KB5000003.xml", b"<broken"),
        **packed("modelcompdb.xml", compdb("10.0.1.1", None, kind="Build")),
    }
    path = write_members(
        tmp_path / "a.msu",
        {
            "onepackage.AggregatedMetadata.cab": build_cabinet(metadata),
            "SSU-26100.5-x64.cab": b"MZ no cabinet",
            "Windows11.0-KB5000002-x64.wim": b"no WIM",
            "Windows11.0-KB5000002-x64.psf": b"PSTREAM\0",
            "empty.txt": b"",
        },
    )
    facts = planned(path, tmp_path)
    assert [one.split(": ")[0] for one in facts.unread] == [
        "Windows11.0-KB5000002-x64.wim",
        "SSUCompDB_KB5000003.xml",
        "SSU-26100.5-x64.cab",
    ]
    assert facts.servicing_stacks == ("SSU-26100.5-x64.cab",)
    assert facts.article == "KB5000002"
    assert facts.architecture == "arm64"
    assert (facts.needs_build, facts.leads_to_build) == (
        version("10.0.26100.1742"),
        version("10.0.26100.4000"),
    )
    assert len(facts.members) == 5
    chain = chain_from(facts.steps, version("10.0.26100.1"))
    assert [step.article for step in chain.steps] == ["KB5000001", "KB5000002"]


def test_differentials_in_a_set_of_cabinets(root: PracticeRoot, tmp_path: Path) -> None:
    spec = preset("wim-update", Generation.WINDOWS_11)
    stream, index = differential_stream({f"{KEYFORM.format(5)}\\a.dll": b"a" * 500}, "a.psf")
    payload = {"update.mum": mum("Made-Package"), "express.psf.cix.xml": index}
    files = {
        "WSUSSCAN.cab": b"",
        "a-pkgProperties.txt": b'KB Article Number="5000042"\r\nProcessor Architecture="x86"\r\n',
        "a.cab": build_cabinet(payload),
        "a.psf": stream,
        "onepackage.AggregatedMetadata.cab": aggregated_metadata(spec),
    }
    (tmp_path / "a.msu").write_bytes(build_cabinet(files))
    facts = planned(tmp_path / "a.msu", tmp_path, PSFX)
    assert facts.unread == ()
    assert facts.article == "KB5000041"
    assert facts.packages[0].package_name == f"Made-Package~{TOKEN}~amd64~~1.2.3.4"
    assert facts.differentials is not None
    assert (facts.differentials.files, facts.differentials.sources) == (1, {"RAW": 1})
    assert facts.description.article == "KB5000042"
    assert facts.leads_to_build is not None


@pytest.mark.parametrize("as_delta", [True, False])
def test_a_stream_alone_may_carry_its_index(tmp_path: Path, as_delta: bool) -> None:
    _stream, index = differential_stream({f"{KEYFORM.format(5)}\\a.dll": b"a"}, "a.psf")
    stored = build_delta(b"", index) if as_delta else index
    header = b"PSTREAM\0".ljust(0x28, b"\0") + struct.pack("<II", 128, len(stored))
    (tmp_path / "a.psf").write_bytes(header.ljust(128, b"\0") + stored)
    facts = planned(tmp_path / "a.psf", tmp_path, PSFX)
    assert facts.unread == ()
    assert facts.differentials is not None
    assert facts.differentials.files == 1


@pytest.mark.parametrize("place", [(128, 10), (0, 5), (0x28, 20), (1 << 31, 5), (128, 1 << 31)])
def test_a_stream_that_ends_before_its_index(tmp_path: Path, place: tuple[int, int]) -> None:
    header = b"PSTREAM\0".ljust(0x28, b"\0") + struct.pack("<II", *place)
    (tmp_path / "a.psf").write_bytes(header.ljust(130, b"\0"))
    with pytest.raises(DamagedPackage):
        stream_index(tmp_path / "a.psf", tmp_path)
    assert len(planned(tmp_path / "a.psf", tmp_path, PSFX).unread) == 1


def test_a_stream_without_an_index(tmp_path: Path) -> None:
    (tmp_path / "a.psf").write_bytes(b"PSTREAM\0".ljust(200, b"\0"))
    facts = planned(tmp_path / "a.psf", tmp_path, PSFX)
    assert (facts.differentials, facts.unread) == (None, ())


def test_kinds_of_differentials_are_counted() -> None:
    places = ("f\\a.dll", "r\\a.dll", "n\\a.dll", "a.dll", "f\\b.dll")
    files = "".join(
        f'<File id="{number}" name="{KEYFORM.format(number)}\\{name}" length="7">'
        f'<Hash alg="SHA1" value="{"0" * 40}"/><Delta><Source type="RAW" offset="0" length="3"/>'
        "</Delta></File>"
        for number, name in enumerate(places)
    )
    data = f'<Container xmlns="urn:ContainerIndex" type="PSF"><Files>{files}</Files></Container>'
    summary = summarize_differentials(parse_container_index(data.encode()))
    assert summary.differentials == {"forward": 2, "reverse": 1, "null": 1, "whole": 1}
    assert (summary.stored_bytes, summary.expanded_bytes) == (15, 35)
    assert summary.versions == tuple(version(f"10.0.26100.{number}") for number in range(5))


def test_other_refusals_have_nothing_to_plan(tmp_path: Path) -> None:
    (tmp_path / "a.exe").write_bytes(b"MZ")
    assert planned_facts(tmp_path / "a.exe", tmp_path / "w", Obstacle("not-cbs", "")) is None
    assert not (tmp_path / "w").exists()


def test_cancelling_ends_it(tmp_path: Path) -> None:
    (tmp_path / "a.cab").write_bytes(build_cabinet({"update.mum": mum("A"), "a.psf.cix.xml": b""}))

    def cancel(_event: object) -> None:
        raise Cancelled("by the user")

    with pytest.raises(Cancelled):
        planned_facts(tmp_path / "a.cab", tmp_path / "w", PSFX, progress=cancel)


@pytest.mark.parametrize(
    "limits", [PackageLimits(total_bytes=2000), PackageLimits(nesting=0), PackageLimits(cabinets=1)]
)
def test_limits_hold_for_planning(
    tmp_path: Path, root: PracticeRoot, limits: PackageLimits
) -> None:
    spec = preset("wim-update", Generation.WINDOWS_11)
    path = build_update(spec, tmp_path / spec.file_name, root=root)
    facts = planned_facts(path, tmp_path / "plan", WIM, limits=limits)
    assert facts is not None
    assert facts.unread


STEP = parse_compdb(
    "metadata/LCUCompDB_KB5043080.xml",
    compdb(
        "10.0.26100.1",
        "10.0.26100.1742",
        inside="<Features><Feature><Packages><Package ID='other'/></Packages></Feature></Features>"
        "<Packages><Package ID='P' Version='1'><Payload><PayloadItem Path='a\\b.cab' "
        "PayloadSize='12'/><PayloadItem Path='c.psf' PayloadSize='many'/></Payload></Package>"
        "</Packages>",
    ),
)


def test_a_composition_database() -> None:
    assert STEP is not None
    assert (STEP.kind, STEP.article, STEP.architecture) == ("lcu", "KB5043080", "arm64")
    (package,) = STEP.packages
    assert (package.name, package.version) == ("P", "1")
    assert (package.payload, package.size_bytes) == (("a/b.cab", "c.psf"), 12)


@pytest.mark.parametrize(
    "data", [b"", b"<Other/>", compdb("10.0", None), compdb(None, "10.0.26100.99999")]
)
def test_broken_composition_databases(data: bytes) -> None:
    with pytest.raises(DamagedPackage, match=r"LCUCompDB_KB1\.xml"):
        parse_compdb("LCUCompDB_KB1.xml", data)


def step(article: str, needs: str | None, leads_to: str | None, kind: str = "lcu") -> BuildStep:
    return BuildStep(
        kind,
        article,
        needs=None if needs is None else version(f"10.0.26100.{needs}"),
        leads_to=None if leads_to is None else version(f"10.0.26100.{leads_to}"),
    )


@pytest.mark.parametrize(
    ("build", "articles"),
    [
        ("1", ["checkpoint", "second", "last"]),
        ("1742", ["second", "last"]),
        ("1800", ["second", "last"]),
        ("4000", ["last"]),
        ("5000", []),
    ],
)
def test_checkpoints_come_first_and_those_that_are_there_are_skipped(
    build: str, articles: list[str]
) -> None:
    steps = [
        step("last", "2500", "5000"),
        step("stack", None, None, "ssu"),
        step("checkpoint", "1", "1742"),
        step("second", "1742", "2500"),
    ]
    chain = chain_from(steps, version(f"10.0.26100.{build}"))
    assert [one.article for one in chain.steps] == articles
    assert chain.missing is None


def test_a_checkpoint_that_is_missing_is_named() -> None:
    chain = chain_from([step("last", "1742", "5000")], version("10.0.26100.1"))
    assert chain.missing == version("10.0.26100.1742")
    assert [one.article for one in chain.steps] == ["last"]


def test_a_shelf_is_a_cabinet_or_a_wim(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"neither")
    with pytest.raises(DamagedPackage):
        open_shelf(tmp_path / "a", PackageLimits(), silent)
    (tmp_path / "b").write_bytes(b"MSWIM\0\0\0")
    with pytest.raises(WimsmithError):
        open_shelf(tmp_path / "b", PackageLimits(), silent)
