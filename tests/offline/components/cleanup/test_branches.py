"""KB2999226 as Microsoft signed it, a newer package of its components, and clean-up after both.

The same with a generated update of that shape, which needs no file of Microsoft's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from offline.components.cleanup.story import NOW, clean
from offline.workbench import Bench, bench, update_file
from oracle.cleanup import expected_cleanup, read_permanent
from oracle.observe import list_files, observe
from wimsmith.offline.backends.interface import StepOutcome
from wimsmith.offline.commit import commit
from wimsmith.offline.components.cleanup.report import CleanupReport, Fate, Kind
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.components.removal.removing import remove
from wimsmith.offline.image import open_view
from wimsmith.offline.manifests.component import parse_component
from wimsmith.offline.packages.package import ExpandedPackage, expand
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import Identity
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import (
    FLAGS_B,
    Applicable,
    ComponentSpec,
    DeploymentSpec,
    FileSpec,
    Generation,
    ImageSpec,
    PackageSpec,
    UpdateEntry,
)

MAKER = Maker(Generation.WINDOWS_7)
SMALL = ImageSpec(size_bytes=1 << 19, components=4, generation=Generation.WINDOWS_7, flags=FLAGS_B)
KB2999226 = "Windows6.1-KB2999226-x64.msu"
GENERAL, LIMITED, NEWER = "6.1.7601.18937", "6.1.7601.23140", "6.1.7601.24000"


@dataclass(frozen=True, slots=True)
class Serviced:
    """An image with the update and, on top of it, a newer package of the same components."""

    path: Path
    families: frozenset[str]
    newer: str

    def payload(self, version: str, file: Path | None = None) -> list[str]:
        """Folders of the update's components in the store that are of one version."""
        paths = list_files(file or self.path, 1)
        found = {path.split("/")[2] for path in paths if path.startswith("windows/winsxs/")}
        return sorted(
            one for one in found if one.split("_")[1:2] and _is_of(one, self.families, version)
        )


def _is_of(folder: str, families: frozenset[str], version: str) -> bool:
    parts = folder.split("_")
    return len(parts) == 6 and "_".join(parts[:3]) in families and parts[3] == version


@pytest.fixture(scope="module")
def root() -> PracticeRoot:
    return PracticeRoot.new()


@pytest.fixture(scope="module", params=["generated", "KB2999226"])
def update(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, root: PracticeRoot
) -> Path:
    if request.param == "KB2999226":
        real: Path = request.getfixturevalue("real")
        return real / "msu" / KB2999226
    made = Bench(tmp_path_factory.mktemp("update"), root, FLAGS_B)
    return update_file(made, _two_branches(), "branches.cab")


@pytest.fixture(scope="module", params=["same package", "another package"])
def serviced(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    root: PracticeRoot,
    update: Path,
) -> Serviced:
    """The newer package has the name of the update's, or another one."""
    made = bench(tmp_path_factory.mktemp("bench"), root, SMALL)
    _applied(made.apply(update))
    expanded = expand(update, made.folder / "expanded")
    newer = _newer(expanded, same_name=request.param == "same package")
    second = made.next("second")
    _applied(second.apply(update_file(second, newer)))
    families = frozenset("_".join(key.split("_")[:3]) for key in expanded.manifests)
    return Serviced(second.serviced, families, newer.identity.package_name)


