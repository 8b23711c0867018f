"""Facts of updates: what they say of themselves, whatever kind they are."""

import hashlib
import json
from pathlib import Path

import pytest

from offline.packages.made import (
    COMPONENT,
    DEPLOYMENT,
    PROGRAM,
    TOKEN,
    Copy,
    MadePackage,
    component,
    component_identity,
    delta,
    identity_xml,
    made_keyform,
    mum,
    patch_stream,
    signed_catalog,
)
from oracle.package import expand_cabinet, read_update
from wimsmith.errors import DamagedInput
from wimsmith.offline.manifests.package import Compare
from wimsmith.offline.packages.containers.kinds import ContainerKind
from wimsmith.offline.packages.contents import NO_BASE, WRONG_BASE
from wimsmith.offline.packages.facts import UpdateFacts, inspect
from wimsmith.offline.packages.factsdata import as_data
from wimsmith.offline.packages.promises import PromisedBuild
from wimsmith.practice.cabinet import build_cabinet
from wimsmith.practice.presets import preset, preset_names
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation
from wimsmith.practice.updates import build_update

TOP = f"Made-Package~{TOKEN}~amd64~~1.2.3.4"
LDR = (
    f'<update name="1_neutral_LDR"><component>{component_identity(DEPLOYMENT)}</component></update>'
)
DISTRIBUTION = (
    '<update name="1_neutral_LDR"><applicable disposition="staged"><updateComponent '
    f'elevate="distribution">{component_identity(COMPONENT)}</updateComponent></applicable></update>'
)


def facts_of(made: MadePackage, folder: Path, *bases: bytes) -> UpdateFacts:
    return inspect(made.write(folder / "made.cab"), folder / "work", base_manifests=bases)


def resigned(made: MadePackage, changes: dict[str, bytes]) -> MadePackage:
    """The package with other files, and a catalog that lists all its manifests again."""
    changed = made.changed(changes)
    manifests = [data for name, data in changed.files.items() if not name.endswith(".cat")]
    catalog = signed_catalog(made.root, manifests)
    cats = {name: catalog for name in changed.files if name.endswith(".cat")}
    return changed.changed(cats)


def test_a_package_says_what_it_is(made: MadePackage, tmp_path: Path) -> None:
    facts = facts_of(made, tmp_path)
    path = tmp_path / "made.cab"
    assert (facts.source, facts.size_bytes) == (path, path.stat().st_size)
    assert (facts.kind, facts.title) == (ContainerKind.CABINET, "Fix for KB1234567")
    assert (facts.article, facts.release_type) == ("KB1234567", "Update")
    assert (facts.architecture, facts.architectures) == ("amd64", ("amd64",))
    assert (facts.language, facts.languages) == ("", ())
    assert facts.identity is not None
    assert [one.package_name for one in facts.packages] == [facts.identity.package_name] == [TOP]
    assert facts.expanded_bytes == sum(map(len, made.files.values()))
    assert facts.offline_capable is True
    assert (facts.obstacles, facts.conditions, facts.planning) == ((), (), None)
    (parent,) = facts.parents
    assert [str(one) for one in parent.identities] == [f"Made-Parent~{TOKEN}~amd64~~1.0.0.0"]
    assert parent.version_compare is Compare.EQUAL
    assert parent.build_compare is Compare.AT_LEAST


def test_components_have_their_elements_counted(made: MadePackage, tmp_path: Path) -> None:
    facts = facts_of(made, tmp_path)
    by_key = {one.keyform: one for one in facts.components}
    assert facts.manifest_count == len(by_key) == 2
    tool = by_key[made_keyform(COMPONENT)]
    assert (tool.is_deployment, tool.primitive, tool.advanced) == (False, {"file": 1}, ())
    deployment = by_key[made_keyform(DEPLOYMENT)]
    assert (deployment.is_deployment, deployment.primitive) == (True, {"dependency": 1})
    (unit,) = facts.units
    assert (unit.package, unit.name) == (TOP, "u")
    assert [one.name for one in unit.deployments] == [DEPLOYMENT]


def test_payload_is_listed_with_the_digest_of_its_bytes(made: MadePackage, tmp_path: Path) -> None:
    (file,) = facts_of(made.changed({"$filehashes$.dat": b""}), tmp_path).payload
    assert file.name == f"{made.component_keyform}/tool.exe"
    assert (file.size_bytes, file.algorithm) == (len(PROGRAM), "sha256")
    assert file.digest == hashlib.sha256(PROGRAM).hexdigest()


