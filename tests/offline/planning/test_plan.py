"""The plan of a run: each update counts on what those before it bring."""

from hypothesis import given
from hypothesis import strategies as st

from offline.planning.kit import (
    FOUNDATION,
    INSTALLED,
    STAGED,
    SUPERSEDED,
    component,
    manifest,
    named,
    simple,
    snapshot,
    update,
)
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version, parse_package_name
from wimsmith.offline.manifests.package import Applicable, DetectUpdate, Update, UpdateComponent
from wimsmith.offline.planning.applicability import UpdatePlan
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.exclusions import Exclusion
from wimsmith.offline.planning.order import Chosen
from wimsmith.offline.planning.plan import Ahead, RunPlan, judge, plan
from wimsmith.offline.planning.snapshot import Snapshot
from wimsmith.offline.verdicts import Finding, Verdict


def planned(state: Snapshot, *updates: UpdateDescription, **more: object) -> RunPlan:
    chosen = [Chosen(place, one) for place, one in enumerate(updates)]
    return plan(state, chosen, **more)  # type: ignore[arg-type]  # passed through


def words(found: RunPlan) -> list[tuple[int, str]]:
    return [
        (step.key, step.judgement.decisive.code if step.judgement.decisive else "applies")
        for step in found.steps
    ]


def test_a_parent_that_another_update_of_the_run_brings_will_do() -> None:
    child, parent = simple("Alpha", named("Zulu")), simple("Zulu")

    assert words(planned(snapshot(), child)) == [(0, "parent")]
    assert words(planned(snapshot(), child, parent)) == [(1, "applies"), (0, "applies")]


def test_a_parent_that_is_itself_not_applied_will_not() -> None:
    child, parent = simple("Alpha", named("Zulu")), simple("Zulu", named("Absent"))

    found = planned(snapshot(), child, parent)

    assert words(found) == [(1, "parent"), (0, "parent")]
    assert found.applied == ()


def test_of_two_versions_only_the_newer_is_required() -> None:
    old, new = simple("A", version="1.0.0.0"), simple("A", version="2.0.0.0")

    assert words(planned(snapshot(), old, new)) == [(1, "applies"), (0, "superseded")]


def test_a_feature_that_an_update_brings_is_followed_by_the_next() -> None:
    feature = Update("Feature", components=(component("F", "1.0.0.0"),))
    carrier = update(manifest(named("Zulu"), (FOUNDATION,), feature))
    asks = Applicable("", (), (DetectUpdate("Feature", in_parent=True),))
    one = Update("one", components=(component("D", "1.0.0.0"),), applicable=asks)
    follower = update(manifest(named("Alpha"), (named("Zulu"), FOUNDATION), one))

    alone, both = planned(snapshot(), follower), planned(snapshot(), follower, carrier)

    assert [plan.state for plan in updates_of(alone)] == [STAGED]
    assert [plan.state for plan in updates_of(both)] == [INSTALLED]


def updates_of(found: RunPlan) -> tuple[UpdatePlan, ...]:
    """Updates of the package that was planned last."""
    return found.steps[-1].judgement.plan.packages[0].updates


def test_a_revision_of_a_component_that_the_run_brings_counts() -> None:
    """The LDR version of a family is installed where its LDR branch is there already."""
    first = update(
        manifest(named("First", "6.1.1.0"), (WINDOWS_7,)),
        installs=(family("6.1.7601.22000"),),
    )
    ldr = Applicable("staged", (UpdateComponent("revision", (family("6.1.7601.23140"),)),))
    second = update(
        manifest(
            named("Second", "6.1.1.0"),
            (WINDOWS_7,),
            Update("LDR", components=(component("D", "6.1.7601.23140"),), applicable=ldr),
        )
    )
    ahead = Ahead(seven())

    assert judge(ahead, second).plan.packages[0].updates[0].state == STAGED
    ahead.take(first, judge(ahead, first))
    assert judge(ahead, second).plan.packages[0].updates[0].state == INSTALLED


WINDOWS_7 = named("Microsoft-Windows-Foundation-Package", "6.1.7601.17514")


def family(version: str) -> AssemblyIdentity:
    return component("Practice-Family", version)


def seven() -> Snapshot:
    return snapshot(
        {WINDOWS_7: INSTALLED}, major=6, minor=1, build=7601, base_build=7601, revision=17514
    )


