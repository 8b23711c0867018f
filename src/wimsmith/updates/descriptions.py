"""Descriptions of updates for planning, kept packed beside their rows."""

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from wimsmith.errors import UnreadableFacts
from wimsmith.offline.packages.facts import UpdateFacts
from wimsmith.offline.packages.package import ExpandedPackage
from wimsmith.offline.planning.description import FORMAT, UpdateDescription, describe
from wimsmith.offline.planning.snapshot import pack, unpack
from wimsmith.updates.models import UpdateDescriptionRow

_ROWS_AT_ONCE = 500

Kept = UpdateDescription | UnreadableFacts | None
"""A description, why it cannot be read, or None for a file that does not say what it is."""


def packed_description(facts: UpdateFacts, packages: Sequence[ExpandedPackage]) -> bytes:
    """The description of an imported file, packed; empty if it cannot be described."""
    found = describe(facts, packages)
    return pack(found.as_data()) if found else b""


def keep_description(session: Session, update_id: int, packed: bytes) -> None:
    """Keep the packed description of an update in place of an older one."""
    session.merge(UpdateDescriptionRow(update_id=update_id, format=FORMAT, data=packed))


def is_described(session: Session, update_id: int) -> bool:
    """Whether an update has a description that this program reads."""
    row = session.get(UpdateDescriptionRow, update_id)
    return row is not None and row.format == FORMAT


def descriptions(session: Session, update_ids: Collection[int]) -> dict[int, Kept]:
    """Descriptions by number of the update.

    Updates that an earlier program has imported are not in it.
    """
    found: dict[int, Kept] = {}
    wanted = sorted(update_ids)
    for begin in range(0, len(wanted), _ROWS_AT_ONCE):
        rows = session.execute(
            select(UpdateDescriptionRow.update_id, UpdateDescriptionRow.data).where(
                UpdateDescriptionRow.update_id.in_(wanted[begin : begin + _ROWS_AT_ONCE]),
                UpdateDescriptionRow.format == FORMAT,
            )
        )
        found |= {number: _opened(data) for number, data in rows}
    return found


def _opened(packed: bytes) -> Kept:
    try:
        return UpdateDescription.from_data(unpack(packed)) if packed else None
    except UnreadableFacts as error:
        return error
