"""Names that cannot be used are found, counted and shown, however many and deep they are."""

import time

import pytest

from offline.wim.test_metadata import image, packed
from wimsmith.offline.wim.format import lint
from wimsmith.offline.wim.format.lint import NameFault, NameFindings, shown_path
from wimsmith.offline.wim.format.metadata import parse_metadata
from wimsmith.offline.wim.format.tree import Attribute, Entry, Inode, Tree


def findings(tree: Tree) -> NameFindings:
    found = NameFindings()
    found.look_at(tree, 1)
    return found


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("..", NameFault.LEADS_ELSEWHERE),
        ("../../x", NameFault.LEADS_ELSEWHERE),
        ("a\\b", NameFault.LEADS_ELSEWHERE),
        ("nul\0inside", NameFault.LEADS_ELSEWHERE),
        ("", NameFault.LEADS_ELSEWHERE),
        ("ORDINARY", NameFault.TWIN),
        ("lpt1.log", NameFault.UNUSABLE),
        ("trailing.", NameFault.UNUSABLE),
        ("trailing ", NameFault.UNUSABLE),
        ("a:b", NameFault.UNUSABLE),
        ("n" * 256, NameFault.UNUSABLE),
    ],
)
def test_each_kind_of_name_is_told(name: str, fault: NameFault) -> None:
    found = findings(parse_metadata(image(packed("ordinary"), packed(name))))
    assert [(one.path, one.fault) for one in found.first] == [(name, fault)]


def test_usual_names_are_no_findings() -> None:
    names = ("a.b.c", "\u4e2d\u6587", "gr\u00fc\u00df", "\ud800", "n" * 255, "console", "$Recycle")
    assert findings(parse_metadata(image(*map(packed, names)))).count == 0


def test_a_long_path_is_told_where_it_begins() -> None:
    tree = Tree.new()
    entry = tree.root
    for _ in range(200):
        entry = child(entry, "n" * 200)
    found = findings(tree)
    assert [one.fault for one in found.first] == [NameFault.LONG_PATH]
    assert len(shown_path(entry)) == 200 * 201 - 1


def test_many_and_deep_findings_cost_little() -> None:
    tree = Tree.new()
    entry = tree.root
    for _ in range(5000):
        entry = child(entry, "n" * 250)
    for number in range(3000):
        child(entry, f"{number}.")
    started = time.process_time()
    found = findings(tree)
    assert (found.count, len(found.first)) == (3001, lint.MAX_LISTED)
    assert max(len(one.path) for one in found.first) <= 1000
    assert time.process_time() - started < 20, "measured 1 s"


def child(folder: Entry, name: str) -> Entry:
    entry = Entry(name, "", Inode(Attribute.DIRECTORY), folder, {})
    entry.inode.entries.append(entry)
    assert folder.children is not None
    folder.children[name.upper()] = entry
    return entry
