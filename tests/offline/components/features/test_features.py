"""Optional features are switched on and off, with all that follows them."""

from collections.abc import Callable

import pytest

from offline.components.removal.kit import CBS, Workshop, lasting_differences
from offline.components.removal.updates import NEW, OLD, update
from oracle.state import ImageState
from wimsmith.errors import Cancelled
from wimsmith.offline.changes import CreateKey, DeleteKey, Remove, SetValue
from wimsmith.offline.components.features.facts import FeatureFacts, features_of
from wimsmith.offline.components.outcome import Outcome
from wimsmith.offline.progress import Event
from wimsmith.offline.verdicts import Verdict
from wimsmith.practice.baseline import GAMES_FEATURE, PRINTING_FEATURE
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import WINDOWS_TOKEN, Identity, component_key
from wimsmith.practice.presets import preset
from wimsmith.practice.spec import (
    FLAGS_A,
    FLAGS_B,
    Applicable,
    ComponentSpec,
    FileSpec,
    Generation,
    PackageSpec,
    PackageState,
    StoreFlags,
    UpdateEntry,
)

Opened = Callable[..., Workshop]
CONFIGURATION = (
    '<configuration xmlns="urn:schemas-microsoft-com:asm.v3"><elements/></configuration>'
)


def refused(outcome: Outcome, code: str) -> str:
    assert outcome.changes is None
    assert {finding.code for finding in outcome.findings} == {code}, outcome.findings
    return outcome.text


def games(made: Workshop) -> ComponentSpec:
    identity = Identity(f"{GAMES_FEATURE}-Component", made.maker.facts.full_version)
    return ComponentSpec(identity)


def state(image: ImageState, package: str, name: str = "CurrentState") -> int:
    found = image.value("SOFTWARE", rf"{CBS}\Packages\{package}", name)
    assert found
    return found.number


def update_state(image: ImageState, package: str, name: str) -> int:
    return state(image, rf"{package}\Updates", name)


@pytest.mark.parametrize(
    ("generation", "flags"),
    [
        (Generation.WINDOWS_7, FLAGS_A),
        (Generation.WINDOWS_10, FLAGS_B),
        (Generation.WINDOWS_11, FLAGS_A),
    ],
)
def test_a_feature_is_switched_on_and_off_again(
    workshop: Opened, generation: Generation, flags: StoreFlags
) -> None:
    made = workshop(generation=generation, flags=flags)
    before = made.observe()
    outcome = made.switched({"Practice-Games": True})

    after = made.observe()
    package = f"Practice-Optional-Package~{WINDOWS_TOKEN}~amd64~~{made.maker.facts.full_version}"
    assert outcome.packages == (package,)
    assert update_state(after, package, GAMES_FEATURE) == PackageState.INSTALLED
    path = "program files/practice-games/practice-games.exe"
    key = component_key(games(made).identity)
    assert after.entries[path].links == {path, f"windows/winsxs/{key}/practice-games.exe"}
    value = after.value("SOFTWARE", r"Practice\Practice-Games", "Path")
    assert value
    assert value.text == r"C:\Program Files\Practice-Games\Practice-Games.exe"
    flag = after.value("COMPONENTS", rf"DerivedData\Components\{key}", "f!Practice-Games.exe")
    assert flag
    assert flag.number == flags.file_flags

    made.switched({"Practice-Games": False})
    assert lasting_differences(before, made.observe()) == []


def test_one_that_is_on_goes_off_with_its_payload_kept(workshop: Opened) -> None:
    made = workshop()
    made.switched({"Practice-Printing": False})
    after = made.observe()
    assert "program files/practice-printing/practice-printing.exe" not in after.entries
    assert "program files/practice-printing" not in after.entries
    assert [path for path in after.entries if path.endswith("/practice-printing.exe")]
    assert not after.value("SOFTWARE", r"Practice\Practice-Printing", "Path")


def test_what_is_as_wanted_changes_nothing(workshop: Opened) -> None:
    made = workshop()
    outcome = made.switch({"Practice-Games": False, "practice-PRINTING": True})
    assert (outcome.verdict, outcome.code) == (Verdict.INSTALLED, "unchanged")
    assert outcome.changes is None


def test_several_at_once(workshop: Opened) -> None:
    made = workshop()
    made.switched({"Practice-Games": True, "Practice-Printing": False})
    with made.store() as store:
        assert {one.name: one.state == 0x70 for one in features_of(store)} == {
            GAMES_FEATURE: True,
            PRINTING_FEATURE: False,
        }


def test_features_are_listed(workshop: Opened) -> None:
    made = workshop()
    package = f"Practice-Optional-Package~{WINDOWS_TOKEN}~amd64~~{made.maker.facts.full_version}"
    with made.store() as store:
        assert features_of(store) == (
            FeatureFacts(GAMES_FEATURE, package, 0x40),
            FeatureFacts(PRINTING_FEATURE, package, 0x70),
        )


