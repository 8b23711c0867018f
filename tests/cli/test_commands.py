"""Decisions that commands take themselves."""

from typing import Any

import pytest

from wimsmith.cli.service import judge
from wimsmith.cli.settings import parse_value
from wimsmith.errors import NothingApplied, PartlyApplied


def run_with(*outcomes: str) -> dict[str, Any]:
    results = [
        {"index": 1, "article": "KB5000001", "outcome": outcome, "word": outcome, "code": "psfx"}
        for outcome in outcomes
    ]
    return {"status": "status", "results": results, "actions": []}


@pytest.mark.parametrize(
    "outcomes",
    [
        ("applied", "applied"),
        ("installed", "not-applicable", "superseded"),
        ("applied", "installed"),
    ],
)
def test_a_run_after_which_nothing_is_wanting_ends_well(outcomes: tuple[str, ...]) -> None:
    judge(run_with(*outcomes))


@pytest.mark.parametrize(
    "outcome", ["failed", "not-supported", "prerequisite-missing", "not-attempted"]
)
def test_an_update_left_out_is_never_success(outcome: str) -> None:
    with pytest.raises(NothingApplied, match=r"index 1, KB5000001: .* \(psfx\)"):
        judge(run_with(outcome, "installed"))
    with pytest.raises(PartlyApplied):
        judge(run_with("applied", outcome))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", True),
        ("OFF", False),
        ("WIM", "WIM"),
        ("/srv/fast", "/srv/fast"),
        ("", ""),
        ('{"a": "b"}', {"a": "b"}),
        ('["x"]', ["x"]),
    ],
)
def test_values_of_settings_mean_what_people_write(text: str, value: object) -> None:
    assert parse_value(text) == value
