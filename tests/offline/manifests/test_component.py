"""Component manifests: every primitive element, and nothing unknown slips through."""

import base64
import hashlib
import lzma
from pathlib import Path

import pytest

from wimsmith.errors import DamagedManifest, UnsafePath
from wimsmith.offline.manifests.component import (
    ComponentFile,
    ComponentManifest,
    Directory,
    FileHash,
    Membership,
    RegistryKey,
    RegistryValue,
    SecurityDescriptorDefinition,
    parse_component,
)
from wimsmith.offline.manifests.names import keyform

IDENTITY = (
    '<assemblyIdentity name="{name}" version="1.2.3.4" processorArchitecture="amd64" '
    'language="{language}" buildType="release" publicKeyToken="0123456789abcdef" '
    'versionScope="nonSxS"/>'
)
DSIG = "http://www.w3.org/2000/09/xmldsig#"
IDENTITY_TRANSFORM = "urn:schemas-microsoft-com:HashTransforms.Identity"


def identity_xml(name: str = "Sample", language: str = "neutral") -> str:
    return IDENTITY.format(name=name, language=language)


def hash_xml(digest: bytes, algorithm: str = "sha256", transform: str = IDENTITY_TRANSFORM) -> str:
    return (
        f'<asmv2:hash xmlns:asmv2="urn:schemas-microsoft-com:asm.v2" xmlns:dsig="{DSIG}">'
        f'<dsig:Transforms><dsig:Transform Algorithm="{transform}"/></dsig:Transforms>'
        f'<dsig:DigestMethod Algorithm="{DSIG}{algorithm}"/><dsig:DigestValue>'
        f"{base64.b64encode(digest).decode()}</dsig:DigestValue></asmv2:hash>"
    )


def parse(inside: str, assembly: str = "") -> ComponentManifest:
    return parse_component(
        f'<assembly xmlns="urn:schemas-microsoft-com:asm.v3" {assembly}>'
        f"{identity_xml()}{inside}</assembly>".encode()
    )


def test_files_with_hash_descriptor_and_links() -> None:
    digest = hashlib.sha256(b"content").digest()
    manifest = parse(
        '<file name="Tool.exe" destinationPath="$(runtime.system32)\\" sourceName="t.exe" '
        'sourcePath=".\\" importPath="$(build.nttree)\\" writeableType="static" '
        'attributes="readonly"><securityDescriptor name="SD"/>'
        f"{hash_xml(digest)}"
        '<link destination="$(runtime.windows)\\tool.exe"/><link destination="b"/>'
        '<signatureInfo><signatureDescriptor pageHash="true"/></signatureInfo><infFile/></file>'
    )
    assert manifest.files == (
        ComponentFile(
            name="Tool.exe",
            destination_path="$(runtime.system32)\\",
            source_name="t.exe",
            source_path=".\\",
            import_path="$(build.nttree)\\",
            writeable_type="static",
            attributes="readonly",
            security_descriptor="SD",
            hashes=(FileHash("sha256", digest),),
            links=("$(runtime.windows)\\tool.exe", "b"),
            is_inf=True,
        ),
    )
    assert manifest.files[0].hash == FileHash("sha256", digest)
    assert manifest.advanced == ()


def test_only_digests_of_the_bytes_themselves_count() -> None:
    weak, other = hashlib.sha1(b"").digest(), hashlib.sha256(b"").digest()
    manifest = parse(
        f'<file name="a">{hash_xml(weak, "sha1")}{hash_xml(other, transform="urn:else")}</file>'
        f'<file name="b"/>'
    )
    assert manifest.files[0].hash == FileHash("sha1", weak)
    assert manifest.files[1].hash is None


def test_directories_registry_and_descriptors() -> None:
    manifest = parse(
        '<directories><directory destinationPath="$(runtime.windows)\\d" owner="true" '
        'attributes="hidden"><securityDescriptor name="DIR"/></directory>'
        '<directory destinationPath="e"/></directories>'
        '<registryKeys><registryKey keyName="HKEY_LOCAL_MACHINE\\Software\\X" owner="false" '
        'perUserVirtualization="Enabled"><registryValue name="" valueType="REG_SZ" value="v"/>'
        '<registryValue name="n" valueType="00020001" value="00ff" operationHint="replace" '
        'mutable="true" owner="true"/><securityDescriptor name="KEY"/></registryKey></registryKeys>'
        "<trustInfo><security><accessControl><securityDescriptorDefinitions>"
        '<securityDescriptorDefinition name="KEY" sddl="(inherit)" operationHint="replace" '
        'description="d"/></securityDescriptorDefinitions></accessControl></security></trustInfo>'
    )
    assert manifest.directories == (
        Directory(
            "$(runtime.windows)\\d", owner=True, attributes="hidden", security_descriptor="DIR"
        ),
        Directory("e"),
    )
    assert manifest.registry_keys == (
        RegistryKey(
            key_name="HKEY_LOCAL_MACHINE\\Software\\X",
            owner=False,
            per_user_virtualization="Enabled",
            security_descriptor="KEY",
            values=(
                RegistryValue("", "REG_SZ", "v"),
                RegistryValue("n", "00020001", "00ff", "replace", mutable=True, owner=True),
            ),
        ),
    )
    assert manifest.security_descriptors == {
        "KEY": SecurityDescriptorDefinition("KEY", "(inherit)", "replace", "d")
    }
    assert manifest.advanced == ()


