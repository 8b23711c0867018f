"""The order of a run: total, stable, and what an update needs comes before it."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.planning.kit import FOUNDATION, image, manifest, named, simple, update
from wimsmith.offline.manifests.identity import parse_package_name
from wimsmith.offline.manifests.package import Compare, Parent
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.kinds import UpdateKind
from wimsmith.offline.planning.order import Chosen, Order, order
from wimsmith.offline.planning.parents import matches


def ordered(*updates: UpdateDescription) -> list[str]:
    found = order(image(), [Chosen(place, one) for place, one in enumerate(updates)])
    return [one.description.identity.name for one in found.updates]


def test_kinds_have_their_places() -> None:
    chosen = [
        simple("Package_for_KB5"),
        simple("Package_for_DotNetRollup_481"),
        simple("Package_for_RollupFix"),
        update(manifest(named("OpenSSH-Client-Package"), release_type="OnDemand Pack")),
        simple("Microsoft-Windows-Client-LanguagePack-Package"),
        simple("Package_for_ServicingStack_3745"),
    ]

    assert ordered(*chosen) == [
        "Package_for_ServicingStack_3745",
        "Microsoft-Windows-Client-LanguagePack-Package",
        "OpenSSH-Client-Package",
        "Package_for_RollupFix",
        "Package_for_DotNetRollup_481",
        "Package_for_KB5",
    ]


@pytest.mark.parametrize(
    ("name", "release_type", "kind"),
    [
        ("Package_for_ServicingStack_3745", "Update", UpdateKind.SERVICING_STACK),
        ("Microsoft-Windows-Client-Language-Pack_x64_de-de", "", UpdateKind.LANGUAGE),
        ("Package_for_SafeOSDU", "Update", UpdateKind.SAFE_OS),
        ("Package_for_RollupFix", "Security Update", UpdateKind.CUMULATIVE),
        ("Package_for_DotNetRollup", "Update", UpdateKind.DOTNET),
        ("Microsoft-Windows-NetFx3-OnDemand-Package", "OnDemand Pack", UpdateKind.FEATURE),
        ("Package_for_KB2999226", "Update", UpdateKind.OTHER),
    ],
)
def test_names_of_kinds(name: str, release_type: str, kind: UpdateKind) -> None:
    assert update(manifest(named(name), release_type=release_type)).kind is kind


def test_the_newer_of_one_name_goes_first() -> None:
    old, new = simple("A", version="9.0.0.0"), simple("A", version="10.0.0.0")

    found = order(image(), [Chosen(1, old), Chosen(2, new)])

    assert [one.key for one in found.updates] == [2, 1]


def test_what_an_update_needs_is_as_urgent_as_the_update() -> None:
    """A .NET update waits for the cumulative one, even if that waits for something of no kind."""
    needed = simple("Package_for_KB7")
    cumulative = simple("Package_for_RollupFix", named("Package_for_KB7"))

    assert ordered(simple("Package_for_DotNetRollup"), cumulative, needed) == [
        "Package_for_KB7",
        "Package_for_RollupFix",
        "Package_for_DotNetRollup",
    ]


def test_a_package_inside_another_update_is_a_parent_as_well() -> None:
    inner = manifest(named("Inner"))
    carrier = update(manifest(named("Zulu")), inner)

    assert ordered(simple("Alpha", named("Inner")), carrier) == ["Zulu", "Alpha"]


def test_versions_of_parents_are_compared_as_the_parent_asks() -> None:
    wanted = parse_package_name(named("Parent", "1.0.5.0"))
    exact = Parent((wanted,), build_compare=Compare.EQUAL)
    for parent, expected in (
        (Parent((wanted,)), ["Parent", "Child"]),
        (exact, ["Child", "Parent"]),
    ):
        child = update(replace(manifest(named("Child")), parents=(parent,)))
        assert ordered(child, simple("Parent", version="1.0.6.0")) == expected


def test_checkpoints_go_up_step_by_step() -> None:
    steps = [
        ("10.0.26100.1742", "10.0.26100.3476"),
        ("10.0.26100.3476", "10.0.26100.4061"),
        ("10.0.26100.1", "10.0.26100.1742"),
    ]
    chosen = [
        update(manifest(named("Package_for_RollupFix", f"26100.{step[1][-4:]}.1.0")), step=step)
        for step in steps
    ]

    found = order(image(), [Chosen(place, one) for place, one in enumerate(chosen)])

    assert [one.key for one in found.updates] == [2, 0, 1]


def test_of_two_that_need_the_same_checkpoint_the_newer_goes_first() -> None:
    checkpoint, older, newer = (
        update(manifest(named("Package_for_RollupFix", version)), step=step)
        for version, step in (
            ("26100.1742.1.0", ("10.0.26100.1", "10.0.26100.1742")),
            ("26100.3000.1.0", ("10.0.26100.1742", "10.0.26100.3000")),
            ("26100.4000.1.0", ("10.0.26100.1742", "10.0.26100.4000")),
        )
    )

    found = order(image(), [Chosen(1, older), Chosen(2, newer), Chosen(3, checkpoint)])

    assert [one.key for one in found.updates] == [3, 2, 1]


def test_a_circle_is_named_and_hangs_nobody() -> None:
    chosen = [
        simple("A", named("B")),
        simple("B", named("C")),
        simple("C", named("A")),
        simple("After", named("B")),
    ]

    found = order(image(), [Chosen(place, one) for place, one in enumerate(chosen)])

    assert found.circles == ((0, 1, 2),)
    assert [one.key for one in found.updates] == [0, 1, 2, 3]


def test_an_update_that_names_itself_is_no_circle() -> None:
    found = order(image(), [Chosen(1, simple("A", named("A")))])

    assert (len(found.updates), found.circles) == (1, ())


NAMES = st.sampled_from(
    ["A", "B", "C", "D", "Package_for_RollupFix", "Package_for_DotNetRollup", "ServicingStack"]
)
VERSIONS = st.sampled_from(["1.0.0.0", "1.0.1.0", "1.0.2.7"])


@st.composite
def catalogues(draw: st.DrawFn) -> list[Chosen]:
    """Updates that build on each other at will, also in circles."""
    count = draw(st.integers(0, 14))
    found = []
    for key in range(count):
        wanted = draw(st.lists(st.tuples(NAMES, VERSIONS), max_size=3))
        parents = tuple(named(name, version) for name, version in wanted) or (FOUNDATION,)
        step = draw(
            st.none()
            | st.sampled_from([("10.0.19041.1", "10.0.19041.5"), ("10.0.19041.5", "10.0.19041.9")])
        )
        top = manifest(named(draw(NAMES), draw(VERSIONS)), parents)
        found.append(Chosen(key, update(top, step=step)))
    return found


def needs(one: Chosen, other: Chosen) -> bool:
    """Whether an update names what another brings as a parent: pairwise, with no index."""
    brought = other.description.identity
    return one.key != other.key and any(
        wanted.family == brought.family
        and matches(image(), parent, wanted.version, brought.version)
        for parent in one.description.top.parents
        for wanted in parent.identities
    )


@given(catalogues(), st.randoms())
def test_the_order_is_total_and_does_not_depend_on_where_it_began(
    chosen: list[Chosen], random: object
) -> None:
    found = order(image(), chosen)
    shuffled = list(chosen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a Random

    assert sorted(one.key for one in found.updates) == [one.key for one in chosen]
    assert order(image(), shuffled) == found
    assert order(image(), found.updates) == found


@given(catalogues())
def test_nothing_comes_before_what_it_needs_except_in_a_circle(chosen: list[Chosen]) -> None:
    found = order(image(), chosen)
    places = {one.key: place for place, one in enumerate(found.updates)}
    circle_of = {key: circle for circle in found.circles for key in circle}

    for one in chosen:
        for other in chosen:
            together = circle_of.get(one.key, one) is circle_of.get(other.key, other)
            if needs(one, other) and not together:
                assert places[other.key] < places[one.key]


@given(catalogues())
def test_without_needs_the_kinds_decide(chosen: list[Chosen]) -> None:
    free = [
        replace(one, description=update(replace(one.description.top, parents=()))) for one in chosen
    ]

    found: Order = order(image(), free)

    kinds = list(UpdateKind)
    places = [kinds.index(one.description.kind) for one in found.updates]
    assert all(first <= second for first, second in pairwise(places))
