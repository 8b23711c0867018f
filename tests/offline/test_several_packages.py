"""A file with several packages is one update: all of it that the image needs, or nothing."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from offline.workbench import NOW, Bench, agrees, bench
from oracle.compare import differences
from oracle.observe import observe
from wimsmith.errors import Cancelled
from wimsmith.offline.backends.interface import StepOutcome
from wimsmith.offline.backends.native import NativeBackend
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.components.snapshots import snapshot_of
from wimsmith.offline.image import open_view
from wimsmith.offline.manifests.identity import parse_package_name
from wimsmith.offline.packages.facts import inspect_all
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.roots import microsoft_anchors
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.planning.description import UpdateDescription, describe
from wimsmith.offline.planning.plan import judge
from wimsmith.offline.planning.snapshot import Snapshot, pack, unpack
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.practice import ordinary, refused
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import WINDOWS_TOKEN, Identity
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import (
    ComponentSpec,
    Container,
    FileSpec,
    Generation,
    ImageSpec,
    ParentSpec,
    Signing,
    UpdateEntry,
    UpdateSpec,
)
from wimsmith.practice.updates import build_update

MAKER = Maker(Generation.WINDOWS_10)
FIRST, SECOND = "Package_for_KB5000042", "Package_for_KB5000043"
STACK_FILE = "wcp.dll"


@pytest.fixture(scope="module")
def root() -> PracticeRoot:
    return PracticeRoot.new()


@pytest.fixture
def made(tmp_path: Path, root: PracticeRoot) -> Bench:
    return bench(tmp_path, root, ImageSpec(size_bytes=256 << 10))


def dependent() -> tuple[UpdateSpec, UpdateSpec]:
    """An update, and one that has the first as its parent."""
    spec = ordinary.several(MAKER)
    return spec.parts[1], replace(spec, container=Container.CAB, parts=())


def several(*parts: UpdateSpec, ordered: bool = True) -> UpdateSpec:
    """A `.msu` with these updates in this order."""
    *before, last = parts
    name = "windows-practice-several-x64.msu"
    more = {"container": Container.MSU, "file_name": name, "ordered": ordered}
    return replace(last, parts=tuple(before), **more)  # type: ignore[arg-type]  # of its fields


def file(made: Bench, spec: UpdateSpec) -> Path:
    return build_update(spec, made.folder / spec.file_name, root=made.root)


def stack(revision: int, article: str = "KB5000020") -> UpdateSpec:
    """An update that brings a servicing stack, which its own names do not say."""
    version = MAKER.version(revision)
    component = ComponentSpec(
        Identity("Microsoft-Windows-ServicingStack", version, token=WINDOWS_TOKEN),
        (FileSpec(STACK_FILE, program("stack"), None),),
    )
    return UpdateSpec(
        MAKER.package(
            article,
            "1.0.0.0",
            UpdateEntry("stack", MAKER.deployment("Practice-Stack", revision, component)),
        ),
        f"ssu-{revision}-x64.cab",
    )


def name_of(spec: UpdateSpec) -> str:
    """The name of the cabinet in a `.msu`."""
    return f"{Path(spec.file_name).stem}.cab"


def options_of(made: Bench) -> ApplyOptions:
    anchors = Anchors((made.root.certificate,))
    trust = TrustPolicy(microsoft_anchors(), test=anchors, allow_test_roots=True)
    return ApplyOptions(trust=trust, now=NOW)


def applied(
    made: Bench, spec: UpdateSpec, progress: Progress = silent
) -> tuple[StepOutcome, list[Path]]:
    """Apply an update; also what is left in the folder of the session."""
    work = made.folder / "work"
    opened = NativeBackend().open(made.base, work, options_of(made), progress=progress)
    with opened as session:
        outcome = session.apply(1, file(made, spec), made.changes)
        return outcome, sorted(work.rglob("*"))


def described(made: Bench, spec: UpdateSpec) -> UpdateDescription:
    """What is kept of an update, written and read again."""
    facts, packages = inspect_all(file(made, spec), made.folder / "looked")
    found = describe(facts, packages)
    assert found is not None
    return UpdateDescription.from_data(unpack(pack(found.as_data())))


def snapshot(made: Bench) -> Snapshot:
    with open_wim(made.base) as wim:
        return snapshot_of(open_view(wim, 1))


def planned(made: Bench, spec: UpdateSpec) -> tuple[str, str]:
    judgement = judge(snapshot(made), described(made, spec))
    decisive = judgement.decisive
    return (decisive.verdict, decisive.code) if decisive else (Verdict.APPLIED, "applied")


@pytest.mark.parametrize("ordered", [True, False], ids=["order file", "answer file only"])
def test_each_package_is_installed_on_top_of_the_one_before_it(
    made: Bench, *, ordered: bool
) -> None:
    first, second = dependent()
    spec = several(refused.wrong_architecture(MAKER), first, second, ordered=ordered)
    outcome = made.apply(file(made, spec))

    assert (outcome.verdict, outcome.code) == (Verdict.APPLIED, "applied"), outcome.findings
    assert [one.partition("~")[0] for one in outcome.packages] == [FIRST, SECOND]
    assert [(one.verdict, one.code) for one in outcome.findings] == [
        (Verdict.NOT_APPLICABLE, "arch"),
        (Verdict.PREREQUISITE_MISSING, "parent"),
    ]
    assert all(name_of(spec.parts[0]) in one.text for one in outcome.findings)
    assert planned(made, spec) == (Verdict.APPLIED, "applied")

    alone = Bench(made.folder / "alone", made.root, made.flags)
    alone.folder.mkdir()
    alone.base.hardlink_to(made.base)
    assert agrees(alone, file(alone, first)) == []
    then = alone.next("then")
    want = then.expected(file(then, second))
    assert differences(want, observe(made.serviced, 1)) == []
    assert len(differences(want, observe(made.base, 1))) > 10, "there was much to do"


def test_the_parts_are_ordinary_packages_that_can_be_removed(made: Bench) -> None:
    before = observe(made.base, 1)
    made.apply(file(made, ordinary.several(MAKER)))
    after = made.next("after")
    with NativeBackend().open(after.base, after.folder / "w", options_of(made)) as session:
        kept = session.remove(1, FIRST, after.folder / "r0")
        two = session.remove(1, "KB5000043", after.folder / "r1")
        one = session.remove(1, "KB5000042", after.folder / "r2")
        session.commit(after.serviced)

    assert kept.verdict is Verdict.NOT_SUPPORTED, "the other one needs it"
    assert (two.verdict, one.verdict) == (Verdict.APPLIED, Verdict.APPLIED)
    left = observe(after.serviced, 1).entries.keys() - before.entries.keys()
    assert [path for path in left if path.endswith(".dll")] == []


STOPS = {
    "service": (refused.service, Verdict.NOT_SUPPORTED, "advanced-new:memberships/Service"),
    "psfx": (refused.package("KB5000018", psfx=True), Verdict.NOT_SUPPORTED, "psfx"),
    "parent": (refused.missing_parent, Verdict.PREREQUISITE_MISSING, "parent"),
    "stack-too-old": (refused.stack_too_old, Verdict.PREREQUISITE_MISSING, "stack-too-old"),
    "stack": (lambda _maker: stack(9000), Verdict.NOT_SUPPORTED, "servicing-stack"),
}


@pytest.mark.parametrize("name", list(STOPS))
def test_one_part_that_cannot_be_installed_keeps_all_of_them_out(made: Bench, name: str) -> None:
    make, verdict, code = STOPS[name]
    first, second = dependent()
    stopping = make(MAKER)
    spec = several(first, stopping, second)
    digest = hashlib.sha256(made.base.read_bytes()).digest()

    outcome, left = applied(made, spec)

    assert (outcome.verdict, outcome.code) == (verdict, code), outcome.findings
    assert outcome.text.startswith(f"{name_of(stopping)}: ")
    assert outcome.findings[0].code == code
    assert not outcome.changed
    assert (left, made.changes.exists()) == ([], False)
    assert hashlib.sha256(made.base.read_bytes()).digest() == digest
    if name != "service":  # which only the image itself shows
        assert planned(made, spec) == (verdict, code)


def test_a_damaged_part_fails_all_of_them_and_the_next_update_sees_nothing_of_it(
    made: Bench,
) -> None:
    first, second = dependent()
    spoilt = refused.simple("KB5000034")(MAKER)
    spec = several(first, replace(spoilt, signing=Signing.NONE), second)
    work = made.folder / "work"
    with NativeBackend().open(made.base, work, options_of(made)) as session:
        failed = session.apply(1, file(made, spec), made.changes)
        again = session.apply(1, file(made, first), made.changes)
        session.commit(made.serviced)

    assert failed.verdict is Verdict.FAILED
    assert failed.code.startswith("untrusted:")
    assert failed.text.startswith(name_of(spoilt))
    assert (again.verdict, again.changed) == (Verdict.APPLIED, True)
    assert differences(made.expected(file(made, first)), observe(made.serviced, 1)) == []


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ((refused.wrong_architecture, refused.wrong_build), "arch"),
        ((refused.wrong_build, refused.wrong_architecture), "build"),
    ],
)
def test_a_file_no_part_of_which_applies_is_not_applicable(
    made: Bench, parts: Sequence[Callable[[Maker], UpdateSpec]], code: str
) -> None:
    spec = several(*(make(MAKER) for make in parts))
    outcome, _left = applied(made, spec)
    found = (outcome.verdict, outcome.code, outcome.changed)
    assert found == (Verdict.NOT_APPLICABLE, code, False)
    assert planned(made, spec) == (Verdict.NOT_APPLICABLE, code)


def test_a_file_all_of_whose_parts_are_there_is_installed(made: Bench) -> None:
    spec = ordinary.several(MAKER)
    made.apply(file(made, spec))
    after = made.next("after")
    outcome, _left = applied(after, spec)
    assert (outcome.verdict, outcome.code) == (Verdict.INSTALLED, "installed")
    assert planned(after, spec) == (Verdict.INSTALLED, "installed")


def test_of_a_file_half_of_which_is_there_the_other_half_is_installed(made: Bench) -> None:
    first, second = dependent()
    made.apply(file(made, first))
    after = made.next("after")
    outcome = after.apply(file(after, several(first, second)))
    assert outcome.verdict is Verdict.APPLIED
    assert [one.partition("~")[0] for one in outcome.packages] == [SECOND]
    assert [(one.verdict, one.code) for one in outcome.findings] == [
        (Verdict.INSTALLED, "installed")
    ]
    assert differences(after.expected(file(after, second)), observe(after.serviced, 1)) == []


@pytest.mark.parametrize("revision", [-1, 0])
def test_a_servicing_stack_that_the_image_is_beyond_is_in_nobodys_way(
    made: Bench, revision: int
) -> None:
    first, _second = dependent()
    spec = several(stack(revision), first)
    outcome = made.apply(file(made, spec))
    assert outcome.verdict is Verdict.APPLIED, outcome.findings
    assert (Verdict.SUPERSEDED, "superseded") in [(o.verdict, o.code) for o in outcome.findings]
    assert planned(made, spec) == (Verdict.APPLIED, "applied")
    assert differences(made.expected(file(made, first)), observe(made.serviced, 1)) == []


def test_what_a_catalogue_promised_must_be_one_of_the_parts(made: Bench) -> None:
    spec = ordinary.several(MAKER)
    work = made.folder / "work"
    promised = parse_package_name(f"{FIRST}~{WINDOWS_TOKEN}~amd64~~1.0.0.0")
    other = parse_package_name(f"{FIRST}~{WINDOWS_TOKEN}~amd64~~1.0.0.1")
    for expected, verdict in ((promised, Verdict.APPLIED), (other, Verdict.FAILED)):
        options = replace(options_of(made), expected=expected)
        with NativeBackend().open(made.base, work, options) as session:
            outcome = session.apply(1, file(made, spec), made.folder / verdict)
        assert outcome.verdict is verdict


def test_a_run_that_is_cancelled_between_two_parts_leaves_nothing(made: Bench) -> None:
    def stop(event: Event) -> None:
        if event.phase.startswith("package 3"):
            raise Cancelled

    with pytest.raises(Cancelled):
        applied(made, ordinary.several(MAKER), stop)
    assert list((made.folder / "work").rglob("*")) == []
    assert not made.changes.exists()


def test_the_log_tells_of_each_part(made: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "wimsmith.offline"):
        applied(made, ordinary.several(MAKER))
    told = [line for line in caplog.messages if line.startswith("Applying package ")]
    assert [line.split()[2].partition("~")[0] for line in told] == [
        "Package_for_KB5000016",
        FIRST,
        SECOND,
    ]


def test_a_parent_with_a_higher_version_in_the_same_file_counts(made: Bench) -> None:
    """Each part is judged on what those before it have left, not on the image as it was."""
    first, second = dependent()
    newer = replace(first.package.identity, version="1.0.1.0")
    higher = replace(first, package=replace(first.package, identity=newer))
    asking = replace(second, package=replace(second.package, parents=(ParentSpec((newer,)),)))
    higher = replace(higher, file_name="higher.cab")
    spec = several(first, higher, asking)
    outcome = made.apply(file(made, spec))
    assert outcome.verdict is Verdict.APPLIED, outcome.findings
    assert planned(made, spec) == (Verdict.APPLIED, "applied")
