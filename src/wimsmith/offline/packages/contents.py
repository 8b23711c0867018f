"""What an expanded package brings: units with their deployments, components and payload."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wimsmith.errors import DamagedInput, LimitExceeded, NotSupported
from wimsmith.offline.manifests.component import ComponentManifest, parse_component
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.package import Applicable, PackageManifest, Update
from wimsmith.offline.manifests.xmlreader import MAX_XML_BYTES
from wimsmith.offline.packages.branches import branch_of_update, branches_of
from wimsmith.offline.packages.containers.cabinet import CabinetFile
from wimsmith.offline.packages.deltas.dcm import expand_dcm, is_dcm
from wimsmith.offline.packages.package import ExpandedPackage, ManifestFile
from wimsmith.offline.progress import Event, Progress, silent

NO_BASE = "stored compressed: its base text is in the servicing stack of an image"
WRONG_BASE = "stored compressed: with none of the base texts it is what a catalog lists"
_TRIED = 16
_COPY_BYTES = 1 << 20
_DESCRIPTIONS = (".mum", ".cat", ".manifest")
_HASH_LIST = "$filehashes$.dat"


@dataclass(frozen=True, slots=True)
class PayloadFacts:
    """A payload file by its path in the package; `digest` of its bytes, in hexadecimal."""

    name: str
    size_bytes: int
    digest: str
    algorithm: str = "sha256"


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """An `update` of a package: what it installs, and when.

    `branch` is gdr, ldr or empty. `conditions` are those of its `applicable` element; while they
    do not hold its state is `otherwise`. `default` tells of features that users switch: whether
    they are on at first; None if nothing says so.
    """

    package: str
    name: str
    branch: str = ""
    restart: str = ""
    conditions: tuple[str, ...] = ()
    otherwise: str = ""
    selectable: bool = False
    default: bool | None = None
    packages: tuple[AssemblyIdentity, ...] = ()
    deployments: tuple[AssemblyIdentity, ...] = ()
    drivers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentFacts:
    """A component or deployment, by its manifest.

    `primitive` counts what the engine can install, by kind of element; `advanced` names elements
    that need an installer of Windows: with them a component is refused if it is new to the image
    (advanced-new), or changes them there (advanced-changed). `unread` says why the manifest could
    not be read: everything but `keyform`, `is_compressed` and `branches` is then empty.
    """

    keyform: str
    is_compressed: bool
    identity: AssemblyIdentity | None = None
    is_deployment: bool | None = None
    branches: tuple[str, ...] = ()
    primitive: Mapping[str, int] = field(default_factory=dict)
    advanced: tuple[str, ...] = ()
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Contents:
    """Components of a package with their manifests, where those could be read."""

    components: tuple[ComponentFacts, ...]
    manifests: Mapping[str, ComponentManifest] = field(repr=False)


def units_of(manifests: Iterable[PackageManifest]) -> tuple[UnitFacts, ...]:
    """All `update` elements of some package manifests."""
    return tuple(_unit(manifest, update) for manifest in manifests for update in manifest.updates)


def contents_of(
    package: ExpandedPackage,
    base_manifests: Sequence[bytes] = (),
    progress: Progress = silent,
) -> Contents:
    """Read the components of a package, without judging whether a catalog lists them.

    Args:
        package: the update.
        base_manifests: base texts, of which any may be the one that compressed manifests need.
        progress: told after each manifest.
    """
    branches = _branches(package)
    base = base_for(package, base_manifests)
    without = WRONG_BASE if base_manifests else NO_BASE
    facts, manifests = [], {}
    for done, (key, stored) in enumerate(sorted(package.manifests.items()), 1):
        names = branches.get(key, ())
        try:
            found = _read(stored, base, without)
        except (DamagedInput, LimitExceeded, NotSupported) as error:
            found = str(error)
        if isinstance(found, str):
            facts.append(ComponentFacts(key, stored.compressed, branches=names, unread=found))
        else:
            manifests[key] = found
            facts.append(_component(key, stored, found, names))
        progress(Event("read manifests", done, len(package.manifests), "files"))
    return Contents(tuple(facts), manifests)


def base_for(package: ExpandedPackage, candidates: Sequence[bytes]) -> bytes | None:
    """The base text with which compressed manifests become what a catalog lists, or None."""
    compressed = [one for one in package.manifests.values() if one.compressed]
    for stored in compressed[:_TRIED]:
        for candidate in candidates:
            try:
                if package.lists(expand_dcm(stored.raw, candidate)):
                    return candidate
            except (DamagedInput, LimitExceeded, NotSupported):
                continue
    return None


def payload_of(
    files: Iterable[CabinetFile], progress: Progress = silent
) -> tuple[PayloadFacts, ...]:
    """Payload among the files of a package, with digests of what is really there."""
    payload = sorted((file for file in files if is_payload(file.name)), key=lambda one: one.name)
    total_bytes = sum(file.size_bytes for file in payload)
    known: dict[Path, str] = {}
    done_bytes = 0
    found = []
    for file in payload:
        if file.path not in known:
            known[file.path] = _sha256(file.path)
        found.append(PayloadFacts(file.name, file.size_bytes, known[file.path]))
        done_bytes += file.size_bytes
        progress(Event("hash payload", done_bytes, total_bytes, "bytes"))
    return tuple(found)


def is_payload(name: str) -> bool:
    """Whether a file of a package is neither a manifest nor a catalog nor a list of hashes."""
    folded = name.lower()
    return folded != _HASH_LIST and ("/" in name or not folded.endswith(_DESCRIPTIONS))


def _unit(manifest: PackageManifest, update: Update) -> UnitFacts:
    branch = branch_of_update(update.name)
    applicable, selectable = update.applicable, update.selectable
    return UnitFacts(
        package=manifest.identity.package_name,
        name=update.name,
        branch="" if branch is None else branch.value,
        restart=update.restart,
        conditions=() if applicable is None else tuple(_conditions(applicable)),
        otherwise="" if applicable is None else applicable.disposition or "absent",
        selectable=selectable is not None,
        default=None if selectable is None else selectable.default,
        packages=tuple(child.identity for child in update.packages),
        deployments=update.components,
        drivers=tuple(driver.inf for driver in update.drivers),
    )


def _conditions(applicable: Applicable) -> Iterator[str]:
    for component in applicable.components:
        families = ", ".join(dict.fromkeys(one.name for one in component.identities))
        yield f"{component.elevate} of {families}"
    for detection in applicable.detections:
        owner = "the parent package" if detection.in_parent else "this package"
        yield f"follows {detection.name} of {owner}"


def _branches(package: ExpandedPackage) -> dict[str, tuple[str, ...]]:
    try:
        found = branches_of(package)
    except (DamagedInput, LimitExceeded):  # the broken manifest is named where it is read
        return {}
    return {key: tuple(sorted(one.value for one in names)) for key, names in found.items()}


def _read(stored: ManifestFile, base: bytes | None, without: str) -> ComponentManifest | str:
    """A manifest, or why it cannot be read."""
    if stored.size_bytes > MAX_XML_BYTES:
        raise LimitExceeded(f"a manifest of {stored.size_bytes} bytes")
    data = stored.raw
    if not is_dcm(data):
        return parse_component(data)
    return without if base is None else parse_component(expand_dcm(data, base))


def _component(
    key: str, stored: ManifestFile, manifest: ComponentManifest, branches: tuple[str, ...]
) -> ComponentFacts:
    return ComponentFacts(
        keyform=key,
        is_compressed=stored.compressed,
        identity=manifest.identity,
        is_deployment=manifest.is_deployment,
        branches=branches,
        primitive=_primitive(manifest),
        advanced=manifest.advanced,
    )


def _primitive(manifest: ComponentManifest) -> dict[str, int]:
    counts = {
        "dependency": len(manifest.dependencies),
        "file": len(manifest.files),
        "directory": len(manifest.directories),
        "registryKey": len(manifest.registry_keys),
        "registryValue": sum(len(key.values) for key in manifest.registry_keys),
        "securityDescriptorDefinition": len(manifest.security_descriptors),
        "categoryMembership": len(manifest.memberships),
        "string": sum(map(len, manifest.strings.values())),
    }
    return {name: count for name, count in counts.items() if count}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_COPY_BYTES):
            digest.update(block)
    return digest.hexdigest()
