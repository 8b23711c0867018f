"""What the engine writes follows the rules it refuses others for, so the next update can come."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from wimsmith.offline.changes import ChangeSet
from wimsmith.offline.components.cleanup.clean import clean_up
from wimsmith.offline.components.gate.calibration import calibrate
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.gate.remembered import calibrated, calibration_findings
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.components.removal.removing import remove
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.packages.package import expand
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.practice.image import build_image
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import FLAGS_A, FLAGS_B, Generation, ImageSpec, StoreFlags
from wimsmith.practice.updates import build_update

FEW = ("rollup", "every-element", "branches")
ALL = (*FEW, "rollup-v2", "feature-languages", "trigger", "languages", "container-index", "small")
Serviced = Callable[[Wim, Sequence[str], Generation], list[ChangeSet]]


@pytest.fixture
def options(practice_signer: PracticeRoot) -> ApplyOptions:
    trust = TrustPolicy(
        Anchors(), test=Anchors((practice_signer.certificate,)), allow_test_roots=True
    )
    return ApplyOptions(trust, 133_600_000_000_000_000)


@pytest.fixture
def serviced(tmp_path: Path, practice_signer: PracticeRoot, options: ApplyOptions) -> Serviced:
    """Change sets of updates applied one on top of the other; each finds a store it understands."""

    def make(wim: Wim, names: Sequence[str], generation: Generation) -> list[ChangeSet]:
        done: list[ChangeSet] = []
        for name in names:
            file = build_update(
                preset(name, generation), tmp_path / f"{name}.cab", root=practice_signer
            )
            outcome = apply(expand(file, tmp_path / name), open_view(wim, 1, done), options)
            assert (outcome.verdict, outcome.code) == (Verdict.APPLIED, "applied"), name
            assert outcome.changes is not None
            done.append(outcome.changes)
        return done

    return make


def assert_understood(view: ImageView, spool: Path) -> None:
    store = Store(Draft(view, spool, 0))
    report = calibrate(store, sample=None)
    assert (health_findings(store), report.findings) == ((), ())
    assert {rule.name: rule.examples for rule in report.rules if rule.differing} == {}


@pytest.mark.parametrize(
    ("generation", "flags", "names"),
    [
        (Generation.WINDOWS_10, FLAGS_A, FEW),
        pytest.param(Generation.WINDOWS_7, FLAGS_B, ALL, marks=pytest.mark.slow),
        pytest.param(Generation.WINDOWS_11, FLAGS_A, ALL, marks=pytest.mark.slow),
    ],
)
def test_updates_keep_every_rule(
    tmp_path: Path,
    practice_signer: PracticeRoot,
    serviced: Serviced,
    options: ApplyOptions,
    generation: Generation,
    flags: StoreFlags,
    names: Sequence[str],
) -> None:
    path = tmp_path / "image.wim"
    spec = ImageSpec(generation, flags=flags, size_bytes=1 << 19, components=4)
    build_image(spec, path, root=practice_signer)
    with open_wim(path) as wim:
        done = serviced(wim, names, generation)
        assert_understood(open_view(wim, 1, done), tmp_path)


def test_removing_and_cleaning_up_keep_every_rule(
    tmp_path: Path, small_image: Path, serviced: Serviced, options: ApplyOptions
) -> None:
    with open_wim(small_image) as wim:
        done = serviced(wim, ("rollup-v2", "every-element"), Generation.WINDOWS_10)
        package = "Package_for_KB5000100~31bf3856ad364e35~amd64~~1.0.0.0"
        removed = remove([package], open_view(wim, 1, done), options, tmp_path / "removed")
        assert removed.changes is not None
        assert_understood(open_view(wim, 1, [*done, removed.changes]), tmp_path)
        view = open_view(wim, 1, done)
        cleaned = clean_up(view, tmp_path / "cleaned", options.now, reset_base=True)
        assert cleaned.changes is not None
        assert_understood(open_view(wim, 1, [*done, cleaned.changes]), tmp_path)


def test_an_open_image_is_calibrated_once_and_touched_families_each_time(
    tmp_path: Path, small_image: Path
) -> None:
    with open_wim(small_image) as wim:
        view = open_view(wim, 1)
        store = Store(Draft(view, tmp_path, 0))
        shell = AssemblyIdentity(
            "Practice-Windows-Shell",
            Version(10, 0, 0, 0),
            "amd64",
            "neutral",
            "7072616374696365",
            "nonSxS",
        )
        assert calibration_findings(store, [shell]) == ()
        known = calibrated(store)
        key = next(
            name
            for name in store.components.subkeys(r"DerivedData\Components")
            if "practice-windows-shell_" in name
        )
        view.hive("COMPONENTS").delete_value(rf"DerivedData\Components\{key}", "S256H")
        again = Store(Draft(view, tmp_path, 0))
        assert calibrated(again) is known
        assert [one.code for one in calibration_findings(again, [shell])] == ["calibration:S256H"]
