"""Files that come and go between versions, and places that two components claim."""

from dataclasses import replace
from pathlib import Path

import pytest

from offline.workbench import agrees, bench, update_file
from oracle.observe import observe
from wimsmith.offline.verdicts import Verdict
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import Identity
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import (
    FLAGS_A,
    FLAGS_B,
    ComponentSpec,
    FileSpec,
    Generation,
    ImageSpec,
    KeySpec,
    PackageSpec,
    PackageState,
    StoreFlags,
    UpdateEntry,
    ValueSpec,
)

MAKER = Maker(Generation.WINDOWS_10)
SMALL = ImageSpec(size_bytes=1 << 19, components=4)
FLAGS = pytest.mark.parametrize("flags", [FLAGS_A, FLAGS_B], ids=["flags A", "flags B"])
SERVICE = '<configuration xmlns="urn:schemas-microsoft-com:asm.v3"/>'


@pytest.fixture(scope="module")
def root() -> PracticeRoot:
    return PracticeRoot.new()


def part(
    revision: int, *names: str, name: str = "Practice-Hands", **changes: object
) -> ComponentSpec:
    files = tuple(FileSpec(one, program(f"{one} {name} {revision}")) for one in names)
    spec = ComponentSpec(Identity(name, MAKER.version(revision)), files)
    return replace(spec, **changes)  # type: ignore[arg-type]


def package(revision: int, *parts: ComponentSpec, article: str = "KB5074001") -> PackageSpec:
    deployment = MAKER.deployment(f"Practice-{article}", revision, *parts)
    return MAKER.package(article, f"1.0.0.{revision}", UpdateEntry("made", deployment))


@FLAGS
def test_a_file_that_the_newer_version_has_not_goes_and_its_payload_stays(
    tmp_path: Path, root: PracticeRoot, flags: StoreFlags
) -> None:
    older = package(100, part(100, "stays.dll", "goes.dll", "moves.dll"))
    made = bench(tmp_path, root, replace(SMALL, flags=flags, extra_packages=(older,)))
    moved = FileSpec("moves.dll", program("moves 200"), "$(runtime.system32)\\elsewhere\\")
    newer = part(200, "stays.dll")
    newer = replace(newer, files=(*newer.files, moved))
    assert agrees(made, update_file(made, package(200, newer))) == []
    after = observe(made.serviced, 1).entries
    assert "windows/system32/stays.dll" in after
    assert "windows/system32/goes.dll" not in after
    assert "windows/system32/moves.dll" not in after
    assert "windows/system32/elsewhere/moves.dll" in after
    payload = [path for path in after if path.endswith("/goes.dll")]
    assert len(payload) == 1, "in the store it stays, for the day the update is removed"


def test_a_file_that_another_component_takes_over_stays(tmp_path: Path, root: PracticeRoot) -> None:
    older = package(100, part(100, "both.dll", "goes.dll"))
    made = bench(tmp_path, root, replace(SMALL, extra_packages=(older,)))
    heir = part(200, "goes.dll", name="Practice-Heir")
    assert agrees(made, update_file(made, package(200, part(200, "both.dll"), heir))) == []
    assert "windows/system32/goes.dll" in observe(made.serviced, 1).entries


@pytest.mark.parametrize("same", [True, False])
def test_two_components_that_claim_one_file_may_not_differ(
    tmp_path: Path, root: PracticeRoot, *, same: bool
) -> None:
    first, second = part(300, "one.dll"), part(300, "one.dll", name="Practice-Other")
    if same:
        second = replace(second, files=first.files)
    made = bench(tmp_path, root, SMALL)
    outcome = made.apply(update_file(made, package(300, first, second)))
    if same:
        assert outcome.verdict is Verdict.APPLIED
    else:
        assert (outcome.verdict, outcome.code) == (Verdict.NOT_SUPPORTED, "ambiguous:destination")
        assert not outcome.changed


@pytest.mark.parametrize("same", [True, False])
def test_two_components_that_claim_one_value_may_not_differ(
    tmp_path: Path, root: PracticeRoot, *, same: bool
) -> None:
    def key(text: str) -> KeySpec:
        return KeySpec("HKEY_LOCAL_MACHINE\\SOFTWARE\\Hands", (ValueSpec("V", "REG_SZ", text),))

    first = part(300, "a.dll", keys=(key("one"),))
    second = part(300, "b.dll", name="Practice-Other", keys=(key("one" if same else "two"),))
    made = bench(tmp_path, root, SMALL)
    outcome = made.apply(update_file(made, package(300, first, second)))
    assert outcome.code == ("applied" if same else "ambiguous:value")


def test_what_is_only_staged_needs_no_installer(tmp_path: Path, root: PracticeRoot) -> None:
    """Payload and manifest come into the store; whoever installs them has to run the installer."""
    advanced = part(300, "staged.dll", advanced=SERVICE)
    parent = package(1, part(1, "parent.dll", name="Practice-Parent"), article="KB5074002")
    parent = replace(parent, state=PackageState.STAGED)
    made = bench(tmp_path, root, replace(SMALL, extra_packages=(parent,)))
    below = replace(MAKER.parent(), identities=(parent.identity,), compare={})
    update = replace(package(300, advanced), parents=(below,))
    assert agrees(made, update_file(made, update)) == []
    other = tmp_path / "other"
    other.mkdir()
    outcome = bench(other, root, SMALL).apply(update_file(made, package(300, advanced), "now.cab"))
    assert outcome.code == "advanced-new:configuration"


def test_an_element_that_the_newer_version_gives_up_is_a_change(
    tmp_path: Path, root: PracticeRoot
) -> None:
    older = package(100, part(100, "a.dll", advanced=SERVICE))
    made = bench(tmp_path, root, replace(SMALL, extra_packages=(older,)))
    outcome = made.apply(update_file(made, package(200, part(200, "a.dll"))))
    assert outcome.code == "advanced-changed:configuration"
    kept = package(200, part(200, "a.dll", advanced=SERVICE))
    assert agrees(made, update_file(made, kept, "kept.cab")) == []
