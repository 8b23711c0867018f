"""Which parts of an update apply to which images: states, and the findings that decide."""

import logging
from pathlib import Path

import pytest

from offline.components.made import TOKEN, MemoryImage, component_identity, store_of
from wimsmith.offline.manifests.identity import Version, parse_package_name
from wimsmith.offline.manifests.package import PackageManifest, parse_package
from wimsmith.offline.planning.applicability import Plan, evaluate
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.parents import matches
from wimsmith.offline.planning.snapshot import Snapshot, pack, take, unpack
from wimsmith.offline.verdicts import Verdict, first

FOUNDATION = f"Microsoft-Windows-Foundation-Package~{TOKEN}~amd64~~10.0.19041.1"
TOP = f"Package_for_KB1~{TOKEN}~amd64~~1.0.0.0"
STAGED, INSTALLED = 0x40, 0x70


def identity(name: str, element: str = "assemblyIdentity") -> str:
    one = parse_package_name(name)
    return (
        f'<{element} name="{one.name}" version="{one.version}" language="{one.language}" '
        f'processorArchitecture="{one.architecture}" publicKeyToken="{TOKEN}"/>'
    )


def parent(*names: str, attributes: str = "") -> str:
    return f"<parent {attributes}>{''.join(map(identity, names))}</parent>"


def component(name: str = "Deployment", version: str = "10.0.19041.5") -> str:
    return (
        f'<component><assemblyIdentity name="{name}" version="{version}" language="neutral" '
        f'processorArchitecture="amd64" publicKeyToken="{TOKEN}" versionScope="nonSxS"/>'
        "</component>"
    )


def update(name: str, body: str = "", condition: str = "") -> str:
    return f'<update name="{name}">{condition}{body or component()}</update>'


def package(
    name: str = TOP, *, parents: str = "", updates: str = "", stack: str = ""
) -> PackageManifest:
    installer = ""
    if stack:
        installer = (
            '<installerAssembly name="Microsoft-Windows-ServicingStack" language="neutral" '
            f'version="{stack}" processorArchitecture="amd64" publicKeyToken="{TOKEN}"/>'
        )
    text = (
        '<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0">'
        f"{identity(name)}<package identifier='KB1' releaseType='Update'>"
        f"{parents or parent(FOUNDATION)}{installer}{updates or update('one')}</package></assembly>"
    )
    return parse_package(text.encode())


@pytest.fixture
def image() -> MemoryImage:
    image = MemoryImage()
    image.package(FOUNDATION)
    return image


def plan(
    image: MemoryImage, tmp_path: Path, top: PackageManifest, *children: PackageManifest
) -> Plan:
    """The plan for an image, which is the same for its snapshot and for the kept description."""
    packages = {one.identity.package_name.lower(): one for one in (top, *children)}
    store = store_of(image, tmp_path)
    found = evaluate(store, top, packages)
    snapshot = Snapshot.from_data(unpack(pack(take(store).as_data())))
    kept = UpdateDescription.from_data(unpack(pack(UpdateDescription(top, packages).as_data())))
    again = evaluate(snapshot, kept.top, kept.packages)
    assert again.findings == found.findings
    assert targets(again) == targets(found)
    return found


def targets(found: Plan) -> list[object]:
    return [
        (one.identity, one.target, one.owner, one.depth, one.hidden, states(found))
        for one in found.packages
    ]


def verdict(found: Plan) -> tuple[Verdict, str] | None:
    decisive = first(found.findings)
    return (decisive.verdict, decisive.code) if decisive else None


def states(found: Plan) -> dict[str, int]:
    return {one.update.name: one.state for package in found.packages for one in package.updates}


