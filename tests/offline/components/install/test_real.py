"""Real packages of Windows 10 and Windows 7 on generated images."""

from dataclasses import replace
from pathlib import Path

from offline.components.install.story import (
    CBS,
    SMALL,
    WINNERS,
    Build,
    after,
    changes_of,
    ie_image,
)
from wimsmith.offline.changes import (
    Link,
    PutFile,
)
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.image import open_view
from wimsmith.offline.packages.package import ExpandedPackage, expand
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.verdicts import Verdict


def test_a_real_package_installs_where_its_parents_are(
    build: Build, language_package: ExpandedPackage, base_manifest: bytes, options: ApplyOptions
) -> None:
    wim = build(ie_image(base=base_manifest))
    changes = changes_of(apply(language_package, open_view(wim, 1), options))
    assert [edit.path for edit in changes.tree if isinstance(edit, Link)] == [
        "Program Files (x86)/Internet Explorer/en-US/iexplore.exe.mui",
        "Program Files/Internet Explorer/en-US/iexplore.exe.mui",
    ]
    view = after(wim, changes)
    for package in (
        "Optional-Package~31bf3856ad364e35~amd64~en-US~11.0.19041.1",
        "Package-ua~31bf3856ad364e35~amd64~en-US~10.0.19041.1",
    ):
        key = rf"{CBS}\Packages\Microsoft-Windows-InternetExplorer-{package}"
        state = view.hive("SOFTWARE").value(key, "CurrentState")
        assert state
        assert state.dword() == 0x70
    names = {edit.path.rpartition("/")[2] for edit in changes.tree if isinstance(edit, PutFile)}
    assert {
        "wow64_microsoft-windows-i..-optional.resources_31bf3856ad364e35_11.0.19041.1_en-us_869a247f240b2f08.manifest",
        "amd64_microsoft-windows-i..oyment-languagepack_31bf3856ad364e35_10.0.19041.1_en-us_65e850fbcc050251.manifest",
    } <= names


def test_a_real_package_is_staged_while_its_feature_is_off(
    build: Build, language_package: ExpandedPackage, base_manifest: bytes, options: ApplyOptions
) -> None:
    wim = build(ie_image(base=base_manifest, enabled=False))
    changes = changes_of(apply(language_package, open_view(wim, 1), options))
    assert not [edit for edit in changes.tree if isinstance(edit, Link)]
    assert not [edit for edit in changes.registry if WINNERS in edit.key]
    payload = [e.path for e in changes.tree if isinstance(e, PutFile) and e.path.endswith(".mui")]
    assert len(payload) == 2


def test_a_real_package_tells_which_parent_it_misses(
    build: Build, language_package: ExpandedPackage, base_manifest: bytes, options: ApplyOptions
) -> None:
    wim = build(ie_image(base=base_manifest, parents=False))
    outcome = apply(language_package, open_view(wim, 1), options)
    assert (outcome.verdict, outcome.code) == (Verdict.PREREQUISITE_MISSING, "parent")
    parent = (
        "Microsoft-Windows-InternetExplorer-Optional-Package~31bf3856ad364e35~amd64~~11.0.19041.1"
    )
    assert outcome.text == parent


def test_compressed_manifests_need_the_text_in_the_image(
    build: Build, language_package: ExpandedPackage, options: ApplyOptions
) -> None:
    wim = build(ie_image(base=None))
    outcome = apply(language_package, open_view(wim, 1), options)
    assert (outcome.verdict, outcome.code) == (
        Verdict.NOT_SUPPORTED,
        "calibration:base-manifest",
    )


def test_the_real_neutral_package_is_refused_with_the_elements_in_the_way(
    build: Build, real: Path, tmp_path: Path, base_manifest: bytes, options: ApplyOptions
) -> None:
    wim = build(ie_image(base=base_manifest, parents=False))
    neutral = expand(next((real / "cbs").glob("*amd64~~.cab")), tmp_path / "neutral")
    outcome = apply(neutral, open_view(wim, 1), options)
    assert outcome.verdict is Verdict.NOT_SUPPORTED
    named = {finding.code for finding in outcome.findings}
    assert {
        "advanced-new:configuration",
        "advanced-new:ConfigureIEOptionalComponentsAI",
        "advanced-new:SetIEInstalledDateAI",
        "advanced-new:feature",
    } <= named


def test_real_packages_are_not_trusted_without_their_root(
    build: Build, language_package: ExpandedPackage, base_manifest: bytes, options: ApplyOptions
) -> None:
    wim = build(ie_image(base=base_manifest))
    nobody = replace(options, trust=TrustPolicy(Anchors()))
    outcome = apply(language_package, open_view(wim, 1), nobody)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.code.startswith("untrusted:catalog-")


def test_a_real_package_with_a_container_index_asks_for_its_parents(
    build: Build, real: Path, tmp_path: Path, options: ApplyOptions
) -> None:
    package = expand(real / "cbs" / "Windows6.1-KB2883457-amd64.cab", tmp_path / "x")
    outcome = apply(package, open_view(build(SMALL), 1), options)
    assert (outcome.verdict, outcome.code) == (Verdict.PREREQUISITE_MISSING, "parent")
    assert outcome.text.startswith("WinPE-SRT-Package~")
    assert outcome.changes is None
