"""What the site is told about one update on one index: a verdict, never a surprise."""

import hashlib
import logging
from pathlib import Path

import pytest

from offline.wim import judges
from wimsmith.errors import Cancelled
from wimsmith.offline import backends
from wimsmith.offline.backends import NativeBackend, UpdateOutcome
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.progress import Event
from wimsmith.offline.verdicts import NOT_SUPPORTED_LINE, Verdict
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.updates import build_update

NOW = 133_000_000_000_000_000


@pytest.fixture
def options(practice_signer: PracticeRoot) -> ApplyOptions:
    anchors = Anchors((practice_signer.certificate,))
    return ApplyOptions(trust=TrustPolicy(Anchors(), test=anchors, allow_test_roots=True), now=NOW)


def apply(
    base: Path,
    update: Path,
    out: Path,
    options: ApplyOptions,
    *,
    index: int = 1,
    previous: tuple[Path, ...] = (),
) -> UpdateOutcome:
    work = out.with_suffix(".work")
    work.mkdir()
    return NativeBackend().apply_update(
        base=base,
        index_number=index,
        update=update,
        previous=previous,
        out=out,
        work=work,
        options=options,
    )


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

    report = NativeBackend().commit(
        base=image_path, changed=changed, target=tmp_path / "new.wim", modified=NOW
    )

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
        monkeypatch.setattr(backends, "codec_workers", lambda *_form, count=workers: count)
        target = tmp_path / f"{workers}.wim"
        report = NativeBackend().commit(
            base=image_path, changed={1: [tmp_path / "set"]}, target=target, modified=NOW
        )
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
        NativeBackend().commit(
            base=image_path,
            changed={1: [tmp_path / "set"]},
            target=folder / "new.wim",
            modified=NOW,
            progress=cancel,
        )
    assert list(folder.iterdir()) == []