@pytest.mark.parametrize(
    ("attributes", "found", "fits"),
    [
        ("", "10.0.19041.1", True),
        ("", "10.0.19041.9", True),
        ("", "10.0.22000.1", True),
        ("", "10.0.18362.9", False),
        ("", "10.0.19041.0", False),
        ("", "11.0.19041.1", False),
        ("", "10.1.19041.1", False),
        ('buildCompare="EQ"', "10.0.22000.1", False),
        ('buildCompare="EQ"', "10.0.19041.7", True),
        ('revisionCompare="EQ"', "10.0.19041.7", False),
        ('versionCompare="GE"', "11.0.19041.1", True),
        ('serviceCompare="EQ" distributionCompare="EQ"', "10.0.22000.20001", True),
    ],
)
def test_windows_10_compares_three_parts(
    image: MemoryImage, tmp_path: Path, attributes: str, found: str, fits: bool
) -> None:
    asked = package(parents=parent(FOUNDATION, attributes=attributes)).parents[0]
    store = store_of(image, tmp_path)
    wanted = Version.parse("10.0.19041.1")
    assert matches(store.image, asked, wanted, Version.parse(found)) is fits


@pytest.mark.parametrize(
    ("attributes", "found", "fits"),
    [
        ("", "6.1.7601.17514", True),
        ('buildCompare="EQ" serviceCompare="EQ"', "6.1.7601.17514", True),
        ('buildCompare="EQ" serviceCompare="GE"', "6.1.7600.16385", False),
        ('serviceCompare="EQ"', "6.1.7602.17514", False),
        ('distributionCompare="EQ"', "6.1.7601.23140", False),
        ("", "6.1.7601.23140", True),
    ],
)
def test_windows_7_compares_five_parts(
    tmp_path: Path, attributes: str, found: str, fits: bool
) -> None:
    image = seven()
    asked = package(parents=parent(FOUNDATION, attributes=attributes)).parents[0]
    store = store_of(image, tmp_path)
    wanted = Version.parse("6.1.7601.17514")
    assert matches(store.image, asked, wanted, Version.parse(found)) is fits


def seven() -> MemoryImage:
    image = MemoryImage()
    key = r"Microsoft\Windows NT\CurrentVersion"
    for name in ("CurrentMajorVersionNumber", "CurrentMinorVersionNumber"):
        image.hives["SOFTWARE"].delete_value(key, name)
    image.windows(6, 1, 7601)
    return image


def test_an_installed_parent_means_installed_a_staged_one_staged(
    image: MemoryImage, tmp_path: Path
) -> None:
    assert plan(image, tmp_path, package()).packages[0].target == INSTALLED
    image.package(FOUNDATION, STAGED)
    found = plan(image, tmp_path, package())
    assert found.packages[0].target == STAGED
    assert states(found) == {"one": STAGED}
    assert verdict(found) is None


def test_any_identity_of_any_parent_will_do_and_the_best_state_counts(
    image: MemoryImage, tmp_path: Path
) -> None:
    other, third = FOUNDATION.replace("Foundation", "Other"), FOUNDATION.replace("Found", "Th")
    image.package(third, STAGED)
    parents = parent(other, third) + parent(FOUNDATION)
    assert plan(image, tmp_path, package(parents=parents)).packages[0].target == INSTALLED
    parents = parent(other, third)
    assert plan(image, tmp_path, package(parents=parents)).packages[0].target == STAGED


def test_the_example_of_a_public_log(image: MemoryImage, tmp_path: Path) -> None:
    name = f"Microsoft-Windows-Product~{TOKEN}~amd64~~10.0.22621."
    image.package(name + "3085", 0)
    image.package(name + "3130", STAGED)
    manifest = package(parents=parent(name + "1", attributes='buildCompare="EQ"'))
    assert plan(image, tmp_path, manifest).packages[0].target == STAGED


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (None, (Verdict.PREREQUISITE_MISSING, "parent")),
        ("10.0.19041.0", (Verdict.PREREQUISITE_MISSING, "parent")),
        ("10.0.18362.1", (Verdict.NOT_APPLICABLE, "build")),
        ("9.9.19041.1", (Verdict.NOT_APPLICABLE, "build")),
    ],
)
def test_without_a_parent_the_name_of_the_missing_one_is_told(
    tmp_path: Path, present: str | None, expected: tuple[Verdict, str]
) -> None:
    image = MemoryImage()
    if present:
        image.package(FOUNDATION.replace("10.0.19041.1", present))
    found = plan(image, tmp_path, package())
    assert verdict(found) == expected
    assert found.packages == ()
    assert FOUNDATION in found.findings[0].text


