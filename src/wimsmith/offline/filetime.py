"""FILETIME, the clock of Windows files: 100 ns since 1601-01-01 UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


def from_datetime(moment: datetime) -> int:
    """A moment as FILETIME."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 10


def to_datetime(filetime: int) -> datetime | None:
    """The moment that a FILETIME means; None for 0 and for what no calendar holds."""
    if filetime <= 0:
        return None
    try:
        return _EPOCH + timedelta(microseconds=filetime // 10)
    except OverflowError:
        return None
