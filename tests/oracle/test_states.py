"""States of packages and updates, on the worked examples of the rules."""

import itertools
from pathlib import Path

import pytest

from oracle.names import Identity, winners_key
from oracle.package import PackagePart, UpdateFile
from oracle.state import ImageState, Key, Value
from oracle.states import CBS, INSTALLED, STAGED, WINNERS, targets
from oracle.xmlfacts import Condition, Package, Parent, Update

TOKEN = "31bf3856ad364e35"
FAMILY = Identity("Family", "6.1.7601.23140", "amd64", "neutral", TOKEN, "nonSxS")


def package(name: str, version: str = "10.0.19041.1") -> Identity:
    return Identity(name, version, "amd64", "neutral", TOKEN)


def image(
    packages: dict[Identity, int], *, feature: int = INSTALLED, winner: str = ""
) -> ImageState:
    keys: dict[str, Key] = {}
    for identity, state in packages.items():
        path = rf"{CBS}\Packages\{identity.package_name}"
        keys[path.lower()] = Key(path, b"", {"currentstate": number(state)})
        updates = rf"{path}\Updates"
        keys[updates.lower()] = Key(updates, b"", {"feature": number(feature)})
    if winner:
        path = rf"{WINNERS}\{winners_key(FAMILY)}\6.1"
        keys[path.lower()] = Key(path, b"", {"": number(0), winner: number(1)})
    return ImageState({}, {"SOFTWARE": keys})


def number(value: int) -> Value:
    return Value("", 4, value.to_bytes(4, "little"))


def update_file(facts: Package, *others: Package) -> UpdateFile:
    parts = [PackagePart(one, b"", b"") for one in (facts, *others)]
    return UpdateFile(Path(), parts[0], {one.name.lower(): one for one in parts}, {}, {})


def update(name: str, *conditions: Condition, disposition: str = "staged") -> Update:
    return Update(name, (), (), conditions, disposition)


@pytest.mark.parametrize(
    ("present", "state"), [(INSTALLED, INSTALLED), (STAGED, STAGED), (0x50, STAGED), (0, None)]
)
def test_a_package_goes_as_far_as_its_parent(present: int, state: int | None) -> None:
    facts = Package(package("Update"), (Parent((package("Base"),), {}),), (), self_update=False)
    found = targets(update_file(facts), image({package("Base"): present}))
    assert [target.state for target in found] == ([] if state is None else [state])


@pytest.mark.parametrize(
    ("version", "rules", "matches"),
    [
        ("10.0.19041.1", {}, True),
        ("10.0.19041.264", {}, True),
        ("10.0.19041.264", {"revision": "EQ"}, False),
        ("10.0.19042.1", {}, True),
        ("10.0.19042.1", {"build": "EQ"}, False),
        ("10.0.18363.1", {}, False),
        ("11.0.19041.1", {}, False),
        ("10.0.19042.0", {}, False),
        ("10.0.19042.0", {"revision": "EQ"}, False),
        ("10.0.19042.1", {"revision": "EQ"}, True),
    ],
)
def test_versions_are_compared_in_parts(
    version: str, rules: dict[str, str], *, matches: bool
) -> None:
    facts = Package(package("Update"), (Parent((package("Base"),), rules),), (), self_update=False)
    found = targets(update_file(facts), image({package("Base", version): INSTALLED}))
    assert bool(found) == matches


@pytest.mark.parametrize("feature", [INSTALLED, STAGED])
def test_an_update_follows_the_feature_in_the_parent(feature: int) -> None:
    facts = Package(
        package("Language"),
        (Parent((package("Base"),), {}),),
        (update("Texts", Condition("parent", update="feature")),),
        self_update=False,
    )
    found = targets(update_file(facts), image({package("Base"): INSTALLED}, feature=feature))
    assert found[0].updates == {"Texts": feature}


@pytest.mark.parametrize(
    ("winner", "revision"),
    [
        ("", STAGED),
        ("6.1.7601.22000", INSTALLED),
        ("6.1.7601.18000", STAGED),
        ("6.1.7600.22000", STAGED),
        ("6.1.7601.23500", STAGED),
    ],
)
def test_a_branch_is_staged_until_its_family_is_there(winner: str, revision: int) -> None:
    facts = Package(
        package("Update"),
        (),
        (
            update("GDR", Condition("install", identities=(FAMILY,))),
            update("LDR", Condition("revision", identities=(FAMILY,))),
        ),
        self_update=False,
    )
    found = targets(update_file(facts), image({}, winner=winner))
    assert found[0].updates == {"GDR": INSTALLED, "LDR": revision}