def test_only_the_newer_payload_is_left(
    serviced: Serviced, codec: WorkerCodec, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """After a reset of the base; where the name is the same, plain clean-up does it as well."""
    assert len(serviced.payload(GENERAL)) == len(serviced.payload(LIMITED)) == 4
    ways = [True, False] if "same package" in request.node.name else [True]
    for reset_base in ways:
        target = tmp_path / f"cleaned-{reset_base}.wim"
        report = _committed(serviced, codec, target, reset_base=reset_base)
        assert serviced.payload(GENERAL, target) == []
        assert serviced.payload(LIMITED, target) == []
        newer = serviced.payload(NEWER, target)
        assert len(newer) == 4
        after = list_files(target, 1)
        for folder in newer:
            files = [
                one for path, one in after.items() if path.startswith(f"windows/winsxs/{folder}/")
            ]
            assert files
            assert all(len(one.links) > 1 for one in files), "linked to its places"
        before = observe(serviced.path, 1)
        want = expected_cleanup(before, read_permanent(serviced.path, 1), reset_base=reset_base)
        gone = {one.name.lower() for one in report.of(Kind.COMPONENT, Fate.REMOVED)}
        emptied = {one.name.lower() for one in report.of(Kind.COMPONENT, Fate.EMPTIED)}
        assert (gone, emptied) == (want.components, want.emptied)


def test_after_a_reset_the_newer_cannot_be_removed(
    serviced: Serviced, codec: WorkerCodec, tmp_path: Path, root: PracticeRoot
) -> None:
    options = ApplyOptions(
        TrustPolicy(Anchors(()), test=Anchors((root.certificate,)), allow_test_roots=True), NOW
    )
    with open_wim(serviced.path, codec) as wim:
        view = open_view(wim, 1)
        changes = clean(view, tmp_path, reset_base=True).changes
        assert changes
        view.stack(changes)
        outcome = remove([serviced.newer], view, options, tmp_path)
    assert outcome.changes is None
    assert "reset-base" in {finding.code for finding in outcome.findings}


def _applied(outcome: StepOutcome) -> None:
    assert (outcome.verdict, outcome.code) == (Verdict.APPLIED, "applied"), outcome.findings


def _committed(
    serviced: Serviced, codec: WorkerCodec, target: Path, *, reset_base: bool
) -> CleanupReport:
    with open_wim(serviced.path, codec) as wim:
        outcome = clean(open_view(wim, 1), target.parent, reset_base=reset_base)
        assert outcome.code == "cleaned", outcome.findings
        assert outcome.changes
        assert outcome.report
        commit(wim, {1: [outcome.changes]}, target, codec=codec, modified=NOW)
        return outcome.report


def _two_branches() -> PackageSpec:
    entries = []
    for number, (rule, version) in enumerate((("revision", LIMITED), ("install", GENERAL)), 1):
        parts = tuple(_parts(version))
        applicable = Applicable(elevate=((rule, tuple(one.identity for one in parts)),))
        identity = Identity(f"Practice-Crt-Deployment-{rule}", version)
        deployment = DeploymentSpec(identity, parts)
        entries.append(UpdateEntry(f"5079001-{number}_neutral", deployment, applicable=applicable))
    return MAKER.package("KB5079001", "6.1.1.6", *entries)


def _parts(version: str) -> Iterator[ComponentSpec]:
    for name in ("Practice-Crt", "Practice-Crt-Forwarder"):
        for architecture in ("amd64", "x86"):
            identity = Identity(name, version, architecture)
            yield ComponentSpec(identity, (FileSpec(f"{name}.dll", program(f"{name} {version}")),))


def _newer(update: ExpandedPackage, *, same_name: bool) -> PackageSpec:
    """A package of all components of the update in a higher version of the limited branch."""
    parts = []
    for key in update.manifests:
        manifest = parse_component(update.decoded_manifest(key))
        identity = manifest.identity
        if manifest.is_deployment or str(identity.version) != LIMITED:
            continue
        new = Identity(
            identity.name,
            NEWER,
            identity.architecture,
            identity.language,
            identity.public_key_token,
        )
        files = tuple(
            FileSpec(one.name, program(f"{key} {one.name} newer"), one.destination_path)
            for one in manifest.files
        )
        parts.append(ComponentSpec(new, files))
    assert len(parts) == 4
    entry = UpdateEntry(
        "newer", DeploymentSpec(Identity("Practice-Crt-Newer", NEWER), tuple(parts))
    )
    if not same_name:
        return MAKER.package("KB5079002", "6.1.1.0", entry)
    names = [name.name for name in _chain(update)]
    package = MAKER.package("KB5079003", "6.1.2.0", entry)
    for number, name in enumerate(reversed(names)):
        named = replace(package.identity, name=name)
        package = replace(package, identity=named, visible=number + 1 == len(names))
        if number + 1 < len(names):
            package = MAKER.package(
                "KB5079003", "6.1.2.0", UpdateEntry(f"to-{number}", child=package)
            )
    return package


def _chain(update: ExpandedPackage) -> Iterator[Identity]:
    """The packages of an update that carry one another, the top one first."""
    manifest = update.top.manifest
    while True:
        yield Identity(manifest.identity.name, str(manifest.identity.version))
        below = [child for one in manifest.updates for child in one.packages]
        if not below:
            return
        found = update.package(below[0].identity)
        assert found is not None
        manifest = found.manifest
