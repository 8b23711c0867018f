"""Decisions of servicing: time, order, plan, words. No fixtures, no database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from offline.planning.kit import named, simple, snapshot
from wimsmith.errors import InvalidInput, InvalidState, NotOffered
from wimsmith.offline.backends.sentences import log_line
from wimsmith.offline.planning.exclusions import Exclusion
from wimsmith.offline.planning.snapshot import Snapshot
from wimsmith.offline.verdicts import NOT_SUPPORTED_LINE, Finding, Verdict
from wimsmith.servicing import preview, rules
from wimsmith.servicing.models import ScheduleState, Status
from wimsmith.servicing.preview import Candidate, IndexState
from wimsmith.servicing.rules import PlannedApply, PlannedSkip

NOW = datetime(2026, 12, 8, 20, 0, tzinfo=UTC)
HERE = timezone(timedelta(hours=1), "CET")

REFUSAL = Finding(Verdict.NOT_SUPPORTED, "psfx", "differentials")
DAMAGE = Finding(Verdict.FAILED, "untrusted:digest", "not what it was")


def candidate(
    number: int,
    name: str = "Package_for_X",
    version: str = "1.0.0.0",
    refused: Finding | None = None,
    doubt: str = "",
) -> Candidate:
    described = simple(name, version=version)
    if refused is REFUSAL:
        described = replace(described, findings=(refused,))
    return Candidate(number, described, refused, doubt)


def index(
    number: int = 1,
    state: Snapshot | None = None,
    *,
    known: bool = True,
    architecture: str = "amd64",
) -> IndexState:
    found = state or snapshot(architecture=architecture)
    return IndexState(number, found.image, found if known else None, "" if known else "it is old")


class TestWhen:
    def when(self, **asked: object) -> datetime | None:
        defaults = {"run_now": False, "run_at": None, "utc": False, "moment": NOW, "local": HERE}
        return rules.when(**(defaults | asked))  # type: ignore[arg-type]  # one test, many shapes

    def test_now_is_no_time(self) -> None:
        assert self.when(run_now=True) is None

    def test_a_time_without_zone_is_local(self) -> None:
        at = datetime(2026, 12, 8, 22, 0)  # noqa: DTZ001 - what users type

        assert self.when(run_at=at) == datetime(2026, 12, 8, 21, 0, tzinfo=UTC)

    def test_or_utc_if_said_so(self) -> None:
        at = datetime(2026, 12, 8, 22, 0)  # noqa: DTZ001 - what users type

        assert self.when(run_at=at, utc=True) == at.replace(tzinfo=UTC)

    def test_a_zone_in_the_time_counts(self) -> None:
        at = datetime(2026, 12, 8, 22, 0, tzinfo=timezone(timedelta(hours=-5)))

        assert self.when(run_at=at) == datetime(2026, 12, 9, 3, 0, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            ({}, "exactly one"),
            ({"run_now": True, "run_at": NOW + timedelta(hours=1)}, "exactly one"),
            ({"run_now": True, "utc": True}, "utc applies to run_at only"),
            (
                {"run_at": datetime(2026, 12, 9, 1, tzinfo=HERE), "utc": True},
                "another offset than utc",
            ),
        ],
    )
    def test_contradictions_are_refused(self, asked: dict[str, object], words: str) -> None:
        with pytest.raises(InvalidInput, match=words):
            self.when(**asked)

    def test_the_past_is_refused_with_the_time_of_the_server(self) -> None:
        past = datetime(2026, 12, 8, 20, 59)  # noqa: DTZ001 - what users type

        with pytest.raises(InvalidInput, match=r"it is 2026-12-08 21:00:00 CET on this server"):
            self.when(run_at=past)


class TestOptions:
    def refuse(self, **asked: object) -> None:
        defaults = {
            "remove_superseded": False,
            "update_points": False,
            "recurrence": None,
            "index_count": 1,
        }
        rules.refuse_options(**(defaults | asked))  # type: ignore[arg-type]  # as above

    def test_nothing_special_is_fine(self) -> None:
        self.refuse()

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("update_points", True),
            ("recurrence", {"day": "second Tuesday"}),
        ],
    )
    def test_what_is_not_there_is_refused_by_name(self, option: str, value: object) -> None:
        with pytest.raises(NotOffered, match=option.partition("_")[0]):
            self.refuse(**{option: value})

    def test_several_indexes_are_named_with_their_number(self) -> None:
        with pytest.raises(InvalidInput, match="this one has 3"):
            self.refuse(remove_superseded=True, index_count=3)


class TestPlan:
    def test_every_index_gets_every_update(self) -> None:
        planned = rules.plan([index(1), index(3)], [candidate(7)])

        assert planned == (PlannedApply(1, 7, 1), PlannedApply(3, 7, 1))

    def test_refused_updates_are_skipped_with_their_reason(self) -> None:
        planned = rules.plan([index()], [candidate(7, refused=REFUSAL)])

        assert planned == (PlannedSkip(1, 7, 1, (REFUSAL,)),)
        skip = planned[0]
        assert isinstance(skip, PlannedSkip)
        assert (skip.verdict, skip.code, skip.text) == (REFUSAL.verdict, "psfx", "differentials")

    def test_a_refused_update_for_another_machine_is_not_applicable(self) -> None:
        (skip,) = rules.plan([index(architecture="arm64")], [candidate(7, refused=REFUSAL)])

        assert isinstance(skip, PlannedSkip)
        assert [one.code for one in skip.findings] == ["arch", "psfx"]

    def test_what_can_be_opened_is_left_to_the_engine(self) -> None:
        """It sees the image itself, and what the updates before it have done to it."""
        old, new = candidate(1, version="1.0.0.0"), candidate(2, version="2.0.0.0")

        assert rules.plan([index(architecture="arm64")], [old, new]) == (
            PlannedApply(1, 2, 1),
            PlannedApply(1, 1, 2),
        )

    @pytest.mark.parametrize("known", [True, False])
    def test_excluded_updates_are_left_alone_also_on_an_index_that_nobody_knows(
        self, known: bool
    ) -> None:
        (skip,) = rules.plan([index(known=known)], [candidate(7)], [RULE])

        assert isinstance(skip, PlannedSkip)
        assert (skip.verdict, skip.code) == (Verdict.NOT_ATTEMPTED, "excluded")

    def test_without_a_snapshot_the_order_is_the_same(self) -> None:
        chosen = [candidate(1, "Package_for_DotNetRollup"), candidate(2, "Package_for_RollupFix")]

        assert rules.plan([index(known=False)], chosen) == (
            PlannedApply(1, 2, 1),
            PlannedApply(1, 1, 2),
        )


RULE = Exclusion(named("Package_for_X"), "it breaks", "2026-11-21")


APPLIED, FAILED, REFUSED = Verdict.APPLIED, Verdict.FAILED, Verdict.NOT_SUPPORTED


@pytest.mark.parametrize(
    ("outcomes", "status", "state"),
    [
        ([APPLIED], Status.SUCCESSFUL, ScheduleState.SUCCEEDED),
        ([APPLIED, Verdict.INSTALLED], Status.SUCCESSFUL, ScheduleState.SUCCEEDED),
        ([APPLIED, Verdict.NOT_APPLICABLE], Status.SUCCESSFUL, ScheduleState.SUCCEEDED),
        ([APPLIED, FAILED], Status.SUCCESSFUL_WITH_ERRORS, ScheduleState.SUCCEEDED),
        ([APPLIED, REFUSED], Status.SUCCESSFUL_WITH_ERRORS, ScheduleState.SUCCEEDED),
        (
            [APPLIED, Verdict.PREREQUISITE_MISSING],
            Status.SUCCESSFUL_WITH_ERRORS,
            ScheduleState.SUCCEEDED,
        ),
        ([REFUSED], Status.NOTHING_APPLIED, ScheduleState.SUCCEEDED),
        ([Verdict.INSTALLED], Status.NOTHING_APPLIED, ScheduleState.SUCCEEDED),
        ([FAILED], Status.NOTHING_APPLIED, ScheduleState.FAILED),
        ([], Status.NOTHING_APPLIED, ScheduleState.SUCCEEDED),
    ],
)
def test_words_of_a_run(outcomes: list[Verdict], status: Status, state: ScheduleState) -> None:
    assert rules.status_of(outcomes) is status
    assert rules.schedule_state(status, outcomes) is state


def test_a_schedule_moves_as_the_table_says() -> None:
    assert rules.move(ScheduleState.SCHEDULED, ScheduleState.RUNNING) is ScheduleState.RUNNING
    with pytest.raises(InvalidState, match="Succeeded cannot become Running"):
        rules.move(ScheduleState.SUCCEEDED, ScheduleState.RUNNING)


@pytest.mark.parametrize(
    ("state", "said"),
    [(0x70, ""), (0x80, ""), (0x50, "a higher version is in use"), (0x40, "is staged only")],
)
def test_what_must_be_said_of_a_package_that_is_not_installed(state: int, said: str) -> None:
    text = rules.reached("A~~1.0", state)
    assert said in text
    assert bool(text) == bool(said)


def test_the_line_that_administrators_search_for() -> None:
    assert log_line(REFUSED, "KB1", "because") == NOT_SUPPORTED_LINE
    assert NOT_SUPPORTED_LINE == "Not applying this update binary, it is not supported"


def test_room_grows_with_everything() -> None:
    base = rules.needed_bytes(1 << 30, [1 << 20], 1)

    assert base > (1 << 30) + (1 << 20)
    assert rules.needed_bytes(1 << 30, [1 << 20], 4) > base
    assert rules.needed_bytes(1 << 30, [1 << 20, 1 << 20], 1) > base


class TestPreview:
    def judge(self, update: Candidate, state: IndexState) -> tuple[str, int, str, str]:
        found = preview.judge(update, state, [])
        return found.likely, found.status, found.word, found.code

    def test_verdicts_come_in_the_order_of_the_table(self) -> None:
        refused, damaged = candidate(1, refused=REFUSAL), candidate(1, refused=DAMAGE)
        arm = index(architecture="arm64")

        assert self.judge(damaged, arm) == ("failed", 3, "Failed", "untrusted:digest")
        assert self.judge(refused, arm) == ("not-applicable", 1, "Not applicable", "arch")
        assert self.judge(refused, index()) == ("not-supported", 4, "Not supported", "psfx")

    @pytest.mark.parametrize(
        ("version", "likely"),
        [
            ("19041.500.1.0", "installed"),
            ("19041.499.1.0", "superseded"),
            ("19041.501.1.0", "applicable"),
        ],
    )
    def test_versions_are_compared_by_number(self, version: str, likely: str) -> None:
        state = index(state=snapshot({named("Rollup", "19041.500.1.0"): 0x70}))

        assert self.judge(candidate(1, "Rollup", version), state)[0] == likely

    def test_a_list_writes_no_lines_of_the_log_and_a_plan_does(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A list is made of every update of the site for every index, whenever somebody looks."""
        orphan = Candidate(1, simple("Package_for_X", named("Absent-Package")))
        with caplog.at_level("INFO", logger="wimsmith.offline"):
            preview.judge(orphan, index())
            assert caplog.messages == []
            list(preview.in_order(index(), [orphan]))
        assert any(line.startswith("Appl: detect Parent, Package:") for line in caplog.messages)

    def test_a_missing_parent_is_named(self) -> None:
        orphan = Candidate(1, simple("A", named("Absent")))

        found = preview.judge(orphan, index())

        assert found.word == f"Prerequisite missing: {named('Absent')}"
        assert [one.code for one in found.findings] == ["parent"]

    @pytest.mark.parametrize(
        ("update", "state"),
        [
            (candidate(1), index(known=False)),
            (candidate(1, doubt="it is old"), index()),
        ],
        ids=["index", "update"],
    )
    def test_what_cannot_be_told_is_no_promise(self, update: Candidate, state: IndexState) -> None:
        assert self.judge(update, state) == ("unknown", 4, "Cannot tell", "no-facts")
        assert preview.judge(update, state).text == "it is old"

    def test_a_refusal_is_known_without_any_snapshot(self) -> None:
        found = self.judge(candidate(1, refused=REFUSAL, doubt="it is old"), index(known=False))

        assert found == ("not-supported", 4, "Not supported", "psfx")

    def test_what_is_excluded_says_so_before_all_else(self) -> None:
        found = preview.judge(candidate(1, refused=DAMAGE), index(), [RULE])

        assert (found.likely, found.word, found.code) == ("not-attempted", "Excluded", "excluded")
        assert [one.code for one in found.findings] == ["excluded", "untrusted:digest"]

    def test_an_index_that_may_not_be_changed_says_so_with_every_update(self) -> None:
        pending = Finding(Verdict.NOT_SUPPORTED, "pending", "Windows has work to finish")
        state = index(state=replace(snapshot(), obstacles=(pending,)))

        assert self.judge(candidate(1), state)[3] == "pending"
