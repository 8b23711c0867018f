"""A bench for whole updates on whole images: applied by the engine, expected by the oracle."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oracle.compare import differences
from oracle.expect import Conventions, expected_after
from oracle.observe import observe
from oracle.package import expand_cabinet, read_update
from oracle.want import ImageWant
from wimsmith.offline.backends.interface import StepOutcome
from wimsmith.offline.backends.native import NativeBackend
from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.commit import commit
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.packages.deltas.dcm import expand_dcm, is_dcm
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.roots import microsoft_anchors
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.practice.image import build_image
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import ImageSpec, PackageSpec, StoreFlags, ThumbprintRule, UpdateSpec
from wimsmith.practice.updates import build_update

NOW = 133_600_000_000_000_000


@dataclass(frozen=True, slots=True)
class Bench:
    """A folder with a generated image, and the root that signed what was generated."""

    folder: Path
    root: PracticeRoot
    flags: StoreFlags

    @property
    def base(self) -> Path:
        return self.folder / "base.wim"

    @property
    def serviced(self) -> Path:
        return self.folder / "serviced.wim"

    @property
    def changes(self) -> Path:
        """The saved change set of the update."""
        return self.folder / "changes"

    def next(self, name: str, *changes: ChangeSet) -> "Bench":
        """A bench that starts from what this one has serviced, with further changes if given."""
        folder = self.folder / name
        folder.mkdir()
        made = replace(self, folder=folder)
        if not changes:
            made.base.hardlink_to(self.serviced)
            return made
        with WorkerCodec() as codec, open_wim(self.serviced, codec) as wim:
            commit(wim, {1: list(changes)}, made.base, codec=codec, modified=NOW)
        return made

    def apply(
        self, update: Path, *, index_number: int = 1, previous: Sequence[Path] = ()
    ) -> StepOutcome:
        """Apply an update and commit what it and `previous` ones changed, as the site does it."""
        trust = TrustPolicy(
            microsoft_anchors(), test=Anchors((self.root.certificate,)), allow_test_roots=True
        )
        opened = NativeBackend().open(
            self.base,
            self.folder / "work",
            ApplyOptions(trust=trust, now=NOW),
            done={index_number: previous},
        )
        with opened as session:
            outcome = session.apply(index_number, update, self.changes)
            if outcome.changed:
                session.commit(self.serviced)
        return outcome

    def expected(self, update: Path, base_manifest: bytes = b"") -> ImageWant:
        """What the package's own manifests ask for on top of the base."""
        folder = expand_cabinet(update, self.folder / "expanded")
        decoded = {
            path.stem: expand_dcm(data, base_manifest)
            for path in folder.glob("*.manifest")
            if is_dcm(data := path.read_bytes())
        }
        package = read_update(folder, decoded)
        return expected_after(package, observe(self.base, 1), conventions(self.flags))


def agrees(made: Bench, update: Path) -> list[str]:
    """Apply an update that must be applied; what the result has other than its manifests say."""
    outcome = made.apply(update)
    assert (outcome.verdict, outcome.code) == (Verdict.APPLIED, "applied"), outcome.findings
    return differences(made.expected(update), observe(made.serviced, 1))


def update_file(made: Bench, package: PackageSpec, name: str = "made.cab") -> Path:
    """An update that holds a package, signed by the root of the bench."""
    return build_update(UpdateSpec(package, name), made.folder / name, root=made.root)


def conventions(flags: StoreFlags) -> Conventions:
    return Conventions(
        component_flags=flags.component_flags,
        deployment_flags=flags.deployment_flags,
        file_flags=flags.file_flags,
        staged_file_flags=flags.staged_file_flags,
        owner_flag=flags.owner_flag,
        pinned=flags.pinned,
        staged=flags.staged,
        installed=flags.installed,
        elevated={"install": flags.elevated_install, "revision": flags.elevated_revision},
        visible=flags.visible,
        hidden=flags.hidden,
        thumbprint_of_catalog=flags.thumbprint is ThumbprintRule.CATALOG,
    )


def bench(folder: Path, root: PracticeRoot, spec: ImageSpec) -> Bench:
    made = Bench(folder, root, spec.flags)
    build_image(spec, made.base, root=root)
    return made
