"""States of packages and updates, on the worked examples of the rules."""

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