def test_who_is_there_already(image: MemoryImage, tmp_path: Path) -> None:
    image.package(TOP, INSTALLED)
    assert verdict(plan(image, tmp_path, package())) == (Verdict.INSTALLED, "installed")


@pytest.mark.parametrize(
    ("state", "superseded"), [(INSTALLED, True), (0x50, True), (STAGED, False)]
)
def test_a_higher_version_supersedes(
    image: MemoryImage, tmp_path: Path, state: int, superseded: bool
) -> None:
    image.package(TOP.replace("1.0.0.0", "1.0.0.1"), state)
    found = verdict(plan(image, tmp_path, package()))
    assert found == ((Verdict.SUPERSEDED, "superseded") if superseded else None)


def test_a_package_that_was_superseded_does_not_come_back(
    image: MemoryImage, tmp_path: Path
) -> None:
    image.package(TOP, 0x50)
    assert verdict(plan(image, tmp_path, package())) == (Verdict.SUPERSEDED, "superseded")


def test_a_staged_package_is_installed_when_its_parent_is(
    image: MemoryImage, tmp_path: Path
) -> None:
    image.package(TOP, STAGED)
    found = plan(image, tmp_path, package())
    assert verdict(found) is None
    assert found.packages[0].target == INSTALLED


def test_staged_already_and_no_further_to_go(image: MemoryImage, tmp_path: Path) -> None:
    image.package(FOUNDATION, STAGED)
    image.package(TOP, STAGED)
    assert verdict(plan(image, tmp_path, package())) == (Verdict.INSTALLED, "staged")


def test_other_machines_and_languages(image: MemoryImage, tmp_path: Path) -> None:
    arm = package(TOP.replace("amd64", "arm64"))
    assert verdict(plan(image, tmp_path, arm)) == (Verdict.NOT_APPLICABLE, "arch")
    german = package(TOP.replace("~~", "~de-DE~"))
    assert verdict(plan(image, tmp_path, german)) is None
    image.language("en-US")
    assert verdict(plan(image, tmp_path, german)) == (Verdict.NOT_APPLICABLE, "language")
    image.language("de-DE")
    assert verdict(plan(image, tmp_path, german)) is None


def test_32_bit_parts_of_64_bit_windows_are_packages_of_it(
    image: MemoryImage, tmp_path: Path
) -> None:
    """Features on demand come as `~amd64~` and `~wow64~`, and both go into one image."""
    part = package(TOP.replace("amd64", "wow64"))
    assert verdict(plan(image, tmp_path, part)) is None
    native = package(TOP.replace("amd64", "x86"))
    assert verdict(plan(image, tmp_path, native)) == (Verdict.NOT_APPLICABLE, "arch")


@pytest.mark.parametrize(
    ("stack", "old"), [("10.0.19041.1", False), ("10.0.19041.2", True), ("6.0.0.0", False)]
)
def test_an_old_servicing_stack_is_told_before_it_does_harm(
    image: MemoryImage, tmp_path: Path, stack: str, old: bool
) -> None:
    image.win(component_identity("Microsoft-Windows-ServicingStack", "10.0.19041.1"))
    found = verdict(plan(image, tmp_path, package(stack=stack)))
    assert found == ((Verdict.PREREQUISITE_MISSING, "stack-too-old") if old else None)


def test_an_image_without_a_stack_is_too_old_for_any(image: MemoryImage, tmp_path: Path) -> None:
    found = verdict(plan(image, tmp_path, package(stack="6.0.0.0")))
    assert found == (Verdict.PREREQUISITE_MISSING, "stack-too-old")


def child_of(name: str, integrate: str = "hidden") -> str:
    return update("child", f'<package integrate="{integrate}">{identity(name)}</package>')


CHILD = f"Package_1_for_KB1~{TOKEN}~amd64~~1.0.0.0"


def test_children_follow_with_their_owner(image: MemoryImage, tmp_path: Path) -> None:
    found = plan(image, tmp_path, package(updates=child_of(CHILD)), package(CHILD))
    names = [(one.identity.name, one.depth, one.hidden, one.target) for one in found.packages]
    assert names == [
        ("Package_for_KB1", 0, False, INSTALLED),
        ("Package_1_for_KB1", 1, True, INSTALLED),
    ]
    assert found.packages[1].owner.package_name == TOP