def test_children_are_limited_by_the_update_that_holds_them() -> None:
    child = Package(package("Child"), (Parent((package("Base"),), {}),), (), self_update=False)
    absent = Package(package("Absent"), (Parent((package("None"),), {}),), (), self_update=False)
    holder = Update(
        "Holder",
        (),
        ((child.identity, True), (absent.identity, True)),
        (Condition("parent", update="feature"),),
        "staged",
    )
    top = Package(package("Top"), child.parents, (holder,), self_update=False)
    state = image({package("Base"): INSTALLED}, feature=STAGED)
    found = targets(update_file(top, child, absent), state)
    assert [(one.part.facts.identity.name, one.state, one.hidden) for one in found] == [
        ("Top", INSTALLED, False),
        ("Child", STAGED, True),
    ]


@pytest.mark.parametrize(
    ("rules", "state"),
    [(("revision", "install"), INSTALLED), (("revision", "revision"), STAGED)],
)
def test_of_several_families_one_is_enough(rules: tuple[str, ...], state: int) -> None:
    conditions = [Condition(one, identities=(FAMILY,)) for one in rules]
    facts = Package(package("Update"), (), (update("one", *conditions),), self_update=False)
    assert targets(update_file(facts), image({}))[0].updates == {"one": state}


def test_a_package_of_two_carriers_takes_part_once() -> None:
    """As far as the further one takes it, and seen by users if one of them shows it."""
    child = Package(package("Child"), (Parent((package("Base"),), {}),), (), self_update=False)
    off = Condition("parent", update="feature")
    carriers = (
        Update("off", (), ((child.identity, True),), (off,), "staged"),
        Update("on", (), ((child.identity, False),), (), ""),
    )
    for order in (carriers, carriers[::-1]):
        top = Package(package("Top"), child.parents, order, self_update=False)
        state = image({package("Base"): INSTALLED}, feature=STAGED)
        found = targets(update_file(top, child), state)
        assert [(one.part.facts.identity.name, one.state, one.hidden) for one in found] == [
            ("Top", INSTALLED, False),
            ("Child", INSTALLED, False),
        ]


def test_a_parent_that_comes_along_counts_with_its_updates() -> None:
    base = Package(package("Base"), (), (update("feature"),), self_update=False)
    follows = update("Texts", Condition("parent", update="feature"))
    texts = Package(package("T"), (Parent((package("Base"),), {}),), (follows,), self_update=False)
    held = ((base.identity, True), (texts.identity, True))
    top = Package(package("Top"), (), (Update("all", (), held, (), ""),), self_update=False)
    found = {
        one.part.facts.identity.name: one
        for one in targets(update_file(top, base, texts), image({}))
    }
    assert found["T"].updates == {"Texts": INSTALLED}


def test_the_order_of_packages_within_an_update_does_not_matter() -> None:
    """A chain of packages, each the parent of the next, and one whose parent is nowhere."""
    chain = [package(f"P{number}") for number in range(4)]
    parts = [Package(chain[0], (), (update("one"),), self_update=False)]
    parts += [
        Package(own, (Parent((above,), {}),), (update("one"),), self_update=False)
        for above, own in itertools.pairwise(chain)
    ]
    lost = Package(package("Lost"), (Parent((package("None"),), {}),), (), self_update=False)
    for order in ([*parts, lost], [lost, *reversed(parts)]):
        held = tuple((one.identity, True) for one in order)
        top = Package(package("Top"), (), (Update("all", (), held, (), ""),), self_update=False)
        found = targets(update_file(top, *order), image({}))
        states = {one.part.facts.identity.name: one.state for one in found}
        assert states == dict.fromkeys(["Top", "P0", "P1", "P2", "P3"], INSTALLED)


@pytest.mark.parametrize(("disposition", "state"), [("staged", STAGED), ("", STAGED)])
def test_what_follows_an_update_that_is_not_there_is_staged(disposition: str, state: int) -> None:
    follows = update("Texts", Condition("self", update="gone"), disposition=disposition)
    facts = Package(package("Update"), (), (follows,), self_update=False)
    assert targets(update_file(facts), image({}))[0].updates == {"Texts": state}
