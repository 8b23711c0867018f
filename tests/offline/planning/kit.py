"""Updates and images as values, for stories about planning."""

from collections.abc import Mapping, Sequence

from wimsmith.offline.manifests.identity import AssemblyIdentity, Version, parse_package_name
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.manifests.package import ChildPackage, PackageManifest, Parent, Update
from wimsmith.offline.packages.compdb import BuildStep
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.snapshot import Snapshot, family_hash
from wimsmith.offline.planning.state import Image
from wimsmith.offline.verdicts import Finding

TOKEN = "31bf3856ad364e35"
FOUNDATION = f"Microsoft-Windows-Foundation-Package~{TOKEN}~amd64~~10.0.19041.1"
STAGED, SUPERSEDED, INSTALLED, PERMANENT = 0x40, 0x50, 0x70, 0x80


def named(name: str, version: str = "1.0.0.0", architecture: str = "amd64") -> str:
    """A package name."""
    return f"{name}~{TOKEN}~{architecture}~~{version}"


def component(name: str, version: str, scope: str = "nonSxS") -> AssemblyIdentity:
    return AssemblyIdentity(
        name, Version.parse(version), "amd64", "neutral", TOKEN, scope, "", "release"
    )


def manifest(
    name: str,
    parents: Sequence[str] = (FOUNDATION,),
    *updates: Update,
    stack: str = "",
    release_type: str = "Update",
) -> PackageManifest:
    """A package of one update with one deployment, unless there are others."""
    own = Update("one", components=(component(f"{name.partition('~')[0]}-Deployment", "1.0.0.0"),))
    asked = tuple(map(parse_package_name, parents))
    return PackageManifest(
        parse_package_name(name),
        release_type=release_type,
        parents=(Parent(asked),) if asked else (),
        installer_assembly=component("Microsoft-Windows-ServicingStack", stack) if stack else None,
        updates=updates or (own,),
    )


def carrying(*children: PackageManifest) -> Update:
    """An update element that carries packages."""
    return Update("carried", packages=tuple(ChildPackage(one.identity) for one in children))


def update(
    top: PackageManifest,
    *children: PackageManifest,
    installs: Sequence[AssemblyIdentity] = (),
    findings: tuple[Finding, ...] = (),
    article: str = "",
    step: tuple[str, str] | None = None,
) -> UpdateDescription:
    """An update; each deployment installs `installs`; `step` are builds: needed, and after it."""
    packages = {one.identity.package_name.lower(): one for one in (top, *children)}
    deployments = [one for each in packages.values() for one in each.deployments]
    needs, leads_to = step or ("", "")
    return UpdateDescription(
        top=top,
        packages=packages,
        installs={keyform(one): tuple(installs) for one in deployments} if installs else {},
        findings=findings,
        article=article,
        step=BuildStep(
            "lcu",
            needs=Version.parse(needs) if needs else None,
            leads_to=Version.parse(leads_to),
        )
        if step
        else None,
    )


def simple(name: str, *parents: str, version: str = "1.0.0.0") -> UpdateDescription:
    return update(manifest(named(name, version), parents or (FOUNDATION,)))


def image(**changes: object) -> Image:
    facts: dict[str, object] = {
        "major": 10,
        "minor": 0,
        "build": 19045,
        "architecture": "amd64",
        "system_root": r"C:\Windows",
        "windows": "Windows",
        "control_set": "ControlSet001",
        "languages": ("en-US",),
        "revision": 3803,
        "base_build": 19041,
        "editions": ("Professional",),
        "installation_type": "Client",
    }
    return Image(**(facts | changes))  # type: ignore[arg-type]  # one place, many shapes


def snapshot(
    packages: Mapping[str, int] | None = None,
    *components: AssemblyIdentity,
    stack: str = "10.0.19041.3745",
    updates: Mapping[str, Mapping[str, int]] | None = None,
    **facts: object,
) -> Snapshot:
    """An image with the foundation package, and what else is named."""
    return Snapshot(
        image=image(**facts),
        packages={FOUNDATION: INSTALLED} | dict(packages or {}),
        updates=updates or {},
        families={family_hash(one): str(one.version) for one in components},
        stack=Version.parse(stack) if stack else None,
    )