def test_a_child_never_gets_further_than_what_carries_it(
    image: MemoryImage, tmp_path: Path
) -> None:
    image.package(FOUNDATION, STAGED)
    found = plan(image, tmp_path, package(updates=child_of(CHILD)), package(CHILD))
    assert [one.target for one in found.packages] == [STAGED, STAGED]


def test_a_child_for_another_language_is_absent_and_no_error(
    image: MemoryImage, tmp_path: Path
) -> None:
    missing = package(CHILD, parents=parent(FOUNDATION.replace("~~", "~ja-JP~")))
    found = plan(image, tmp_path, package(updates=update("own") + child_of(CHILD)), missing)
    assert [one.identity.name for one in found.packages] == ["Package_for_KB1"]
    assert verdict(found) is None


def test_when_every_leaf_is_absent_nothing_applies(image: MemoryImage, tmp_path: Path) -> None:
    missing = package(CHILD, parents=parent(FOUNDATION.replace("~~", "~ja-JP~")))
    found = plan(image, tmp_path, package(updates=child_of(CHILD)), missing)
    assert verdict(found) == (Verdict.NOT_APPLICABLE, "components")


def test_a_child_may_ask_for_what_carries_it(image: MemoryImage, tmp_path: Path) -> None:
    found = plan(
        image, tmp_path, package(updates=child_of(CHILD)), package(CHILD, parents=parent(TOP))
    )
    assert len(found.packages) == 2


def numbered(number: int) -> str:
    return f"Package_{number}_for_KB1~{TOKEN}~amd64~~1.0.0.0"


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_children_may_stand_before_their_parents(
    image: MemoryImage, tmp_path: Path, order: tuple[int, ...]
) -> None:
    children = {
        1: package(numbered(1)),
        2: package(numbered(2), parents=parent(numbered(1))),
        3: package(numbered(3), parents=parent(numbered(2))),
    }
    held = "".join(child_of(numbered(number)).replace("child", f"u{number}") for number in order)
    found = plan(image, tmp_path, package(updates=held), *children.values())
    assert [(one.identity.name, one.target) for one in found.packages] == [
        ("Package_for_KB1", INSTALLED),
        *((f"Package_{number}_for_KB1", INSTALLED) for number in (1, 2, 3)),
    ]
    assert {one.owner.package_name for one in found.packages} == {TOP}
    assert verdict(found) is None


def test_a_child_rises_with_a_parent_behind_it(image: MemoryImage, tmp_path: Path) -> None:
    """Its parent is staged in the image, and the update installs a newer version of that."""
    image.package(numbered(1), STAGED)
    newer = numbered(1).replace("~1.0.0.0", "~1.0.0.5")
    held = child_of(numbered(2)) + child_of(newer).replace("child", "more")
    lower = package(numbered(2), parents=parent(numbered(1)))
    found = plan(image, tmp_path, package(updates=held), lower, package(newer))
    assert {one.identity.name: one.target for one in found.packages} == {
        "Package_for_KB1": INSTALLED,
        "Package_1_for_KB1": INSTALLED,
        "Package_2_for_KB1": INSTALLED,
    }


def test_children_that_ask_for_each_other_are_absent(image: MemoryImage, tmp_path: Path) -> None:
    one = package(numbered(1), parents=parent(numbered(2)))
    other = package(numbered(2), parents=parent(numbered(1)))
    held = update("own") + child_of(numbered(1)) + child_of(numbered(2)).replace("child", "more")
    found = plan(image, tmp_path, package(updates=held), one, other)
    assert [one.identity.name for one in found.packages] == ["Package_for_KB1"]


@pytest.mark.parametrize("disposition", ["", "detect", "Detect", "staged"])
def test_known_ways_of_looking_for_a_parent(
    image: MemoryImage, tmp_path: Path, disposition: str
) -> None:
    asked = parent(FOUNDATION, attributes=f'disposition="{disposition}"')
    assert verdict(plan(image, tmp_path, package(parents=asked))) is None