def test_language_parts_follow_their_feature(workshop: Opened) -> None:
    """They are updates of another package, which names the one of the feature as its parent."""
    made = workshop()
    language = made.install(preset("feature-languages", made.generation))
    for on in (False, True):  # keys among the winners that are made anew inherit
        made.switched({"Practice-Printing": on})
    before = made.observe()
    assert update_state(before, language, GAMES_FEATURE) == PackageState.STAGED
    outcome = made.switched({"Practice-Games": True, "Practice-Printing": False})
    after = made.observe()
    assert language in outcome.packages
    assert update_state(after, language, GAMES_FEATURE) == PackageState.INSTALLED
    assert update_state(after, language, PRINTING_FEATURE) == PackageState.STAGED
    assert "program files/practice-games/en-us/practice-games.exe.mui" in after.entries
    assert "program files/practice-printing/en-us/practice-printing.exe.mui" not in after.entries
    made.switched({"Practice-Games": False, "Practice-Printing": True})
    assert lasting_differences(before, made.observe()) == []


def test_a_newer_version_of_a_feature_is_what_shows_itself(workshop: Opened) -> None:
    """An update stages a newer version of the component while the feature is off."""
    made = workshop()
    identity = Identity(f"{GAMES_FEATURE}-Component", made.maker.version(NEW))
    folder = f"$(runtime.programFiles)\\{GAMES_FEATURE}\\"
    newer = ComponentSpec(identity, (FileSpec(f"{GAMES_FEATURE}.exe", program("newer"), folder),))
    entry = UpdateEntry(
        GAMES_FEATURE,
        made.maker.deployment("Practice-Games-Fix", NEW, newer),
        applicable=Applicable("staged", follow_parent=GAMES_FEATURE),
    )
    parent = made.maker.parent("Practice-Optional-Package")
    made.install(made.maker.package("KB5000300", "1.0.0.0", entry, parents=(parent,)))
    before = made.observe()
    made.switched({"Practice-Games": True})
    path = "program files/practice-games/practice-games.exe"
    key = component_key(identity)
    assert f"windows/winsxs/{key}/practice-games.exe" in made.observe().entries[path].links
    made.switched({"Practice-Games": False})
    assert lasting_differences(before, made.observe()) == []


VIRTUAL = "Practice-Virtual-Package"


def virtual(maker: Maker, *, on: bool = False) -> PackageSpec:
    """A tree of features as those of virtual machines have it, the parts in hidden packages."""
    installed = PackageState.INSTALLED if on else PackageState.STAGED
    version = maker.facts.full_version

    def part(name: str) -> PackageSpec:
        component = ComponentSpec(
            Identity(f"Practice-{name}", version), (FileSpec(f"{name.lower()}.dll", program(name)),)
        )
        deployment = maker.deployment(f"Practice-{name}", 0, component)
        identity = Identity.package(f"Practice-{name}-Package~{WINDOWS_TOKEN}~amd64~~{version}")
        return PackageSpec(
            identity, (UpdateEntry("part", deployment),), visible=False, state=installed
        )

    def follows(parent: str) -> Applicable:
        return Applicable("detect", follow_self=parent)

    updates = (
        UpdateEntry("Virtual-All", selectable=True, state=installed),
        UpdateEntry(
            "Virtual-Tools",
            child=part("Virtual-Tools"),
            contained=False,
            applicable=follows("Virtual-All"),
            selectable=True,
            default_on=True,
            state=installed,
        ),
        UpdateEntry(
            "Virtual-Extra",
            child=part("Virtual-Extra"),
            applicable=follows("Virtual-Tools"),
            selectable=True,
            state=PackageState.STAGED,
        ),
        UpdateEntry(
            "Virtual-Base",
            child=part("Virtual-Base"),
            applicable=follows("Virtual-All"),
            state=installed,
        ),
    )
    identity = Identity.package(f"{VIRTUAL}~{WINDOWS_TOKEN}~amd64~~{version}")
    return PackageSpec(identity, updates, release_type="Feature Pack", state=PackageState.INSTALLED)


def states_of(made: Workshop, image: ImageState) -> dict[str, int]:
    """Updates of the tree, and the packages that hold their parts."""
    package = virtual(made.maker).identity.package_name
    names = ("Virtual-All", "Virtual-Tools", "Virtual-Extra", "Virtual-Base")
    states = {name: update_state(image, package, name) for name in names}
    for name in names[1:]:
        part = package.replace(VIRTUAL, f"Practice-{name}-Package")
        states[f"{name} part"] = state(image, part)
        owners = image.hives["SOFTWARE"][rf"{CBS}\Packages\{part}\Owners".lower()]
        assert {one.number & 0xFFFF for one in owners.values.values()} == {state(image, part)}
    return states


ALL_OFF = dict.fromkeys(
    ["Virtual-All", "Virtual-Tools", "Virtual-Extra", "Virtual-Base", "Virtual-Tools part",
     "Virtual-Extra part", "Virtual-Base part"],
    0x40,
)  # fmt: skip


