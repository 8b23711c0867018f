"""Clean-up among the other things that are done to an image in one run."""

import subprocess
from pathlib import Path

from offline.components.cleanup.story import NEW, NOW, OLD, clean, update
from oracle.observe import list_files, observe
from wimsmith.offline.commit import commit, commit_views
from wimsmith.offline.components.cleanup.report import Fate, Kind
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.components.removal.removing import remove
from wimsmith.offline.components.store.lookups import CBS
from wimsmith.offline.image import open_view
from wimsmith.offline.packages.package import expand
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.practice.image import build_image
from wimsmith.practice.maker import Maker
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation, ImageSpec, PackageSpec, UpdateSpec
from wimsmith.practice.updates import build_update

MAKER = Maker(Generation.WINDOWS_10)
SMALL = ImageSpec(size_bytes=1 << 19, components=2)
TOOL = "windows/system32/practice-tool.dll"


def package(step: int) -> PackageSpec:
    return update(MAKER, "KB7200001", step, NEW, MAKER.component("Practice-Tool", 300 + step))


def options(root: PracticeRoot) -> ApplyOptions:
    trust = TrustPolicy(Anchors(()), test=Anchors((root.certificate,)), allow_test_roots=True)
    return ApplyOptions(trust, NOW)


def test_payload_that_came_and_went_in_one_run_is_not_written(
    tmp_path: Path, codec: WorkerCodec, practice_signer: PracticeRoot
) -> None:
    base, target = tmp_path / "base.wim", tmp_path / "cleaned.wim"
    build_image(SMALL, base, root=practice_signer, codec=codec)
    with open_wim(base, codec) as wim:
        view = open_view(wim, 1)
        for step in (1, 2):
            file = tmp_path / f"{step}.cab"
            build_update(UpdateSpec(package(step), file.name), file, root=practice_signer)
            outcome = apply(expand(file, tmp_path / str(step)), view, options(practice_signer))
            assert outcome.changes, outcome.findings
            view.stack(outcome.changes)
        first = view.find("Windows/System32/practice-tool.dll")
        assert first
        cleaned = clean(view, tmp_path / "spool", reset_base=False)
        assert cleaned.changes, cleaned.findings
        gone = {one.path for one in view.find("Windows/WinSxS").children.values()}  # type: ignore[union-attr]
        lost = next(one for one in gone if "practice-tool_" in one and "19041.302" in one)
        old = view.find(f"{lost}/practice-tool.dll")
        assert old
        sha1 = old.inode.sha1
        view.stack(cleaned.changes)
        commit_views(wim, {1: view}, target, codec=codec, modified=NOW)
    with open_wim(target, codec) as wim:
        assert first.inode.sha1 in wim.blobs
        assert sha1 not in wim.blobs


def test_an_older_rollup_goes_with_its_parts(
    tmp_path: Path, codec: WorkerCodec, practice_signer: PracticeRoot
) -> None:
    """Its part is named after its article, and so never superseded by number."""
    base, target = tmp_path / "base.wim", tmp_path / "cleaned.wim"
    build_image(SMALL, base, root=practice_signer, codec=codec)
    with open_wim(base, codec) as wim:
        view = open_view(wim, 1)
        for name in ("rollup", "rollup-v2"):
            spec = preset(name)
            file = build_update(spec, tmp_path / spec.file_name, root=practice_signer)
            outcome = apply(expand(file, tmp_path / name), view, options(practice_signer))
            assert outcome.changes, outcome.findings
            view.stack(outcome.changes)
        cleaned = clean(view, tmp_path / "spool", reset_base=False)
        assert cleaned.report is not None
        removed = {one.name for one in cleaned.report.of(Kind.PACKAGE, Fate.REMOVED)}
        assert {one.partition("~")[0] for one in removed if "~19041." in one} == {
            "Package_for_RollupFix",
            "Package_1_for_KB5000001",
        }
        assert cleaned.changes
        view.stack(cleaned.changes)
        commit_views(wim, {1: view}, target, codec=codec, modified=NOW)
    with open_wim(target, codec) as wim:
        software = open_view(wim, 1).hive("SOFTWARE")
        packages = software.key(rf"{CBS}\Packages")
        assert packages
        left = {key.name.partition("~")[0] for key in packages.subkeys() if "~19041." in key.name}
        assert left == {"Package_for_RollupFix", "Package_1_for_KB5000002"}
        names = wimlib_names(target)
        assert not any("KB5000001" in name for name in names)
        assert any("KB5000002" in name for name in names)


def wimlib_names(wim: Path) -> list[str]:
    found = subprocess.run(
        ["wimlib-imagex", "dir", wim, "1"], capture_output=True, text=True, check=True
    )
    return found.stdout.splitlines()


def test_after_a_clean_up_an_update_can_still_be_removed(
    tmp_path: Path, codec: WorkerCodec, practice_signer: PracticeRoot
) -> None:
    """What comes back is the oldest version that was kept for that, not the one between."""
    base, target = tmp_path / "base.wim", tmp_path / "cleaned.wim"
    release = update(MAKER, "KB7200000", 1, NEW, MAKER.component("Practice-Tool", 300))
    between = update(MAKER, "KB7200001", 1, OLD, MAKER.component("Practice-Tool", 301))
    newest = package(2)
    spec = ImageSpec(size_bytes=1 << 19, components=2, extra_packages=(release, between, newest))
    build_image(spec, base, root=practice_signer, codec=codec)
    before = list_files(base, 1)
    with open_wim(base, codec) as wim:
        view = open_view(wim, 1)
        cleaned = clean(view, tmp_path / "spool", reset_base=False)
        assert cleaned.changes
        view.stack(cleaned.changes)
        removed = remove(
            [newest.identity.package_name], view, options(practice_signer), tmp_path / "spool"
        )
        assert removed.changes, removed.findings
        commit(wim, {1: [cleaned.changes, removed.changes]}, target, codec=codec, modified=NOW)
    after = observe(target, 1).entries
    stored = [path for path in after if path.startswith("windows/winsxs/")]
    (kept,) = (path for path in stored if path.endswith("/practice-tool.dll"))
    assert "_10.0.19041.301_" in kept
    assert after[TOOL].links == {TOOL, kept}
    assert after[TOOL].sha1 == before[kept].sha1
