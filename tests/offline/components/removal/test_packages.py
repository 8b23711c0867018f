"""What is left of packages: owners, parts, catalogs, indexes; and how users name them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from offline.components.removal.kit import CBS, Workshop, lasting_differences, number
from offline.components.removal.updates import NEW, OLD, update
from wimsmith.offline.changes import PutFile, SetValue
from wimsmith.offline.components.removal.names import packages_named
from wimsmith.practice.names import WINDOWS_TOKEN, Identity
from wimsmith.practice.presets import preset
from wimsmith.practice.spec import PackageSpec, UpdateEntry

Opened = Callable[..., Workshop]
DETECTIONS = {
    "PackageDetect": ("practice-{}-package~31bf3856ad364e35~amd64~~0.0.0.0", 4, bytes(4)),
    "UpdateDetect": ("{}", 4, bytes(4)),
    "ComponentDetect": (
        "amd64_practice-{}_7072616374696365_none_0123456789abcdef",
        1,
        "1.0.0.0@0\0".encode("utf-16-le"),
    ),
}
"""Forms of the detect indexes: a key, and type and data of the values in it."""
CATALOG_ROOT = "windows/system32/catroot/{f750e6c3-38ee-11d1-85e5-00c04fc295ee}"


def packages(made: Workshop) -> set[str]:
    """Names of the packages that the image has a key of."""
    start = rf"{CBS}\Packages".lower() + "\\"
    keys = made.observe().hives["SOFTWARE"]
    return {
        key.path.rpartition("\\")[2]
        for name, key in keys.items()
        if name.startswith(start) and "\\" not in name[len(start) :]
    }


def with_part(made: Workshop, *, contained: bool | None, article: str = "KB5000500") -> PackageSpec:
    """A package that carries another one."""
    part = replace(update(made.maker, "KB5000501", OLD), visible=False)
    entry = UpdateEntry("part", child=part, contained=contained)
    return made.maker.package(article, "1.0.0.0", entry)


def test_a_part_goes_with_the_package_that_carries_it(workshop: Opened) -> None:
    made = workshop()
    before = packages(made)
    top = made.install(with_part(made, contained=None))
    assert len(packages(made) - before) == 2
    assert len(made.removed(top).packages) == 2
    assert packages(made) == before


def test_a_part_that_two_packages_carry_stays_until_both_are_gone(workshop: Opened) -> None:
    made = workshop()
    first = made.install(with_part(made, contained=None))
    second = made.install(with_part(made, contained=None, article="KB5000502"))
    part = "Package_for_KB5000501" + f"~{WINDOWS_TOKEN}~amd64~~1.0.{OLD}.0"
    assert made.removed(first).packages == (first,)
    owners = made.observe().hives["SOFTWARE"][rf"{CBS}\Packages\{part}\Owners".lower()]
    assert [value.name for value in owners.values.values()] == [second]
    assert "windows/system32/reversible.dll" in made.observe().entries
    assert set(made.removed(second).packages) == {second, part}
    assert "windows/system32/reversible.dll" not in made.observe().entries


def test_a_part_that_is_not_contained_is_left_as_a_package_of_its_own(workshop: Opened) -> None:
    made = workshop()
    top = made.install(with_part(made, contained=False))
    part = "Package_for_KB5000501" + f"~{WINDOWS_TOKEN}~amd64~~1.0.{OLD}.0"
    assert made.removed(top).packages == (top,)
    after = made.observe()
    flag = number(after, "SOFTWARE", rf"{CBS}\Packages\{part}\Owners", part)
    assert flag & 0xFFFF == 0x70
    assert flag >> 16 == made.bench.flags.owner_flag
    assert "windows/system32/reversible.dll" in after.entries
    made.removed(part)


def test_manifests_and_catalogs_are_gone_from_all_their_places(workshop: Opened) -> None:
    made = workshop()
    before = set(made.observe().entries)
    name = made.install(update(made.maker, "KB5000200", OLD))
    added = set(made.observe().entries) - before
    assert f"windows/servicing/packages/{name}.mum".lower() in added
    assert f"{CATALOG_ROOT}/{name}.cat".lower() in added
    assert [path for path in added if path.startswith("windows/winsxs/catalogs/")]
    made.removed(name)
    left = set(made.observe().entries) - before
    assert not [path for path in left if path.endswith((".cat", ".mum", ".manifest"))]


def test_a_catalog_that_another_package_has_as_well_stays_in_the_store(workshop: Opened) -> None:
    made = workshop()
    name = made.install(update(made.maker, "KB5000200", OLD))
    with made.store() as store:
        content = store.draft.find(f"Windows/servicing/Packages/{name}.cat")
    assert content
    other = PutFile("Windows/servicing/Packages/other.cat", content.sha1)
    made.edit(other)
    before = {path for path in made.observe().entries if "winsxs/catalogs/" in path}
    made.removed(name)
    assert {path for path in made.observe().entries if "winsxs/catalogs/" in path} == before


def test_the_indexes_of_what_to_look_at_again_forget_it(workshop: Opened) -> None:
    made = workshop()
    name = made.install(update(made.maker, "KB5000200", OLD))
    other = "Another-Package~31bf3856ad364e35~amd64~~1.0.0.0"
    for index, (key, kind, data) in DETECTIONS.items():
        shared, own = (rf"{CBS}\{index}\{key.format(one)}" for one in ("shared", "own"))
        for path, value in ((shared, name), (shared, other), (own, name)):
            made.edit(SetValue("SOFTWARE", path, value, kind, data))
    parts = rf"{CBS}\UpdateDetect\shared"
    made.edit(SetValue("SOFTWARE", parts, f"{name}.an-update", 4, bytes(4)))
    made.removed(name)
    hive = made.observe().hives["SOFTWARE"]
    for index, (key, _, _) in DETECTIONS.items():
        left = hive[rf"{CBS}\{index}\{key.format('shared')}".lower()].values
        assert set(left) == {other.lower()}
        assert rf"{CBS}\{index}\{key.format('own')}".lower() not in hive


def test_the_order_in_the_call_does_not_matter(workshop: Opened) -> None:
    made = workshop()
    before = made.observe()
    names = [made.install(update(made.maker, f"KB500020{n}", r)) for n, r in enumerate((OLD, NEW))]
    results = []
    for order in (names, names[::-1]):
        outcome = made.removed(*order)
        results.append(made.observe())
        assert lasting_differences(before, results[-1]) == []
        assert set(outcome.packages) == set(names)
        made.sets.pop()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("KB5000001", ["Package_for_RollupFix"]),
        ("kb5000001", ["Package_for_RollupFix"]),
        ("5000001", ["Package_for_RollupFix"]),
        ("Package_for_RollupFix", ["Package_for_RollupFix"]),
        ("package_1_for_kb5000001", ["Package_1_for_KB5000001"]),
        ("KB4000001", ["Package_for_KB4000001"]),
        ("500000", []),
        ("KB50000010", []),
        ("", []),
        ("RollupFix", []),
    ],
)
def test_packages_by_what_users_call_them(workshop: Opened, text: str, found: list[str]) -> None:
    made = workshop()
    made.install(preset("rollup", made.generation))
    with made.store() as store:
        assert [one.name for one in packages_named(store, text)] == found


def test_a_whole_name_means_that_version(workshop: Opened) -> None:
    made = workshop()
    older = made.install(preset("rollup", made.generation))
    newer = made.install(preset("rollup-v2", made.generation))
    with made.store() as store:
        assert [one.package_name for one in packages_named(store, older.upper())] == [older]
        assert [one.package_name for one in packages_named(store, "Package_for_RollupFix")] == [
            newer
        ]


def test_the_same_family_in_another_language_is_another_package(workshop: Opened) -> None:
    made = workshop()
    name = made.install(preset("languages", made.generation))
    identity = Identity.package(name)
    with made.store() as store:
        assert [one.name for one in packages_named(store, "KB5000005")] == [identity.name]
