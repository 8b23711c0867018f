"""Package manifests: every element of the format, from written samples and real files."""

import pytest

from wimsmith.errors import DamagedManifest
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.package import (
    Applicable,
    Capability,
    Compare,
    DetectUpdate,
    DriverElement,
    PackageManifest,
    UpdateComponent,
    parse_package,
)

TOKEN = "0123456789abcdef"


def identity_xml(name: str, version: str = "1.2.3.4", tag: str = "assemblyIdentity") -> str:
    return (
        f'<{tag} name="{name}" version="{version}" processorArchitecture="amd64" '
        f'language="neutral" buildType="release" publicKeyToken="{TOKEN}"/>'
    )


def identity(name: str, version: str = "1.2.3.4") -> AssemblyIdentity:
    return AssemblyIdentity(
        name, Version.parse(version), "amd64", "neutral", TOKEN, build_type="release"
    )


def parse(inside: str, package: str = "", assembly: str = "") -> PackageManifest:
    return parse_package(
        f'<?xml version="1.0" encoding="utf-8"?>'
        f'<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0" {assembly}>'
        f"{identity_xml('Sample-Package')}<package {package}>{inside}</package></assembly>".encode()
    )


def test_attributes_of_assembly_and_package() -> None:
    manifest = parse(
        '<packageExtended packageSize="37898" completelyOfflineCapable="no"/>',
        'identifier="KB1" releaseType="Security Update" applicabilityEvaluation="deep" '
        'restart="possible" selfUpdate="true" permanence="permanent" psfName="x.psf" '
        'targetPartition="MainOS" binaryPartition="true"',
        'description="d" displayName="n" company="c" copyright="r" supportInformation="s" '
        'creationTimeStamp="2020-01-01T00:00:00Z" lastUpdateTimeStamp="2020-01-02T00:00:00Z"',
    )
    assert manifest.identity == identity("Sample-Package")
    assert (manifest.identifier, manifest.release_type) == ("KB1", "Security Update")
    assert (manifest.applicability_evaluation, manifest.restart) == ("deep", "possible")
    assert manifest.self_update
    assert (manifest.permanence, manifest.psf_name) == ("permanent", "x.psf")
    assert (manifest.target_partition, manifest.binary_partition) == ("MainOS", "true")
    assert (manifest.description, manifest.display_name) == ("d", "n")
    assert (manifest.company, manifest.copyright) == ("c", "r")
    assert (manifest.support_information, manifest.created) == ("s", "2020-01-01T00:00:00Z")
    assert manifest.last_updated == "2020-01-02T00:00:00Z"
    assert manifest.package_size_bytes == 37898
    assert not manifest.offline_capable


def test_silence_about_offline_means_capable() -> None:
    assert parse("").offline_capable
    assert parse('<packageExtended packageSize="1"/>').offline_capable
    assert parse('<packageExtended completelyOfflineCapable="yes"/>').offline_capable


def test_parents_are_alternatives_with_their_comparisons() -> None:
    manifest = parse(
        '<parent buildCompare="EQ" serviceCompare="ge" integrate="separate" disposition="detect" '
        f'set="any">{identity_xml("One")}{identity_xml("Two", "1.0.0.9")}</parent>'
        f"<parent>{identity_xml('Three')}</parent>"
    )
    first, second = manifest.parents
    assert first.identities == (identity("One"), identity("Two", "1.0.0.9"))
    assert (first.disposition, first.integrate, first.set_name) == ("detect", "separate", "any")
    assert (first.version_compare, first.build_compare) == (Compare.EQUAL, Compare.EQUAL)
    assert (first.service_compare, first.revision_compare) == (Compare.AT_LEAST, Compare.AT_LEAST)
    assert second.version_compare is Compare.EQUAL
    assert second.build_compare is Compare.AT_LEAST


def test_updates_with_children_components_drivers_and_conditions() -> None:
    manifest = parse(
        f'<update name="u" displayName="n" description="d" restart="required">'
        f'<package integrate="hidden" contained="false">{identity_xml("Child")}</package>'
        f"<component>{identity_xml('Deployment')}</component>"
        f'<driver inf="x.inf" ranking="1">{identity_xml("Driver")}</driver>'
        f'<applicable disposition="staged"><updateComponent elevate="revision">'
        f"{identity_xml('A')}{identity_xml('B')}</updateComponent><detectUpdate>"
        f'<parent name="p"/></detectUpdate><detectUpdate><update name="q"/></detectUpdate>'
        f'</applicable><selectable disposition="staged"><detectNone default="true"/></selectable>'
        f"</update>"
    )
    (update,) = manifest.updates
    assert (update.name, update.display_name, update.restart) == ("u", "n", "required")
    (child,) = manifest.children
    assert (child.identity, child.integrate, child.contained) == (
        identity("Child"),
        "hidden",
        False,
    )
    assert manifest.deployments == (identity("Deployment"),)
    assert manifest.drivers == (DriverElement("x.inf", "1", identity("Driver")),)
    assert update.applicable == Applicable(
        "staged",
        (UpdateComponent("revision", (identity("A"), identity("B"))),),
        (DetectUpdate("p", in_parent=True), DetectUpdate("q", in_parent=False)),
    )
    assert update.selectable is not None
    assert (update.selectable.disposition, update.selectable.default) == ("staged", True)
    assert manifest.unknown == ()


def test_stack_capability_and_differential_marker() -> None:
    manifest = parse(
        identity_xml("Stack", "6.0.0.0", "installerAssembly")
        + '<declareCapability><capability><capabilityIdentity name="Tool.X" version="1.0" '
        'language="en-US"/></capability><dependency><capabilityIdentity name="Tool.Base"/>'
        "</dependency></declareCapability>"
        '<m:customInformation xmlns:m="urn:schemas-microsoft-com:asm.v3" PackageFormat="PSFX" '
        'PSFXVersion="2"/>'
    )
    assert manifest.installer_assembly == identity("Stack", "6.0.0.0")
    assert manifest.capabilities == (Capability("Tool.X", "1.0", "en-US", ("Tool.Base",)),)
    assert manifest.is_psfx


def test_elements_without_a_known_meaning_are_named() -> None:
    manifest = parse(
        '<mystery/><update name="u"><applicable><riddle/></applicable></update>'
        '<x:parent xmlns:x="urn:other"/>'
    )
    assert manifest.unknown == (
        "package/mystery",
        "package/update/applicable/riddle",
        "package/parent",
    )
    assert manifest.parents == ()


@pytest.mark.parametrize(
    "inside",
    [
        '<update name="u"><component/></update>',
        f"<update><package>{identity_xml('A')}{identity_xml('B')}</package></update>",
        "<parent/>",
        '<parent buildCompare="LT"/>',
        '<packageExtended packageSize="many"/>',
        '<packageExtended completelyOfflineCapable="perhaps"/>',
        "<parent><assemblyIdentity name='x' version='1'/></parent>",
    ],
)
def test_malformed_manifests_are_refused(inside: str) -> None:
    with pytest.raises(DamagedManifest):
        parse(inside)


def test_other_documents_are_no_package_manifests() -> None:
    for document in (b"<assembly/>", b'<a xmlns="urn:schemas-microsoft-com:asm.v3"><package/></a>'):
        with pytest.raises(DamagedManifest):
            parse_package(document)
