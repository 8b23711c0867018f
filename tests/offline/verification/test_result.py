"""What a run has written is checked before it gets its name: what is not closed leaves no file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from offline.components.gate.breaking import ForeignImage
from offline.verification.kit import examined
from offline.workbench import agrees, bench, update_file
from wimsmith.errors import VerificationFailed
from wimsmith.offline.backends.native import NativeBackend
from wimsmith.offline.changes import (
    ChangeSet,
    CreateKey,
    Edit,
    Link,
    PutFile,
    SetValue,
    load,
    save,
)
from wimsmith.offline.commit import commit
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.components.verification.result import touched, verify_result
from wimsmith.offline.image import open_view
from wimsmith.offline.packages.promises import PromisedBuild
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.registry.hive import Hive
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.practice.maker import Maker
from wimsmith.practice.names import WINDOWS_TOKEN, Identity
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation, ImageSpec
from wimsmith.practice.updates import build_update

NOW = 133_600_000_000_000_000
SHELL = "practice-windows-shell"
UBR = "ubr"


@pytest.fixture(scope="module")
def options(practice_signer: PracticeRoot) -> ApplyOptions:
    anchors = Anchors((practice_signer.certificate,))
    return ApplyOptions(trust=TrustPolicy(Anchors(), test=anchors, allow_test_roots=True), now=NOW)


def applied(base: Path, name: str, folder: Path, root: PracticeRoot, options: ApplyOptions) -> Path:
    """Folder of the change set of an update that applies."""
    update = build_update(preset(name), folder / name, root=root)
    out = folder / f"{name}-changes"
    with NativeBackend().open(base, folder / "work", options) as session:
        outcome = session.apply(1, update, out)
    assert outcome.verdict is Verdict.APPLIED, outcome.findings
    return out


@pytest.fixture(scope="module")
def rollup(
    image_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    practice_signer: PracticeRoot,
    options: ApplyOptions,
) -> Path:
    return applied(
        image_path, "rollup", tmp_path_factory.mktemp("rollup"), practice_signer, options
    )


def committed(base: Path, changes: Path, folder: Path, options: ApplyOptions) -> Path:
    target = folder / "out.wim"
    with NativeBackend().open(base, folder / "work", options, done={1: [changes]}) as session:
        return session.commit(target).path


@pytest.mark.parametrize("name", ["small", "languages", "every-element"])
def test_an_image_is_sound_after_an_update(
    image_path: Path,
    name: str,
    tmp_path: Path,
    practice_signer: PracticeRoot,
    options: ApplyOptions,
) -> None:
    changes = applied(image_path, name, tmp_path, practice_signer, options)
    report = examined(committed(image_path, changes, tmp_path, options))
    assert report.is_sound, report.problems


def test_a_rollup_brings_the_build_that_it_promises(
    image_path: Path, rollup: Path, tmp_path: Path, options: ApplyOptions, codec: Codec
) -> None:
    path = committed(image_path, rollup, tmp_path, options)
    assert examined(path).is_sound
    with open_wim(path, codec) as wim:
        windows = wim.image(1).windows
        assert windows is not None
        assert windows.service_pack_build == 501
        view = open_view(wim, 1)
        verify_result(view, [load(rollup)], leads_to=PromisedBuild(19041, 501, "the test"))
        with pytest.raises(VerificationFailed, match=r"revision-not-advanced: .*19041\.501, 19041"):
            verify_result(view, [load(rollup)], leads_to=PromisedBuild(19041, 777, "the test"))


def test_windows_7_has_no_revision_that_could_advance(
    tmp_path: Path, practice_signer: PracticeRoot
) -> None:
    """Its monthly rollups have names and versions like those of Windows 10 all the same."""
    maker = Maker(Generation.WINDOWS_7)
    simple = maker.simple("KB5000600", "Practice-Monthly")
    name = f"Package_for_RollupFix~{WINDOWS_TOKEN}~amd64~~7601.24511.1.5"
    package = replace(simple, identity=Identity.package(name))
    made = bench(tmp_path, practice_signer, ImageSpec(Generation.WINDOWS_7, size_bytes=1 << 19))
    assert agrees(made, update_file(made, package)) == []


def without_manifest(edit: Edit) -> bool:
    return isinstance(edit, PutFile) and f"/Manifests/amd64_{SHELL}" in edit.path


def without_links(edit: Edit) -> bool:
    return isinstance(edit, Link) and edit.path.endswith("explorer.exe")


def without_winner(edit: Edit) -> bool:
    is_key = isinstance(edit, SetValue | CreateKey)
    return is_key and rf"\Winners\amd64_{SHELL}" in edit.key  # type: ignore[union-attr]


def without_revision(edit: Edit) -> bool:
    return isinstance(edit, SetValue) and edit.name.lower() == UBR


def without_owner_mark(edit: Edit) -> bool:
    is_value = isinstance(edit, SetValue)
    return is_value and SHELL in edit.key and edit.name.startswith("c!")  # type: ignore[union-attr]


def without_catalog(edit: Edit) -> bool:
    return isinstance(edit, PutFile) and "/WinSxS/Catalogs/" in edit.path


def without_catalog_key(edit: Edit) -> bool:
    is_key = isinstance(edit, SetValue | CreateKey)
    return is_key and edit.key.startswith(r"CanonicalData\Catalogs")  # type: ignore[union-attr]


def without_package_manifest(edit: Edit) -> bool:
    return isinstance(edit, PutFile) and edit.path.endswith(".mum") and "KB5000001" in edit.path


def without_index(edit: Edit) -> bool:
    return isinstance(edit, SetValue | CreateKey) and r"\PackageIndex\Package_1_for" in edit.key


def without_deployment(edit: Edit) -> bool:
    is_key = isinstance(edit, SetValue | CreateKey)
    return is_key and edit.key.startswith(r"CanonicalData\Deployments")  # type: ignore[union-attr]


LACKS: dict[Callable[[Edit], bool], str] = {
    without_manifest: "manifest-missing",
    without_links: "destination-stale",
    without_winner: "winner-unlisted",
    without_revision: "revision-not-advanced",
    without_owner_mark: "component-mark-missing",
    without_catalog: "catalog-missing",
    without_catalog_key: "deployment-catalog-missing",
    without_package_manifest: "package-manifest-missing",
    without_index: "package-not-indexed",
    without_deployment: "component-deployment-missing|package-deployment-missing",
}


@pytest.mark.parametrize("lacks", LACKS, ids=lambda one: one.__name__)
def test_what_lacks_a_part_is_not_kept(
    image_path: Path,
    rollup: Path,
    lacks: Callable[[Edit], bool],
    tmp_path: Path,
    options: ApplyOptions,
) -> None:
    whole = load(rollup)
    tree = tuple(edit for edit in whole.tree if not lacks(edit))
    registry = tuple(edit for edit in whole.registry if not lacks(edit))
    assert len(tree) + len(registry) < len(whole.tree) + len(whole.registry)
    save(ChangeSet(tree, registry, whole.content), tmp_path / "lacking")

    with pytest.raises(VerificationFailed, match=LACKS[lacks]):
        committed(image_path, tmp_path / "lacking", tmp_path, options)

    assert not list(tmp_path.glob("out.wim*"))


def test_only_what_was_touched_is_judged(
    image_path: Path, rollup: Path, tmp_path: Path, options: ApplyOptions
) -> None:
    """An image that lost a file long ago can be serviced: its other parts are not this run's."""
    image = ForeignImage(image_path, tmp_path / "image")
    image.path.chmod(0o644)
    fonts = next(n for n in image.names("Windows/WinSxS") if "practice-windows-fonts" in n)
    image.delete(f"Windows/WinSxS/{fonts}/practice.ttf")
    path = committed(image.path, rollup, tmp_path, options)
    assert {one.code for one in examined(path).problems} == {"payload-missing"}


def test_a_hive_that_is_written_otherwise_than_it_was_edited_leaves_no_file(
    image: Wim, codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Hive.serialize

    def faulty(self: Hive, modified: int) -> bytes:
        return write(self, modified).replace(b"\xab\xcd\xef\x01\x02", b"\xab\xcd\xef\x01\x03")

    monkeypatch.setattr(Hive, "serialize", faulty)
    edit = SetValue("SOFTWARE", "Practice\\New", "data", 3, b"\xab\xcd\xef\x01\x02")
    with pytest.raises(VerificationFailed, match=r"hive SOFTWARE: two readers differ"):
        commit(
            image,
            {1: [ChangeSet(registry=(edit,))]},
            tmp_path / "out.wim",
            codec=codec,
            modified=NOW,
        )
    assert not list(tmp_path.iterdir())


def test_what_a_change_set_touches_is_told_by_name(rollup: Path) -> None:
    done = touched([load(rollup)])
    top = next(name for name in done.states if name.startswith("package_for_rollupfix~"))
    assert done.states[top] == 0x70
    assert top in done.brought
    assert any(SHELL in name for name in done.names)
    assert touched([]).names == frozenset()