def test_a_chain_of_checkpoints_in_one_run() -> None:
    checkpoint = lcu("19041.3900.1.0", "10.0.19041.1", "10.0.19041.3900")
    latest = lcu("19041.4000.1.0", "10.0.19041.3900", "10.0.19041.4000")

    assert words(planned(snapshot(), latest)) == [(0, "checkpoint-missing")]
    assert words(planned(snapshot(), latest, checkpoint)) == [(1, "applies"), (0, "applies")]


def test_a_checkpoint_that_this_engine_cannot_apply_is_in_the_run_nevertheless() -> None:
    """Who applies it elsewhere must not read that it is missing."""
    refused = (Finding(Verdict.NOT_SUPPORTED, "container-wim", "a WIM"),)
    checkpoint = lcu("19041.3900.1.0", "10.0.19041.1", "10.0.19041.3900", refused)
    latest = lcu("19041.4000.1.0", "10.0.19041.3900", "10.0.19041.4000", refused)

    found = planned(snapshot(), latest, checkpoint)

    assert [step.judgement.findings for step in found.steps] == [refused, refused]


def test_checkpoints_at_or_below_the_image_are_skipped() -> None:
    below = lcu("19041.3803.1.0", "10.0.19041.1", "10.0.19041.3803")
    latest = lcu("19041.4000.1.0", "10.0.19041.3803", "10.0.19041.4000")

    assert words(planned(snapshot(), below, latest)) == [(0, "superseded"), (1, "applies")]


def lcu(
    version: str, needs: str, leads_to: str, findings: tuple[Finding, ...] = ()
) -> UpdateDescription:
    top = manifest(named("Package_for_RollupFix", version))
    return update(top, step=(needs, leads_to), findings=findings)


def test_updates_in_a_circle_are_told_of_each_other() -> None:
    found = planned(snapshot(), simple("A", named("B")), simple("B", named("A")))

    assert words(found) == [(0, "parent"), (1, "parent")]
    assert found.circles == ((0, 1),)
    assert [step.judgement.findings[-1].code for step in found.steps] == ["circle", "circle"]
    assert named("B") in found.steps[0].judgement.findings[-1].text


def test_a_circle_whose_parents_the_image_has_is_none_of_its_business() -> None:
    state = snapshot({named("B", "1.0.0.9"): STAGED, named("A", "1.0.0.9"): STAGED})

    found = planned(state, simple("A", named("B")), simple("B", named("A")))

    assert [step.judgement.verdict for step in found.steps] == [None, None]


def test_what_is_excluded_is_not_counted_on() -> None:
    child, parent = simple("Alpha", named("Zulu")), simple("Zulu")
    rule = Exclusion(named("Zulu"), "not here", "2026-11-21")

    assert words(planned(snapshot(), child, parent, exclusions=(rule,))) == [
        (1, "excluded"),
        (0, "parent"),
    ]


def test_a_payload_that_does_not_apply_is_no_failure() -> None:
    other = simple("Package_for_KB2", FOUNDATION.replace("19041", "22621"))

    found = planned(snapshot(), simple("Package_for_KB1"), other)

    verdicts = [step.judgement.verdict for step in found.steps]
    assert verdicts == [None, Verdict.NOT_APPLICABLE]


def test_looking_ahead_changes_nothing_that_is() -> None:
    state = snapshot({named("A", "0.9.0.0"): INSTALLED})
    ahead = Ahead(state)
    ahead.take(simple("A"), judge(ahead, simple("A")))

    old, new = (parse_package_name(named("A", one)) for one in ("0.9.0.0", "1.0.0.0"))
    assert (ahead.package_state(old), ahead.package_state(new)) == (SUPERSEDED, INSTALLED)
    assert (state.package_state(old), state.package_state(new)) == (INSTALLED, 0)
    assert ahead.servicing_stack() == Version(10, 0, 19041, 3745)


@given(st.permutations(range(6)))
def test_the_plan_does_not_depend_on_the_order_of_choosing(places: list[int]) -> None:
    updates = [
        simple("A", named("B")),
        simple("B"),
        simple("C", named("Absent")),
        simple("Package_for_RollupFix"),
        simple("Package_for_RollupFix", version="2.0.0.0"),
        simple("Package_for_DotNetRollup"),
    ]

    found = plan(snapshot(), [Chosen(place, updates[place]) for place in places])

    assert words(found) == [
        (4, "applies"),
        (3, "superseded"),
        (5, "applies"),
        (1, "applies"),
        (0, "applies"),
        (2, "parent"),
    ]
