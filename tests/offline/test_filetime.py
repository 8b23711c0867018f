from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith.offline.filetime import from_datetime, to_datetime


def test_a_published_example() -> None:
    moment = datetime(2010, 3, 4, 14, 50, 16, tzinfo=UTC)
    assert from_datetime(moment) == 129_121_878_160_000_000
    assert to_datetime(129_121_878_160_000_000) == moment


def test_the_zone_of_a_moment_does_not_matter() -> None:
    here = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert from_datetime(here) == from_datetime(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("filetime", [0, -1, 2**63 - 1])
def test_what_no_calendar_holds_is_no_moment(filetime: int) -> None:
    assert to_datetime(filetime) is None


@given(st.datetimes(min_value=datetime(1700, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_moments_come_back(moment: datetime) -> None:
    assert to_datetime(from_datetime(moment)) == moment