@pytest.mark.parametrize("more", ["", parent(FOUNDATION), parent("Other" + FOUNDATION)])
@pytest.mark.parametrize("name", [FOUNDATION, "None" + FOUNDATION])
def test_an_unknown_way_of_looking_for_a_parent_is_refused(
    image: MemoryImage, tmp_path: Path, name: str, more: str
) -> None:
    """Whether the parent is there or not, and whatever others are asked for."""
    asked = parent(name, attributes='disposition="absent"') + more
    found = plan(image, tmp_path, package(parents=asked))
    assert verdict(found) == (Verdict.NOT_SUPPORTED, "parent-disposition")
    assert "'absent'" in found.findings[0].text
    below = package(CHILD, parents=asked)
    found = plan(image, tmp_path, package(updates=update("own") + child_of(CHILD)), below)
    assert verdict(found) == (Verdict.NOT_SUPPORTED, "parent-disposition")


def test_a_child_that_the_update_lacks_is_damage(image: MemoryImage, tmp_path: Path) -> None:
    found = verdict(plan(image, tmp_path, package(updates=child_of(CHILD))))
    assert found == (Verdict.FAILED, "damaged:child")
    image.package(CHILD, INSTALLED)
    assert verdict(plan(image, tmp_path, package(updates=child_of(CHILD) + update("own")))) is None


def following(name: str, where: str, disposition: str = "staged") -> str:
    return (
        f'<applicable disposition="{disposition}"><detectUpdate>'
        f'<{where} name="{name}"/></detectUpdate></applicable>'
    )


@pytest.mark.parametrize(
    ("feature", "disposition", "state"),
    [
        (INSTALLED, "staged", INSTALLED),
        (0x80, "staged", INSTALLED),
        (STAGED, "staged", STAGED),
        (STAGED, "detect", STAGED),
        (0, "staged", STAGED),
        (0, "", 0),
        (None, "staged", STAGED),
    ],
)
def test_an_update_follows_the_one_of_its_parent(
    tmp_path: Path, feature: int | None, disposition: str, state: int
) -> None:
    image = MemoryImage()
    image.package(FOUNDATION, INSTALLED, {} if feature is None else {"Feature": feature})
    condition = following("Feature", "parent", disposition)
    manifest = package(updates=update("one", condition=condition))
    assert states(plan(image, tmp_path, manifest)) == {"one": state}


def test_an_update_follows_another_of_its_own_package(image: MemoryImage, tmp_path: Path) -> None:
    off = following("Feature", "parent")
    image.package(FOUNDATION, INSTALLED, {"Feature": STAGED})
    updates = update("one", condition=following("Trigger_1", "update", "detect"))
    updates += update("Trigger_1", condition=off)
    assert states(plan(image, tmp_path, package(updates=updates))) == {
        "one": STAGED,
        "Trigger_1": STAGED,
    }


def test_updates_that_follow_each_other_end_staged(image: MemoryImage, tmp_path: Path) -> None:
    updates = update("a", condition=following("b", "update"))
    updates += update("b", condition=following("a", "update"))
    assert states(plan(image, tmp_path, package(updates=updates))) == {"a": STAGED, "b": STAGED}


FAMILY = "Practice-Family"


def elevated(kind: str, *versions: str, disposition: str = "staged", more: str = "") -> str:
    identities = "".join(
        component(FAMILY, version).replace("<component>", "").replace("</component>", "")
        for version in versions
    )
    return (
        f'<applicable disposition="{disposition}">'
        f'<updateComponent elevate="{kind}">{identities}</updateComponent>{more}</applicable>'
    )


