"""What was written is read back before anyone relies on it."""

from pathlib import Path

import pytest

from offline.components.made import MemoryImage, draft_of
from wimsmith.errors import SelfCheckFailed
from wimsmith.offline.components.install.selfcheck import check_changes
from wimsmith.offline.components.store.draft import Draft


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    draft = draft_of(MemoryImage(), tmp_path / "spool")
    draft.put_bytes("Windows/WinSxS/x/a.dll", b"content")
    draft.link("Windows/System32/a.dll", "Windows/WinSxS/x/a.dll")
    draft.hive("SOFTWARE").set_value("Key", "Value", 4, b"\1\0\0\0")
    draft.hive("SOFTWARE").set_value("Key", "Value", 4, b"\2\0\0\0")
    return draft


def test_an_honest_draft_passes(draft: Draft) -> None:
    check_changes(draft, draft.changes)


def test_content_that_changed_since_is_found(draft: Draft) -> None:
    content = next(iter(draft.changes.content.values()))
    content.path.write_bytes(b"another")
    with pytest.raises(SelfCheckFailed, match=r"x/a\.dll"):
        check_changes(draft, draft.changes)


def test_content_that_is_gone_is_found(draft: Draft) -> None:
    next(iter(draft.changes.content.values())).path.unlink()
    with pytest.raises(SelfCheckFailed, match="cannot be read"):
        check_changes(draft, draft.changes)


def test_a_link_that_leads_elsewhere_is_found(draft: Draft) -> None:
    changes = draft.changes
    draft.put_bytes("Windows/System32/a.dll", b"other")
    with pytest.raises(SelfCheckFailed, match=r"the link Windows/System32/a\.dll"):
        check_changes(draft, changes)


def test_a_value_that_is_not_there_is_found(draft: Draft) -> None:
    changes = draft.changes
    draft.hive("SOFTWARE").delete_key("Key")
    with pytest.raises(SelfCheckFailed, match="the value 'Value'"):
        check_changes(draft, changes)