def test_a_parent_brings_the_features_that_are_on_by_default(workshop: Opened) -> None:
    made = workshop()
    made = workshop(extra_packages=(virtual(made.maker),))
    before = made.observe()
    made.switched({"Virtual-All": True})
    after = made.observe()
    assert states_of(made, after) == {
        **dict.fromkeys(ALL_OFF, 0x70),
        "Virtual-Extra": 0x40,
        "Virtual-Extra part": 0x40,
    }
    assert "windows/system32/virtual-tools.dll" in after.entries
    assert "windows/system32/virtual-base.dll" in after.entries
    assert "windows/system32/virtual-extra.dll" not in after.entries
    made.switched({"Virtual-All": False})
    assert states_of(made, made.observe()) == ALL_OFF
    assert lasting_differences(before, made.observe()) == []


def test_a_child_needs_its_parents(workshop: Opened) -> None:
    made = workshop()
    made = workshop(extra_packages=(virtual(made.maker),))
    outcome = made.switch({"Virtual-Extra": True})
    assert outcome.verdict is Verdict.PREREQUISITE_MISSING
    assert "Virtual-Tools" in refused(outcome, "parent-feature")
    made.switched({"Virtual-All": True, "Virtual-Tools": True, "Virtual-Extra": True})
    assert states_of(made, made.observe()) == dict.fromkeys(ALL_OFF, 0x70)


def test_a_child_that_is_not_wanted_stays_off(workshop: Opened) -> None:
    made = workshop()
    made = workshop(extra_packages=(virtual(made.maker),))
    made.switched({"Virtual-All": True, "Virtual-Tools": False})
    assert states_of(made, made.observe()) == {
        **ALL_OFF,
        "Virtual-All": 0x70,
        "Virtual-Base": 0x70,
        "Virtual-Base part": 0x70,
    }


def test_the_tree_is_listed_with_what_each_needs(workshop: Opened) -> None:
    made = workshop()
    made = workshop(extra_packages=(virtual(made.maker, on=True),))
    with made.store() as store:
        found = {one.name: (one.state == 0x70, one.needs) for one in features_of(store)}
    assert found["Virtual-Extra"] == (False, ("Virtual-Tools",))
    assert found["Virtual-Tools"] == (True, ("Virtual-All",))
    assert found["Virtual-All"] == (True, ())


def test_an_unknown_feature_names_those_that_are_close(workshop: Opened) -> None:
    text = refused(workshop().switch({"Practice-Game": True}), "unknown-feature")
    assert GAMES_FEATURE in text


def test_installers_of_windows_are_refused_by_name(workshop: Opened) -> None:
    made = workshop()
    made.replace_manifest(games(made), CONFIGURATION)
    refused(made.switch({"Practice-Games": True}), "advanced-new:configuration")


def test_switching_off_what_an_installer_has_set_up(workshop: Opened) -> None:
    made = workshop()
    made.switched({"Practice-Games": True})
    made.replace_manifest(games(made), CONFIGURATION)
    refused(made.switch({"Practice-Games": False}), "advanced-gone:configuration")


def test_payload_that_was_removed(workshop: Opened) -> None:
    """By its state, by its files, and by its component."""
    made = workshop()
    key = component_key(games(made).identity)
    package = f"Practice-Optional-Package~{WINDOWS_TOKEN}~amd64~~{made.maker.facts.full_version}"
    resolved = SetValue(
        "SOFTWARE", rf"{CBS}\Packages\{package}\Updates", GAMES_FEATURE, 4, b"\x20\0\0\0"
    )
    ways = (
        (resolved,),
        (Remove(f"Windows/WinSxS/{key}/Practice-Games.exe"),),
        (
            Remove(f"Windows/WinSxS/{key}"),
            Remove(f"Windows/WinSxS/Manifests/{key}.manifest"),
            DeleteKey("COMPONENTS", rf"DerivedData\Components\{key}"),
        ),
    )
    for edits in ways:
        made.edit(*edits)
        refused(made.switch({"Practice-Games": True}), "payload-removed")
        made.sets.pop()


def test_payload_that_is_spoilt(workshop: Opened) -> None:
    made = workshop()
    key = component_key(games(made).identity)
    made.put(f"Windows/WinSxS/{key}/Practice-Games.exe", b"other bytes")
    refused(made.switch({"Practice-Games": True}), "image-damaged")


def test_pending_work_comes_first(workshop: Opened) -> None:
    made = workshop()
    made.edit(CreateKey("SOFTWARE", rf"{CBS}\RebootPending"))
    refused(made.switch({"Practice-Games": True}), "pending")


def test_a_feature_of_a_package_that_goes_is_gone_with_it(workshop: Opened) -> None:
    made = workshop()
    package = f"Practice-Optional-Package~{WINDOWS_TOKEN}~amd64~~{made.maker.facts.full_version}"
    made.install(update(made.maker, "KB5000200", OLD))
    made.removed(package)
    refused(made.switch({"Practice-Games": True}), "unknown-feature")


def test_cancelling_passes_through(workshop: Opened) -> None:
    made = workshop()

    def cancel(event: Event) -> None:
        raise Cancelled(event.phase)

    with pytest.raises(Cancelled):
        made.switch({"Practice-Games": True}, cancel)
