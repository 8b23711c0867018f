"""What the site is told about one update on one index: a verdict, never a surprise."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from offline.wim import judges
from wimsmith.errors import Cancelled, CleanUpFailed, InvalidState
from wimsmith.offline.backends import native
from wimsmith.offline.backends.interface import StepOutcome
from wimsmith.offline.backends.native import NativeBackend
from wimsmith.offline.commit import CommitReport
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.edits.kinds import Add, Delete, Edit, MakeFolder
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.verdicts import NOT_SUPPORTED_LINE, Verdict
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.practice.image import build_image
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import ImageSpec
from wimsmith.practice.updates import build_update

NOW = 133_000_000_000_000_000


@pytest.fixture
def options(practice_signer: PracticeRoot) -> ApplyOptions:
    anchors = Anchors((practice_signer.certificate,))
    return ApplyOptions(trust=TrustPolicy(Anchors(), test=anchors, allow_test_roots=True), now=NOW)


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory, practice_signer: PracticeRoot) -> Path:
    """A file with one index, read-only."""
    path = tmp_path_factory.mktemp("single") / "install.wim"
    build_image(ImageSpec(size_bytes=256 << 10), path, root=practice_signer)
    path.chmod(0o444)
    return path


def apply(
    base: Path,
    update: Path,
    out: Path,
    options: ApplyOptions,
    *,
    index: int = 1,
    previous: tuple[Path, ...] = (),
) -> StepOutcome:
    work = out.with_suffix(".work")
    with NativeBackend().open(base, work, options, done={index: previous}) as session:
        return session.apply(index, update, out)


def commit(
    base: Path,
    done: Mapping[int, Sequence[Path]],
    target: Path,
    options: ApplyOptions,
    progress: Progress = silent,
) -> CommitReport:
    work = target.with_suffix(".work")
    with NativeBackend().open(base, work, options, done=done, progress=progress) as session:
        return session.commit(target)


def test_two_updates_on_two_indexes_become_one_new_file(
    image_path: Path,
    practice_signer: PracticeRoot,
    options: ApplyOptions,
    tmp_path: Path,
    codec: Codec,
) -> None:
    first = build_update(preset("rollup"), tmp_path / "first.msu", root=practice_signer)
    second = build_update(preset("small"), tmp_path / "second.cab", root=practice_signer)
    before = hashlib.sha256(image_path.read_bytes()).hexdigest()
    changed = {}
    for index in (1, 3):
        sets = (tmp_path / f"{index}-1", tmp_path / f"{index}-2")
        one = apply(image_path, first, sets[0], options, index=index)
        two = apply(image_path, second, sets[1], options, index=index, previous=sets[:1])
        assert (one.verdict, two.verdict) == (Verdict.APPLIED, Verdict.APPLIED)
        changed[index] = sets

    report = commit(image_path, changed, tmp_path / "new.wim", options)

    assert report.indexes == (1, 3)
    judges.accept(report.path)
    with open_wim(image_path, codec) as old, open_wim(report.path, codec) as new:
        assert new.metadata(2) == old.metadata(2)
        revisions = [image.windows.service_pack_build for image in new.images if image.windows]
        assert revisions[0] == revisions[2]
        assert revisions[0] != revisions[1]
    assert hashlib.sha256(image_path.read_bytes()).hexdigest() == before


def test_an_update_that_is_there_already_is_seen_in_the_pending_changes(
    image_path: Path, practice_signer: PracticeRoot, options: ApplyOptions, tmp_path: Path
) -> None:
    update = build_update(preset("small"), tmp_path / "u.cab", root=practice_signer)
    first = tmp_path / "first"
    apply(image_path, update, first, options)
    again = apply(image_path, update, tmp_path / "again", options, previous=(first,))
    assert again.verdict is Verdict.INSTALLED
    assert not again.changed


@pytest.mark.parametrize(
    ("name", "verdict", "code"),
    [
        ("psfx", Verdict.NOT_SUPPORTED, "psfx"),
        ("unsupported-service", Verdict.NOT_SUPPORTED, "advanced-new:memberships/Service"),
        ("missing-parent", Verdict.PREREQUISITE_MISSING, "parent"),
        ("truncated", Verdict.FAILED, "damaged:damaged-package"),
        ("corrupt-payload", Verdict.FAILED, "untrusted:payload-hash"),
        ("unsigned", Verdict.FAILED, "untrusted:catalog-signature"),
    ],
)
def test_what_cannot_be_applied_leaves_no_change_set(
    image_path: Path,
    practice_signer: PracticeRoot,
    options: ApplyOptions,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    verdict: Verdict,
    code: str,
) -> None:
    update = build_update(preset(name), tmp_path / "u.cab", root=practice_signer)
    with caplog.at_level(logging.INFO, "wimsmith.offline"):
        outcome = apply(image_path, update, tmp_path / "set", options)
    assert (outcome.verdict, outcome.code, outcome.changed) == (verdict, code, False)
    assert not (tmp_path / "set").exists()
    assert (NOT_SUPPORTED_LINE in caplog.messages) == (verdict is Verdict.NOT_SUPPORTED)


def test_a_file_that_is_no_package_is_one_clear_verdict(
    image_path: Path, options: ApplyOptions, tmp_path: Path
) -> None:
    update = tmp_path / "setup.exe"
    update.write_bytes(b"MZ" + bytes(5000))
    outcome = apply(image_path, update, tmp_path / "set", options)
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_SUPPORTED, "not-cbs")


def test_a_file_whose_own_signature_does_not_hold_is_refused(
    image_path: Path, practice_signer: PracticeRoot, options: ApplyOptions, tmp_path: Path
) -> None:
    """Its catalogs hold; what stands behind its end is said to be nothing by its header."""
    update = build_update(preset("small"), tmp_path / "u.cab", root=practice_signer)
    update.write_bytes(update.read_bytes() + b"the signature of somebody")
    outcome = apply(image_path, update, tmp_path / "out", options)
    assert (outcome.verdict, outcome.code) == (Verdict.FAILED, "untrusted:file-signature")
    assert not (tmp_path / "out").exists()


def test_many_workers_write_the_same_file_as_one(
    image_path: Path,
    practice_signer: PracticeRoot,
    options: ApplyOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    update = build_update(preset("every-element"), tmp_path / "u.cab", root=practice_signer)
    assert apply(image_path, update, tmp_path / "set", options).verdict is Verdict.APPLIED
    digests = set()
    for workers in (1, 4):
        monkeypatch.setattr(native, "codec_workers", lambda *_form, count=workers: count)
        target = tmp_path / f"{workers}.wim"
        report = commit(image_path, {1: [tmp_path / "set"]}, target, options)
        digests.add(report.sha256)
    assert len(digests) == 1


@pytest.mark.parametrize("phase", ["open image", "compress", "check"])
def test_a_cancelled_commit_leaves_no_file(
    image_path: Path,
    practice_signer: PracticeRoot,
    options: ApplyOptions,
    tmp_path: Path,
    phase: str,
) -> None:
    """Cancelled where somebody waits for the codec: the event of a beat is the one before it."""
    seen: list[str] = []

    def cancel(event: Event) -> None:
        seen.append(event.phase)
        if seen.count(phase) > 1:
            raise Cancelled("by alice")

    update = build_update(preset("small"), tmp_path / "u.cab", root=practice_signer)
    apply(image_path, update, tmp_path / "set", options)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(Cancelled, match="by alice"):
        commit(image_path, {1: [tmp_path / "set"]}, folder / "new.wim", options, cancel)
    assert list(folder.iterdir()) == []


def updates(folder: Path, root: PracticeRoot, *names: str) -> list[Path]:
    return [build_update(preset(name), folder / f"{name}.cab", root=root) for name in names]


def test_a_run_that_is_taken_up_writes_the_file_of_one_that_was_not_interrupted(
    single: Path, practice_signer: PracticeRoot, options: ApplyOptions, tmp_path: Path
) -> None:
    """The steps of the second run see only the folders of the first ones."""
    first, second = updates(tmp_path, practice_signer, "rollup", "small")
    backend, digests = NativeBackend(), []
    with backend.open(single, tmp_path / "work", options) as session:
        assert session.gate(1).findings == ()
        steps = [tmp_path / f"whole-{number}" for number in range(4)]
        assert session.remove(1, "KB4000001", steps[0]).changed
        assert session.apply(1, first, steps[1]).changed
        assert session.apply(1, second, steps[2]).changed
        assert session.clean_up(1, steps[3], reset_base=True).changed
        digests.append(session.commit(tmp_path / "whole.wim").sha256)
    done: list[Path] = []
    for number in range(4):
        out = tmp_path / f"part-{number}"
        opened = backend.open(single, tmp_path / "work", options, done={1: done}, passed=[1])
        with opened as session:
            if number == 0:
                session.remove(1, "KB4000001", out)
            elif number == 3:
                session.clean_up(1, out, reset_base=True)
            else:
                session.apply(1, (first, second)[number - 1], out)
        done.append(out)
    digests.append(commit(single, {1: done}, tmp_path / "parts.wim", options).sha256)
    assert digests[0] == digests[1]
    assert not list((tmp_path / "work").iterdir())


def test_discarding_forgets_the_steps_and_ends_the_session(
    single: Path, practice_signer: PracticeRoot, options: ApplyOptions, tmp_path: Path
) -> None:
    (update,) = updates(tmp_path, practice_signer, "small")
    with NativeBackend().open(single, tmp_path / "work", options) as session:
        session.apply(1, update, tmp_path / "step")
        session.discard()
        assert not (tmp_path / "step").exists()
        with pytest.raises(InvalidState, match="has ended"):
            session.commit(tmp_path / "new.wim")
    assert not (tmp_path / "new.wim").exists()


def test_a_session_without_changes_writes_nothing(
    single: Path, options: ApplyOptions, tmp_path: Path
) -> None:
    with NativeBackend().open(single, tmp_path / "work", options) as session:
        outcome = session.remove(1, "KB4999999", tmp_path / "step")
        assert (outcome.changed, outcome.verdict is Verdict.APPLIED) == (False, False)
        with pytest.raises(InvalidState, match="nothing was changed"):
            session.commit(tmp_path / "new.wim")


def test_edits_of_a_session_are_seen_by_the_updates_after_them(
    single: Path, practice_signer: PracticeRoot, options: ApplyOptions, tmp_path: Path
) -> None:
    (update,) = updates(tmp_path, practice_signer, "small")
    source = tmp_path / "note.txt"
    source.write_bytes(b"note")
    with NativeBackend().open(single, tmp_path / "work", options) as session:
        edits: list[Edit] = [MakeFolder("Windows/Made"), Add(source, "Windows/Made/")]
        assert session.edit(1, edits, tmp_path / "edit").changed
        refused = session.edit(1, [Delete("Windows/absent")], tmp_path / "refused")
        assert (refused.verdict, refused.code, refused.changed) == (
            Verdict.FAILED,
            "not-found",
            False,
        )
        assert session.apply(1, update, tmp_path / "apply").changed
        report = session.commit(tmp_path / "new.wim")
    with open_wim(report.path) as wim:
        tree = wim.tree(1)
        entry = tree.find("Windows/Made/note.txt")
        assert entry is not None
        assert entry.inode.sha1 == hashlib.sha1(b"note").digest()


def test_a_plan_puts_updates_in_order_and_says_what_is_known_of_them(
    single: Path, practice_signer: PracticeRoot, options: ApplyOptions, tmp_path: Path
) -> None:
    named = updates(tmp_path, practice_signer, "small", "truncated", "psfx", "rollup")
    with NativeBackend().open(single, tmp_path / "work", options) as session:
        planned = session.plan(1, named)
        again = session.plan(1, named[::-1])
    assert planned == again
    assert planned[-1].update.stem == "truncated"  # only applying it tells what is wrong with it
    codes = {one.update.stem: one.finding and one.finding.code for one in planned}
    assert codes == {"small": None, "truncated": None, "psfx": "psfx", "rollup": None}
    names = [one.update.stem for one in planned]
    assert names.index("rollup") < names.index("small")


def test_several_indexes_are_not_cleaned_up(
    image_path: Path, options: ApplyOptions, tmp_path: Path
) -> None:
    opened = NativeBackend().open(image_path, tmp_path / "work", options)
    with opened as session, pytest.raises(CleanUpFailed, match="several-indexes"):
        session.clean_up(1, tmp_path / "step", reset_base=False)


def test_a_probe_tells_what_an_index_is_and_that_nothing_stops_changes(single: Path) -> None:
    probe = NativeBackend().probe(single, 1)

    assert probe.facts is not None
    assert (probe.facts.build, probe.health) == (19041, ())
    assert any("KB4000001" in one.identity for one in probe.facts.packages)


def test_the_facts_of_an_update_say_why_it_is_refused(
    practice_signer: PracticeRoot, tmp_path: Path
) -> None:
    (psfx,) = updates(tmp_path, practice_signer, "psfx")

    facts = NativeBackend().inspect(psfx, tmp_path / "work")

    assert [one.code for one in facts.obstacles] == ["psfx"]
