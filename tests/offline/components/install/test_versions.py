"""Versions of components and packages: who wins, who is replaced, who is not needed."""

from offline.components.install.story import (
    CBS,
    SMALL,
    WINNERS,
    Build,
    Expand,
    after,
    changes_of,
)
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.image import open_view
from wimsmith.offline.verdicts import Verdict


def test_a_newer_component_takes_the_place_of_the_older(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    wim = build(SMALL)
    before = open_view(wim, 1).find("Windows/System32/shell32.dll")
    view = after(wim, changes_of(apply(expanded("rollup"), open_view(wim, 1), options)))
    entry = view.find("Windows/System32/shell32.dll")
    assert entry
    assert before
    assert entry.inode.sha1 != before.inode.sha1
    assert entry.short_name == before.short_name
    old_store = [one.path for one in before.inode.entries if "WinSxS" in one.path]
    left = view.find(old_store[0])
    assert left
    assert (left.inode.sha1, len(left.inode.entries)) == (before.inode.sha1, 1)
    ubr = view.hive("SOFTWARE").value(r"Microsoft\Windows NT\CurrentVersion", "UBR")
    assert ubr
    assert ubr.dword() == 501


def test_winners_hold_all_versions_and_the_highest_wins(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    wim = build(SMALL)
    newer = changes_of(apply(expanded("rollup-v2"), open_view(wim, 1), options))
    software = after(wim, newer).hive("SOFTWARE")
    names = [key.name for key in software.key(WINNERS).subkeys()]  # type: ignore[union-attr]
    family = next(n for n in names if n.startswith("amd64_practice-windows-shell_"))
    branch = software.key(rf"{WINNERS}\{family}\10.0")
    assert branch
    assert {one.name for one in branch.values()} == {"", "10.0.19041.1", "10.0.19041.601"}
    assert branch.value("").text() == "10.0.19041.601"  # type: ignore[union-attr]


def test_an_older_update_after_a_newer_one_is_superseded(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    wim = build(SMALL)
    newer = changes_of(apply(expanded("rollup-v2"), open_view(wim, 1), options))
    outcome = apply(expanded("rollup"), after(wim, newer), options)
    assert (outcome.verdict, outcome.code) == (Verdict.SUPERSEDED, "superseded")


def test_a_newer_version_of_a_package_supersedes_the_older(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    wim = build(SMALL)
    first = changes_of(apply(expanded("rollup"), open_view(wim, 1), options))
    second = changes_of(apply(expanded("rollup-v2"), after(wim, first), options))
    software = after(wim, first, second).hive("SOFTWARE")
    states = {}
    for key in software.key(rf"{CBS}\Packages").subkeys():  # type: ignore[union-attr]
        state = key.value("CurrentState")
        if "RollupFix" in key.name and state:
            states[key.name.rpartition("~")[2]] = state.dword()
    assert states == {"19041.501.1.0": 0x50, "19041.601.1.0": 0x70}
    index = software.value(
        rf"{CBS}\PackageIndex\Package_for_RollupFix~31bf3856ad364e35~amd64~~0.0.0.0", ""
    )
    assert index
    assert index.text().endswith("~19041.601.1.0")