def test_advanced_elements_are_conditions_with_their_manifest(
    made: MadePackage, tmp_path: Path
) -> None:
    name = f"{made.component_keyform}.manifest"
    changed = component(COMPONENT, {"tool.exe": PROGRAM}, "<taskScheduler/><registryKeys/>")
    facts = facts_of(resigned(made, {name: changed}), tmp_path)
    assert facts.obstacles == ()
    (condition,) = facts.conditions
    assert (condition.code, condition.where) == ("advanced-new:taskScheduler", name)
    assert "taskScheduler needs an installer of Windows" in condition.text


def test_a_manifest_that_cannot_be_read_is_said_to_be(made: MadePackage, tmp_path: Path) -> None:
    name = f"{made.component_keyform}.manifest"
    facts = facts_of(made.changed({name: b"<assembly"}), tmp_path)
    (broken,) = [one for one in facts.components if one.unread]
    assert broken.keyform == made.component_keyform
    assert "manifest is damaged" in broken.unread
    assert (broken.identity, broken.primitive, broken.advanced) == (None, {}, ())


def test_compressed_manifests_need_the_right_base_text(made: MadePackage, tmp_path: Path) -> None:
    name = f"{made.component_keyform}.manifest"
    plain = made.files[name]
    base = plain[:90]
    stored = delta(patch_stream([Copy(90, slot=3), plain[90:]]), plain, digest=b"", algorithm=0)
    changed = made.changed({name: b"DCM\x01" + stored})
    found = {}
    for case, bases in {"none": (), "wrong": (b"?" * 90,), "right": (b"?" * 90, base)}.items():
        (tmp_path / case).mkdir()
        facts = facts_of(changed, tmp_path / case, *bases)
        (found[case],) = [one for one in facts.components if one.is_compressed]
    assert (found["none"].unread, found["wrong"].unread) == (NO_BASE, WRONG_BASE)
    assert (found["right"].unread, found["right"].primitive) == ("", {"file": 1})


def test_what_only_branch_forward_leads_to_is_no_obstacle(
    made: MadePackage, root: PracticeRoot, tmp_path: Path
) -> None:
    def package_file(stem: str, data: bytes) -> dict[str, bytes]:
        return {f"{stem}.mum": data, f"{stem}.cat": signed_catalog(root, [data])}

    child = f'<update name="x"><package>{identity_xml("Forced")}</package></update>'
    forced = package_file("forced", mum("Forced", DISTRIBUTION))
    forward = package_file("update-bf", mum("Forward", child))
    facts = facts_of(made.changed({**forced, **forward}), tmp_path)
    assert facts.obstacles == ()
    assert facts.branch_forward is not None
    assert facts.branch_forward.name == "Forward"
    assert [one.name for one in facts.packages] == ["Made-Package"]
    (tmp_path / "reached").mkdir()
    top = package_file("update", mum("Made-Package", child))
    reached = facts_of(
        made.changed({**forced, **forward, **top, f"{TOP}.mum": None, f"{TOP}.cat": None}),
        tmp_path / "reached",
    )
    assert [one.code for one in reached.obstacles] == ["elevate-unproven"]


def test_units_tell_their_branch_and_conditions(made: MadePackage, tmp_path: Path) -> None:
    top = mum("Made-Package", DISTRIBUTION + LDR.replace("LDR", "GDR"))
    same = {"update.mum": top, f"{TOP}.mum": top}
    facts = facts_of(resigned(made, same), tmp_path)
    assert facts.branches == ("ldr", "gdr")
    first, second = facts.units
    assert (first.conditions, first.otherwise) == ((f"distribution of {COMPONENT}",), "staged")
    assert (second.branch, second.conditions, second.otherwise) == ("gdr", (), "")
    by_key = {one.keyform: one.branches for one in facts.components}
    assert by_key[made_keyform(DEPLOYMENT)] == ("gdr",)