def test_dependencies_memberships_and_strings() -> None:
    manifest = parse(
        '<deployment/><dependency discoverable="no" resourceType="Resources">'
        f'<dependentAssembly dependencyType="prerequisite">{identity_xml("R", "*")}'
        '</dependentAssembly></dependency><dependency discoverable="yes">'
        f'<dependentAssembly dependencyType="install">{identity_xml("Part")}</dependentAssembly>'
        '</dependency><memberships><categoryMembership><id name="Microsoft.Windows.Categories" '
        'version="1.0.0.0" publicKeyToken="365143bb27e7ac8b" typeName="BootRecovery"/>'
        '</categoryMembership></memberships><localization><resources culture="en-US"><stringTable>'
        '<string id="a" value="b"/></stringTable></resources></localization>'
        "<debuggingInfo><anything/></debuggingInfo><rescache/><deconstructionTool/>"
    )
    assert manifest.is_deployment
    assert [one.name for one in manifest.installs] == ["Part"]
    resources, install = manifest.dependencies
    assert (resources.kind, resources.resource_type) == ("prerequisite", "Resources")
    assert (resources.discoverable, install.discoverable) == (False, True)
    assert resources.identity.language == "*"
    assert manifest.memberships == (
        Membership("BootRecovery", "Microsoft.Windows.Categories", "1.0.0.0", "365143bb27e7ac8b"),
    )
    assert manifest.strings == {"en-US": {"a": "b"}}
    assert manifest.advanced == ()


@pytest.mark.parametrize(
    ("inside", "named"),
    [
        ("<configuration/>", ("configuration",)),
        ("<feature/>", ("feature",)),
        ("<neverSeenBefore/>", ("neverSeenBefore",)),
        ('<x:file xmlns:x="urn:else"/>', ("file",)),
        ('<file name="a"><lodctr/></file>', ("file/lodctr",)),
        ("<deployment><odd/></deployment>", ("deployment/odd",)),
        (
            "<registryKeys><registryKey><systemProtection/></registryKey></registryKeys>",
            ("registryKeys/registryKey/systemProtection",),
        ),
        (
            (
                '<memberships><categoryMembership><id typeName="Service"/><categoryInstance>'
                "<serviceData/></categoryInstance></categoryMembership><categoryMembership>"
                '<id typeName="SingleInstanceFiles"/></categoryMembership></memberships>'
            ),
            ("memberships/Service",),
        ),
        (
            (
                '<memberships><categoryMembership><id typeName="BootRecovery"/><categoryInstance/>'
                "</categoryMembership></memberships>"
            ),
            ("memberships/categoryMembership/categoryInstance",),
        ),
        ("<configuration/><mof/><configuration/>", ("configuration", "mof")),
    ],
)
def test_what_is_not_primitive_is_named(inside: str, named: tuple[str, ...]) -> None:
    assert parse(inside).advanced == named


@pytest.mark.parametrize(
    "inside",
    [
        '<file name=""/>',
        f'<file name="a">{hash_xml(b"short")}</file>',
        f'<file name="a">{hash_xml(bytes(32), "md5")}</file>',
        '<file name="a"><hash/></file>',
        '<directories><directory owner="maybe"/></directories>',
        "<assemblyIdentity name='second' version='1.0.0.0'/>",
    ],
)
def test_malformed_manifests_are_refused(inside: str) -> None:
    with pytest.raises(DamagedManifest):
        parse(inside)


@pytest.mark.parametrize("name", ["..\\..\\evil", "a:b", "NUL", "x\x7f*"])
def test_file_names_that_windows_could_not_hold_are_refused(name: str) -> None:
    with pytest.raises(UnsafePath):
        parse(f'<file name="{name}"/>')


def test_a_real_manifest_of_three_megabytes(real: Path) -> None:
    data = lzma.decompress((real / "dcm" / "wow64_golden.xml.xz").read_bytes())
    manifest = parse_component(data)
    assert keyform(manifest.identity) == (
        "wow64_microsoft-windows-o..euapcommonproxystub_31bf3856ad364e35_10.0.26100.7309"
        "_none_38de5e2364a9fd20"
    )
    assert len(manifest.registry_keys) > 10_000
    assert sum(len(key.values) for key in manifest.registry_keys) > 6_000
    assert {key.security_descriptor for key in manifest.registry_keys} <= set(
        manifest.security_descriptors
    )
    assert manifest.advanced == ()
