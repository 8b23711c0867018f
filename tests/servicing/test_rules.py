"""Decisions of servicing: time, order, plan, words. No fixtures, no database."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.errors import InvalidInput, InvalidState, NotOffered
from wimsmith.offline.verdicts import NOT_SUPPORTED_LINE, Verdict
from wimsmith.servicing import preview, rules
from wimsmith.servicing.models import ScheduleState, Status
from wimsmith.servicing.rules import Candidate, PlannedApply, PlannedSkip

NOW = datetime(2026, 12, 8, 20, 0, tzinfo=UTC)
HERE = timezone(timedelta(hours=1), "CET")


def candidate(
    number: int,
    name: str = "Package_for_X",
    version: str = "1.0.0.0",
    parents: tuple[tuple[str, ...], ...] = (),
    refused: Verdict | None = None,
) -> Candidate:
    identity = f"{name}~token~amd64~~{version}"
    return Candidate(number, identity, "Update", parents, refused, "psfx" if refused else "", "why")


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
            ("remove_superseded", True),
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
        planned = rules.plan([1, 3], [candidate(7)])

        assert planned == (PlannedApply(1, 7, 1), PlannedApply(3, 7, 1))

    def test_refused_updates_are_skipped_with_their_reason(self) -> None:
        planned = rules.plan([1], [candidate(7, refused=Verdict.NOT_SUPPORTED)])

        assert planned == (PlannedSkip(1, 7, 1, Verdict.NOT_SUPPORTED, "psfx", "why"),)

    def test_parents_go_before_what_needs_them(self) -> None:
        parent = candidate(1, "Zulu")
        child = candidate(2, "Alpha", parents=(("Other~~~~1", parent.identity.upper()),))

        assert [one.update_id for one in rules.order([child, parent])] == [1, 2]

    def test_a_servicing_stack_goes_first_and_net_last(self) -> None:
        chosen = [
            candidate(1, "Package_for_DotNetRollup"),
            candidate(2, "Package_for_RollupFix"),
            candidate(3, "Package_for_ServicingStack"),
        ]

        assert [one.update_id for one in rules.order(chosen)] == [3, 2, 1]

    def test_the_newer_of_one_name_goes_first(self) -> None:
        chosen = [candidate(1, version="10.0.9.1"), candidate(2, version="10.0.10.1")]

        assert [one.update_id for one in rules.order(chosen)] == [2, 1]

    @given(
        st.permutations(list(range(6))), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    )
    def test_the_order_holds_everything_once_whatever_the_parents(
        self, numbers: list[int], edges: list[tuple[int, int]]
    ) -> None:
        """Also for parents in a circle, which real packages cannot have and files can claim."""
        names = {number: f"P{number}~token~amd64~~1.0.0.0" for number in numbers}
        chosen = [
            candidate(
                number,
                f"P{number}",
                parents=tuple((names[b],) for a, b in edges if a == number and b != number),
            )
            for number in numbers
        ]

        ordered = [one.update_id for one in rules.order(chosen)]

        assert sorted(ordered) == list(range(6))
        assert ordered == [one.update_id for one in rules.order(list(reversed(chosen)))]


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
    assert rules.log_line(REFUSED, "KB1", "because") == NOT_SUPPORTED_LINE
    assert NOT_SUPPORTED_LINE == "Not applying this update binary, it is not supported"


def test_room_grows_with_everything() -> None:
    base = rules.needed_bytes(1 << 30, [1 << 20], 1)

    assert base > (1 << 30) + (1 << 20)
    assert rules.needed_bytes(1 << 30, [1 << 20], 4) > base
    assert rules.needed_bytes(1 << 30, [1 << 20, 1 << 20], 1) > base


INSTALLED = (
    ("Base~token~amd64~~10.0.19041.1", 0x70),
    ("Rollup~token~amd64~~19041.500.1.0", 0x70),
    ("Staged~token~amd64~~1.0.0.0", 0x40),
)


class TestPreview:
    def judge(self, update: Candidate, architecture: str = "amd64") -> tuple[str, str]:
        state = preview.IndexState.of(1, architecture, INSTALLED)
        found = preview.judge(update, state)
        return found.likely, found.code

    def test_verdicts_come_in_the_order_of_the_table(self) -> None:
        refused = candidate(1, refused=Verdict.NOT_SUPPORTED)
        damaged = candidate(1, refused=Verdict.FAILED)

        assert self.judge(damaged, "arm64") == ("failed", "psfx")
        assert self.judge(refused, "arm64") == ("not-applicable", "arch")
        assert self.judge(refused) == ("not-supported", "psfx")

    @pytest.mark.parametrize(
        ("version", "likely"),
        [
            ("19041.500.1.0", "installed"),
            ("19041.499.1.0", "superseded"),
            ("19041.501.1.0", "applicable"),
        ],
    )
    def test_versions_are_compared_by_number(self, version: str, likely: str) -> None:
        assert self.judge(candidate(1, "Rollup", version))[0] == likely

    def test_a_staged_package_is_not_installed(self) -> None:
        assert self.judge(candidate(1, "Staged"))[0] == "applicable"

    @pytest.mark.parametrize(
        ("parent", "expected"),
        [
            ("base~TOKEN~amd64~~10.0.19041.1", ("applicable", "")),
            ("Base~token~amd64~~10.0.19041.900", ("applicable", "")),
            ("Base~token~amd64~~10.0.22621.1", ("not-applicable", "build")),
            ("Absent~token~amd64~~10.0.19041.1", ("prerequisite-missing", "parent")),
        ],
    )
    def test_parents(self, parent: str, expected: tuple[str, str]) -> None:
        assert self.judge(candidate(1, parents=((parent,),))) == expected

    def test_one_of_several_parents_is_enough(self) -> None:
        group = ("Absent~token~amd64~~1.0.0.0", "Base~token~amd64~~10.0.19041.1")

        assert self.judge(candidate(1, parents=(group,)))[0] == "applicable"