@pytest.mark.parametrize(
    ("versions", "builds"),
    [
        (["6.1.7601.17514"], ("6.1.7601",)),
        (["10.0.22621.1", "10.0.19041.1", "11.0.19041.1"], ("10.0.19041", "10.0.22621")),
        (["11.0.19041.1"], ("19041",)),
    ],
)
def test_parents_tell_for_which_windows(
    tmp_path: Path, versions: list[str], builds: tuple[str]
) -> None:
    inside = f"<parent>{''.join(identity_xml('P', one) for one in versions)}</parent>"
    (tmp_path / "a.cab").write_bytes(build_cabinet({"update.mum": mum("P", inside)}))
    assert inspect(tmp_path / "a.cab", tmp_path / "work").builds == builds


@pytest.mark.parametrize("generation", [Generation.WINDOWS_10, Generation.WINDOWS_11])
def test_a_cumulative_update_promises_a_build(
    generation: Generation, root: PracticeRoot, tmp_path: Path
) -> None:
    spec = preset("rollup", generation)
    facts = inspect(build_update(spec, tmp_path / spec.file_name, root=root), tmp_path / "work")
    build, revision = spec.package.identity.version.split(".")[:2]
    assert facts.leads_to == PromisedBuild(int(build), int(revision), "the version of the package")


def test_a_revision_that_is_written_is_a_promise(made: MadePackage, tmp_path: Path) -> None:
    key = (
        r'<registryKeys><registryKey keyName="HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT'
        r'\CurrentVersion"><registryValue name="UBR" valueType="REG_DWORD" value="0x000001f5"/>'
        "</registryKey></registryKeys>"
    )
    name = f"{made.component_keyform}.manifest"
    changed = component(COMPONENT, {"tool.exe": PROGRAM}, key)
    facts = facts_of(resigned(made, {name: changed}), tmp_path)
    assert facts.leads_to == PromisedBuild(3, 501, "the revision it writes")


def test_an_update_in_a_wim_file_is_described_for_planning(
    root: PracticeRoot, tmp_path: Path
) -> None:
    spec = preset("wim-update")
    facts = inspect(build_update(spec, tmp_path / spec.file_name, root=root), tmp_path / "work")
    (obstacle, *_) = facts.obstacles
    assert (obstacle.code, obstacle.where) == ("container-wim", spec.file_name)
    assert facts.identity is not None
    assert facts.identity.package_name == spec.package.identity.package_name
    assert (facts.article, facts.architecture) == (spec.article, "amd64")
    assert facts.leads_to == PromisedBuild(19041, 701, "the composition database")
    assert facts.planning is not None
    assert str(facts.planning.needs_build) == "10.0.19041.1"
    assert facts.planning.servicing_stacks == ("SSU-26100.1000-x64.cab",)


def test_several_packages_in_one_file_stand_in_order(made: MadePackage, tmp_path: Path) -> None:
    second = mum("Second", '<packageExtended completelyOfflineCapable="no"/>')
    inside = {
        "WSUSSCAN.cab": b"",
        "x-pkgProperties.txt": b'KB Article Number="7654321"\r\n',
        "a.cab": build_cabinet({"update.mum": second}),
        "b.cab": build_cabinet(made.files),
        "PkgInstallOrder.txt": b"b.cab\r\na.cab\r\n",
    }
    (tmp_path / "a.msu").write_bytes(build_cabinet(inside))
    facts = inspect(tmp_path / "a.msu", tmp_path / "work")
    assert facts.obstacles == ()
    assert facts.conditions[0].code == "not-offline-capable"
    assert facts.conditions[0].text.startswith("a.cab: ")
    assert (facts.kind, facts.article, facts.identity) == (ContainerKind.MSU, "KB7654321", None)
    assert [part.name for part in facts.parts] == ["b.cab", "a.cab"]
    assert [len(part.components) for part in facts.parts] == [2, 0]
    assert [one.code for one in facts.parts[1].obstacles] == ["not-offline-capable"]


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_has_facts_that_are_plain_data(
    name: str, root: PracticeRoot, tmp_path: Path
) -> None:
    spec = preset(name)
    path = build_update(spec, tmp_path / spec.file_name, root=root)
    if name == "truncated":
        with pytest.raises(DamagedInput):
            inspect(path, tmp_path / "work")
        return
    facts = inspect(path, tmp_path / "work")
    data = json.loads(json.dumps(as_data(facts)))
    main = data["parts"][-1] if spec.parts else data
    assert main["identity"]["package_name"] == spec.package.identity.package_name
    assert data["article"] == spec.article
    assert data["source"] == str(path)
    for reason in (*facts.obstacles, *facts.conditions):
        assert reason.code
        assert reason.text
        assert reason.where


