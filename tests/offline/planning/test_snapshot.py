"""Snapshots of generated images judge as the engine does on the images themselves."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from offline.planning.kit import TOKEN, component, manifest, named, snapshot, update
from wimsmith.errors import NotFound, UnreadableFacts
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.components.outcome import Outcome
from wimsmith.offline.components.snapshots import snapshot_of
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.image import open_view
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.package import (
    Applicable,
    DetectUpdate,
    PackageManifest,
    Selectable,
    Update,
    UpdateComponent,
)
from wimsmith.offline.packages.facts import inspect_all
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.roots import microsoft_anchors
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.planning.description import UpdateDescription, describe
from wimsmith.offline.planning.plan import judge
from wimsmith.offline.planning.snapshot import Snapshot, pack, unpack
from wimsmith.offline.verdicts import Finding, Verdict
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.practice.image import build_image
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation, ImageSpec
from wimsmith.practice.updates import build_update

NOW = 133_500_000_000_000_000
DECIDED_BY_FACTS = frozenset(
    [
        Verdict.NOT_APPLICABLE,
        Verdict.INSTALLED,
        Verdict.SUPERSEDED,
        Verdict.PREREQUISITE_MISSING,
        Verdict.APPLIED,
    ]
)
PRESETS = [
    "rollup",
    "small",
    "every-element",
    "branches",
    "trigger",
    "languages",
    "missing-parent",
    "wrong-build",
    "wrong-arch",
    "stack-too-old",
    "container-index",
]
Open = Callable[[Generation], Wim]


@pytest.fixture(scope="module")
def opened(
    tmp_path_factory: pytest.TempPathFactory, codec: WorkerCodec, practice_signer: PracticeRoot
) -> Iterator[Open]:
    folder, wims = tmp_path_factory.mktemp("images"), dict[Generation, Wim]()

    def give(generation: Generation) -> Wim:
        if generation not in wims:
            path = folder / f"{generation}.wim"
            spec = ImageSpec(generation, size_bytes=1 << 18, components=4)
            build_image(spec, path, root=practice_signer, codec=codec)
            wims[generation] = open_wim(path, codec).__enter__()
        return wims[generation]

    yield give
    for wim in wims.values():
        wim.close()


def kept(state: Snapshot) -> Snapshot:
    """A snapshot as it comes back from where it was kept."""
    return Snapshot.from_data(unpack(pack(state.as_data())))


def kept_update(found: UpdateDescription) -> UpdateDescription:
    return UpdateDescription.from_data(unpack(pack(found.as_data())))


@pytest.mark.parametrize("generation", list(Generation))
@pytest.mark.parametrize("name", PRESETS)
def test_the_engine_and_the_snapshot_say_the_same_before_and_after(
    opened: Open,
    tmp_path: Path,
    practice_signer: PracticeRoot,
    generation: Generation,
    name: str,
) -> None:
    wim = opened(generation)
    file = build_update(preset(name, generation), tmp_path / "update.cab", root=practice_signer)
    facts, packages = inspect_all(file, tmp_path / "work")
    described = describe(facts, packages)
    assert described is not None
    policy = TrustPolicy(
        microsoft_anchors(), test=Anchors((practice_signer.certificate,)), allow_test_roots=True
    )
    view = open_view(wim, 1)
    before = kept(snapshot_of(view))

    outcome = apply(packages[0], view, ApplyOptions(policy, NOW))

    assert outcome.verdict in DECIDED_BY_FACTS, outcome.findings
    assert said(judge(before, kept_update(described)).decisive) == said(outcome)
    if outcome.changes is not None:
        serviced = open_view(wim, 1, (outcome.changes,))
        again = apply(packages[0], serviced, ApplyOptions(policy, NOW))
        found = judge(kept(snapshot_of(serviced)), kept_update(described))
        assert said(found.decisive) == said(again)


def said(one: Outcome | Finding | None) -> tuple[Verdict, str]:
    if one is None or one.verdict is Verdict.APPLIED:
        return Verdict.APPLIED, "applied"
    return one.verdict, one.code


@pytest.mark.parametrize("generation", list(Generation))
def test_a_snapshot_answers_as_the_store_it_was_taken_from(
    opened: Open, tmp_path: Path, generation: Generation
) -> None:
    view = open_view(opened(generation), 1)
    store, found = Store(Draft(view, tmp_path, NOW)), kept(snapshot_of(view))

    assert found.image == store.image
    assert found.servicing_stack() == store.servicing_stack()
    packages = list(store.all_packages())
    assert packages
    for one in packages:
        assert found.packages_of(one.identity) == store.packages_of(one.identity)
        assert found.package_state(one.identity) == one.state
        for name, state in store.update_states(one.name).items():
            assert found.update_state(one.name.upper(), name.upper()) == state
    components = [
        AssemblyIdentity("Practice-Windows-Shell", Version(0, 0, 0, 0), "amd64", "neutral", TOKEN)
    ]
    families = dict(store.component_families())
    assert len(found.families) == len({key.rpartition("_")[2] for key in families})
    assert all(found.installed_versions(one) == store.installed_versions(one) for one in components)
    assert found.obstacles == ()


def test_an_index_without_windows_has_no_snapshot(
    tmp_path: Path, codec: WorkerCodec, practice_signer: PracticeRoot
) -> None:
    path = tmp_path / "data.wim"
    build_image(
        ImageSpec(size_bytes=1 << 18, components=4), path, root=practice_signer, codec=codec
    )
    with open_wim(path, codec) as wim:
        view = open_view(wim, 1)
        view.tree.remove("Windows/System32/config/SOFTWARE")
        with pytest.raises(NotFound):
            snapshot_of(view)


def test_everything_that_planning_asks_of_a_manifest_is_kept() -> None:
    conditions = Applicable(
        "staged",
        (UpdateComponent("revision", (component("F", "6.1.7601.23140"),)),),
        (DetectUpdate("Feature", in_parent=True), DetectUpdate("Other", in_parent=False)),
    )
    top = manifest(
        named("A"),
        (named("P"), named("Q")),
        Update("one", components=(component("D", "1.0.0.0"),), applicable=conditions),
        Update("two", selectable=Selectable("staged", default=False)),
        Update(""),
        stack="10.0.1.1",
    )
    child = replace(manifest(named("B", architecture="x86"), ()), completely_offline_capable=False)
    described = update(
        top,
        child,
        installs=(component("C", "1.2.3.4", "SxS"),),
        findings=(Finding(Verdict.NOT_SUPPORTED, "psfx", "why"),),
        article="KB1234567",
        step=("10.0.26100.1", "10.0.26100.1742"),
    )

    assert kept_update(described) == described


def test_a_snapshot_keeps_everything_and_is_small() -> None:
    state = replace(
        snapshot(
            {named("A"): 0x70},
            *(component(f"C{number}", "10.0.19041.1") for number in range(2000)),
            updates={named("A"): {"Feature": 0x40}},
        ),
        obstacles=(Finding(Verdict.NOT_SUPPORTED, "pending", "work to finish"),),
    )
    packed = pack(state.as_data())

    assert Snapshot.from_data(unpack(packed)) == state
    assert len(packed) < 20 * 2000


@pytest.mark.parametrize(
    "damage",
    [
        {},
        {"format": 99},
        {"image": {}},
        {"image": None},
        {"packages": {"no package name": 1}},
        {"packages": []},
        {"stack": "new"},
        {"obstacles": [["never", "a", "b"]]},
        {"obstacles": 7},
    ],
)
def test_what_is_no_snapshot_is_said_to_be_none(damage: dict[str, object]) -> None:
    data = snapshot().as_data() | damage if damage else {}
    with pytest.raises(UnreadableFacts):
        Snapshot.from_data(data)


@pytest.mark.parametrize(
    "damage",
    [
        {"format": None},
        {"manifests": []},
        {"manifests": [{}]},
        {"manifests": [{"identity": ["A", "one"]}]},
        {"installs": []},
        {"step": ["lcu"]},
        {"findings": [["x"]]},
    ],
)
def test_what_is_no_description_is_said_to_be_none(damage: dict[str, object]) -> None:
    data = update(manifest(named("A"))).as_data() | damage
    with pytest.raises(UnreadableFacts):
        UpdateDescription.from_data(data)


@pytest.mark.parametrize("packed", [b"", b"x", pack({})[:-3], b"\0" * 100])
def test_packed_data_that_do_not_open(packed: bytes) -> None:
    with pytest.raises(UnreadableFacts):
        unpack(packed)


def test_a_manifest_is_kept_without_its_prose() -> None:
    wordy = replace(manifest(named("A")), display_name="Fix", copyright="somebody")

    found = kept_update(update(wordy)).top

    assert found == manifest(named("A"))
    assert isinstance(found, PackageManifest)