@pytest.mark.parametrize(
    ("kind", "own", "there", "state"),
    [
        ("install", "6.1.7601.18937", [], INSTALLED),
        ("install", "6.1.7601.18937", ["6.1.7601.23140"], INSTALLED),
        ("revision", "6.1.7601.23140", [], STAGED),
        ("revision", "6.1.7601.23140", ["6.1.7601.23000"], INSTALLED),
        ("revision", "6.1.7601.23140", ["6.1.7601.18937"], STAGED),
        ("revision", "6.1.7601.23140", ["6.1.7600.23000"], STAGED),
        ("revision", "6.1.7601.23140", ["6.1.7601.22000", "6.1.7601.23141"], INSTALLED),
        ("revision", "6.1.7601.23140", ["6.1.7601.23140"], STAGED),
        ("revision", "6.1.7601.18937", ["6.1.7601.17514"], INSTALLED),
        ("revision", "6.1.7601.23140", ["6.1.7601.17514", "6.1.7601.18937"], STAGED),
    ],
)
def test_elevations(tmp_path: Path, kind: str, own: str, there: list[str], state: int) -> None:
    image = seven()
    image.package(FOUNDATION)
    for version in there:
        image.win(component_identity(FAMILY, version))
    manifest = package(updates=update("one", condition=elevated(kind, own)))
    assert states(plan(image, tmp_path, manifest)) == {"one": state}


def test_one_family_of_a_condition_is_enough(tmp_path: Path) -> None:
    image = seven()
    image.package(FOUNDATION)
    image.win(component_identity(FAMILY, "6.1.7601.23000"))
    condition = elevated("revision", "6.1.7601.22000", "6.1.7601.23140")
    assert states(plan(image, tmp_path, package(updates=update("one", condition=condition)))) == {
        "one": INSTALLED
    }


def test_of_two_conditions_the_lower_state_wins(image: MemoryImage, tmp_path: Path) -> None:
    image.package(FOUNDATION, INSTALLED, {"Feature": STAGED})
    more = '<detectUpdate><parent name="Feature"/></detectUpdate>'
    condition = elevated("install", "10.0.19041.5", more=more)
    manifest = package(updates=update("one", condition=condition))
    assert states(plan(image, tmp_path, manifest)) == {"one": STAGED}


@pytest.mark.parametrize("kind", ["distribution", "serviceLevel", "", "sideways"])
def test_elevations_that_nobody_has_seen_are_refused(
    image: MemoryImage, tmp_path: Path, kind: str
) -> None:
    manifest = package(updates=update("one", condition=elevated(kind, "10.0.19041.5")))
    assert verdict(plan(image, tmp_path, manifest)) == (Verdict.NOT_SUPPORTED, "elevate-unproven")


def test_a_feature_keeps_the_state_it_had(image: MemoryImage, tmp_path: Path) -> None:
    condition = '<selectable disposition="staged"><detectNone default="true"/></selectable>'
    manifest = package(updates=update("Feature", condition=condition))
    assert states(plan(image, tmp_path, manifest)) == {"Feature": INSTALLED}
    image.package(TOP.replace("1.0.0.0", "0.9.0.0"), INSTALLED, {"Feature": STAGED})
    assert states(plan(image, tmp_path, manifest)) == {"Feature": STAGED}


def test_a_feature_that_is_off_by_default_is_staged(image: MemoryImage, tmp_path: Path) -> None:
    condition = '<selectable disposition="staged"><detectNone default="false"/></selectable>'
    manifest = package(updates=update("Feature", condition=condition))
    assert states(plan(image, tmp_path, manifest)) == {"Feature": STAGED}


def test_the_log_reads_as_windows_own(
    image: MemoryImage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "wimsmith.offline"):
        plan(image, tmp_path, package(parents=parent(FOUNDATION, attributes='buildCompare="EQ"')))
    assert (
        f"Appl: detect Parent, Package: {TOP}, Parent: {FOUNDATION}, Disposition = Detect, "
        "VersionComp: EQ, BuildComp: EQ, RevisionComp: GE, Exist: present"
    ) in caplog.messages
    assert (
        f"Appl: Evaluating package applicability for package {TOP}, applicable state: Installed"
    ) in caplog.messages
    caplog.clear()
    with caplog.at_level(logging.INFO, "wimsmith.offline"):
        plan(MemoryImage(), tmp_path, package())
    assert "Appl: detectParent: no parent found, go absent" in caplog.messages
    assert (
        "Plan: Skipping package since its start state and target state are both absent "
        f"for package: {TOP}"
    ) in caplog.messages
    caplog.clear()
    with caplog.at_level(logging.INFO, "wimsmith.offline"):
        plan(seven(), tmp_path, package())
    assert f"Appl: detectParent: package: {TOP}, no parent found, go absent" in caplog.messages