@pytest.mark.parametrize("generation", list(Generation))
@pytest.mark.parametrize(
    "name", ["small-msu", "rollup", "every-element", "feature-languages", "trigger", "languages"]
)
def test_facts_are_what_an_independent_reader_finds(
    name: str, generation: Generation, root: PracticeRoot, tmp_path: Path
) -> None:
    spec = preset(name, generation)
    path = build_update(spec, tmp_path / spec.file_name, root=root)
    facts = inspect(path, tmp_path / "work")
    folder = expand_cabinet(path, tmp_path / "oracle")
    update = read_update(folder)
    assert {str(one).lower() for one in facts.packages} == set(update.parts)
    assert {one.keyform for one in facts.components} == set(update.components)
    for one in facts.components:
        expected = update.components[one.keyform]
        assert one.is_deployment == expected.is_deployment
        assert one.primitive.get("file", 0) == len(expected.files)
    payload = {
        f"{key}/{file.name}".lower(): update.payload(component, file.name)
        for key, component in update.components.items()
        for file in component.files
    }
    found = {one.name.lower(): (one.size_bytes, one.digest) for one in facts.payload}
    assert found == {
        name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in payload.items()
    }
    deployments = {
        (part.facts.identity.package_name, unit.name, one.name)
        for part in update.parts.values()
        for unit in part.facts.updates
        for one in unit.deployments
    }
    assert deployments == {
        (unit.package, unit.name, one.name) for unit in facts.units for one in unit.deployments
    }


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"regf" + bytes(600), "a registry hive, not an update package"),
        (b"PA30" + bytes(600), "a delta (PA30) out of a package, not an update package"),
        (b"0\x82\x30\x30" + bytes(600), "a security catalog, a certificate or another signed"),
        (b"; driver\r\n[Version]\r\nSignature=x", "a driver description (INF); drivers are added"),
        ("\ufeff[Version]\r\n".encode("utf-16-le"), "a driver description (INF)"),
        (b"<!DOCTYPE HTML><html>", "a web page, perhaps of a download that failed"),
        (mum("P"), "a manifest out of an image or package, not an update package"),
        (bytes(0x8001) + b"CD001" + bytes(100), "a disc image (ISO), not an update package"),
        (bytes(600) + b"conectix" + bytes(504), "a virtual disk (VHD), not an update package"),
        (b"MZ" + bytes(600), "a program, not an update package"),
        (b"MZ\0" + mum("P"), "a program, not an update package"),
        (b"PK\x03\x04\x14\0<html>", "a ZIP file or app package, not an update package"),
        (build_cabinet({"a.inf": b"[Version]"}, compress=False), "a driver cabinet"),
        (build_cabinet({"a.htm": b"<html>"}, compress=False), "there is no update.mum in it"),
        (b"plain text", "not a cabinet, so not an update package"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path: Path, data: bytes, sentence: str) -> None:
    (tmp_path / "a.msu").write_bytes(data)
    (reason,) = inspect(tmp_path / "a.msu", tmp_path / "work").obstacles
    assert reason.code == "not-cbs"
    assert reason.text.startswith(sentence)


def test_facts_of_the_real_packages(real: Path, base_manifest: bytes, tmp_path: Path) -> None:
    (kb,) = (real / "msu").glob("*KB2999226*")
    facts = inspect(kb, tmp_path / "kb")
    assert facts.builds == ("6.1.7601",)
    assert (facts.branches, len(facts.payload)) == (("ldr", "gdr"), 96)
    assert facts.index is not None
    assert (facts.index.files, facts.index.deltas) == (118, {"PA30": 48})
    assert {one.branches for one in facts.components} == {("gdr",), ("ldr",)}
    (neutral,) = (real / "cbs").glob("*amd64~~.cab")
    unread = inspect(neutral, tmp_path / "unread")
    assert sum(bool(one.unread) for one in unread.components) == 8
    read = inspect(neutral, tmp_path / "read", base_manifests=[base_manifest])
    assert {one.code for one in read.conditions} == {
        "advanced-new:configuration",
        "advanced-new:ConfigureIEOptionalComponentsAI",
        "advanced-new:SetIEInstalledDateAI",
        "advanced-new:feature",
    }
