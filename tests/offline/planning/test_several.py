"""A file with several packages in a plan: one update, each part after those before it."""

from dataclasses import replace

import pytest

from offline.planning.kit import (
    FOUNDATION,
    INSTALLED,
    component,
    manifest,
    named,
    simple,
    snapshot,
    update,
)
from wimsmith.errors import UnreadableFacts
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.exclusions import Exclusion
from wimsmith.offline.planning.kinds import UpdateKind
from wimsmith.offline.planning.order import Chosen, order
from wimsmith.offline.planning.parts import PartResult, against, remarks
from wimsmith.offline.planning.plan import Ahead, judge, plan
from wimsmith.offline.planning.snapshot import pack, unpack
from wimsmith.offline.verdicts import Finding, Verdict

STACK = "Package_for_ServicingStack_3000"


def several(*parts: UpdateDescription, article: str = "") -> UpdateDescription:
    numbered = [replace(one, name=f"{place}.cab") for place, one in enumerate(parts, 1)]
    return UpdateDescription.of_parts(numbered, article)


def finding(verdict: Verdict, code: str = "code", text: str = "text") -> Finding:
    return Finding(verdict, code, text)


def test_a_part_counts_on_those_before_it_and_not_on_those_after_it() -> None:
    child, parent = simple("Alpha", named("Zulu")), simple("Zulu")

    assert judge(snapshot(), several(parent, child)).verdict is None
    found = judge(snapshot(), several(child, parent)).decisive
    assert found
    assert (found.verdict, found.code) == (Verdict.PREREQUISITE_MISSING, "parent")
    assert found.text.startswith("1.cab: ")


def test_another_update_counts_on_all_parts_and_comes_after_them() -> None:
    file = several(simple("Yankee"), simple("Zulu"))
    child = simple("Alpha", named("Zulu"))

    steps = plan(snapshot(), [Chosen(1, child), Chosen(2, file)]).steps

    assert [(one.key, one.judgement.verdict) for one in steps] == [(2, None), (1, None)]


def test_what_a_refused_file_would_have_brought_is_not_counted_on() -> None:
    refused = replace(simple("Yankee"), findings=(finding(Verdict.NOT_SUPPORTED, "psfx"),))
    file = several(simple("Zulu"), refused)
    child = simple("Alpha", named("Zulu"))

    steps = plan(snapshot(), [Chosen(1, child), Chosen(2, file)]).steps

    codes = [one.judgement.decisive.code for one in steps if one.judgement.decisive]
    assert codes == ["psfx", "parent"]
    assert len(steps[0].judgement.parts) == 2


def test_the_file_waits_for_what_any_of_its_parts_needs() -> None:
    file = several(simple("Alpha"), simple("Bravo", named("Zulu")))
    provider = simple("Zulu")

    found = order(snapshot().image, [Chosen(1, file), Chosen(2, provider)]).updates

    assert [one.key for one in found] == [2, 1]


def test_a_stack_beside_a_cumulative_update_makes_it_no_update_of_the_stack() -> None:
    stack, rollup = simple(STACK), simple("Package_for_RollupFix")
    assert several(stack, rollup).kind is UpdateKind.CUMULATIVE
    assert several(rollup, stack).kind is UpdateKind.CUMULATIVE
    assert several(stack, simple(f"{STACK}1")).kind is UpdateKind.SERVICING_STACK


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ("10.0.19041.3744", None),
        ("10.0.19041.3745", None),
        ("10.0.19041.3746", Verdict.NOT_SUPPORTED),
    ],
)
def test_only_a_newer_servicing_stack_stops_the_file(version: str, verdict: Verdict | None) -> None:
    stack = component("Microsoft-Windows-ServicingStack", version)
    present = component("Microsoft-Windows-ServicingStack", "10.0.19041.3745")
    state = snapshot({FOUNDATION: INSTALLED}, present)
    part = update(manifest(named("Package_for_KB1")), installs=[stack])

    assert judge(state, several(part, simple("Zulu"))).verdict is verdict


def test_what_is_in_the_way_of_an_image_or_excluded_is_told_once() -> None:
    file = several(simple("Alpha"), simple("Zulu"), article="KB5000001")
    gate = finding(Verdict.NOT_SUPPORTED, "pending")
    ruled_out = Exclusion(named("Zulu").rpartition("~")[0], "breaks", "2026-11-21")

    found = judge(snapshot(), file, exclusions=[ruled_out], obstacles=[gate])

    assert [one.code for one in found.findings] == ["excluded", "pending"]


def test_an_image_without_the_parts_takes_them_all_ahead() -> None:
    file = several(simple("Alpha"), simple("Zulu"))
    ahead = Ahead(snapshot())
    ahead.take(file, judge(ahead, file))
    for part in file.parts:
        assert ahead.package_state(part.identity) == INSTALLED
    again = judge(ahead, file)
    assert [one.verdict for one in again.findings] == [Verdict.INSTALLED] * 2


def test_a_description_of_parts_is_kept_and_read_again() -> None:
    file = several(simple("Alpha"), simple("Zulu", named("Alpha")), article="KB5000001")
    read = UpdateDescription.from_data(unpack(pack(file.as_data())))
    assert read == file
    with pytest.raises(UnreadableFacts):
        UpdateDescription.from_data({**file.as_data(), "parts": []})


def test_the_first_part_that_stops_decides_and_without_one_the_most_telling() -> None:
    def result(name: str, verdict: Verdict) -> PartResult:
        return PartResult(name, verdict, (finding(verdict),))

    applied = PartResult("a", Verdict.APPLIED)
    other = result("o", Verdict.NOT_APPLICABLE)
    there, beyond = result("i", Verdict.INSTALLED), result("s", Verdict.SUPERSEDED)
    missing = result("p", Verdict.PREREQUISITE_MISSING)

    assert against([other, applied]) == ()
    assert [one.text for one in remarks([other, applied])] == ["o: text"]
    assert [one.text[0] for one in against([other, applied, missing])] == ["p", "o"]
    assert [one.text[0] for one in against([other, beyond, there])] == ["i", "o", "s"]
    assert [one.text[0] for one in against([other, beyond])] == ["s", "o"]
    assert [one.text[0] for one in against([other])] == ["o"]
