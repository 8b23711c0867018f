"""Clean-up on every generation, against what the oracle reads out of the committed files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offline.components.cleanup.story import CBS, NOW, clean, cleaned
from oracle.cleanup import (
    CleanupWant,
    expected_cleanup,
    newest_left,
    read_permanent,
    remains,
)
from oracle.expect import COMPONENTS
from oracle.observe import HIVE_PATHS, observe
from oracle.state import ImageState, Value
from oracle.states import WINNERS
from wimsmith.offline.commit import commit
from wimsmith.offline.components.cleanup.report import CleanupReport, Fate, Kind
from wimsmith.offline.components.gate.calibration import calibrate
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.image import open_view
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.practice.spec import FLAGS_A, FLAGS_B, Generation, StoreFlags


@pytest.mark.parametrize("generation", list(Generation))
@pytest.mark.parametrize(("flags", "reset_base"), [(FLAGS_A, False), (FLAGS_B, True)])
def test_the_result_is_what_the_oracle_expects(
    story: Any,
    codec: WorkerCodec,
    tmp_path: Path,
    generation: Generation,
    flags: StoreFlags,
    *,
    reset_base: bool,
) -> None:
    base, target = story(generation, flags), tmp_path / "cleaned.wim"
    before = observe(base, 1)
    want = expected_cleanup(before, read_permanent(base, 1), reset_base=reset_base)
    with open_wim(base, codec) as wim:
        outcome = clean(open_view(wim, 1), tmp_path, reset_base=reset_base)
        assert outcome.changes
        assert outcome.report
        assert judged(outcome.report) == want
        commit(wim, {1: [outcome.changes]}, target, codec=codec, modified=NOW)
    after = observe(target, 1)
    assert differences(before, after, want) == []
    flags_after = {
        key: after.value("COMPONENTS", rf"{COMPONENTS}\{key}", "CF") for key in want.emptied
    }
    assert all(value and value.number & 0x40 for value in flags_after.values())
    assert (after.value("SOFTWARE", CBS, "LastResetBase_UTC") is not None) == reset_base


def test_a_store_after_clean_up_can_be_serviced_again(
    story: Any, codec: WorkerCodec, tmp_path: Path
) -> None:
    """Every rule of the gate reproduces what is left."""
    with open_wim(story(), codec) as wim:
        view, _ = cleaned(wim, tmp_path, reset_base=True)
        report = calibrate(Store(Draft(view, tmp_path, NOW)))
    assert report.findings == ()


def judged(report: CleanupReport) -> CleanupWant:
    def names(kind: Kind, fate: Fate) -> set[str]:
        return {one.name.lower() for one in report.of(kind, fate)}

    return CleanupWant(
        packages=names(Kind.PACKAGE, Fate.REMOVED),
        deployments=names(Kind.DEPLOYMENT, Fate.REMOVED),
        components=names(Kind.COMPONENT, Fate.REMOVED),
        emptied=names(Kind.COMPONENT, Fate.EMPTIED),
        catalogs=names(Kind.CATALOG, Fate.REMOVED),
    )


def differences(before: ImageState, after: ImageState, want: CleanupWant) -> list[str]:
    """What is left or gone against expectation, and what of the rest is not as it was."""
    paths, values = remains(before, want)
    found = {
        (hive, path, name)
        for hive, keys in after.hives.items()
        for path, key in keys.items()
        for name in ("", *key.values)
    }
    brought = {one for one in found - values if _may_come(one, want)}
    lines = [f"path {one}" for one in sorted(paths ^ after.entries.keys())]
    lines += [f"value {one}" for one in sorted((values ^ found) - brought)]
    hives = {path.lower() for path in HIVE_PATHS.values()}
    for path in sorted(paths & after.entries.keys() - hives):
        expected = replace(before.entries[path], links=before.entries[path].links & paths)
        if after.entries[path] != expected:
            lines.append(f"{path} is not as it was: {after.entries[path]}")
    for one in sorted(values & found):
        hive, path, name = one
        old, new = (state.hives[hive][path].values.get(name) for state in (before, after))
        if old == new or _may_come(one, want) or _is_repointed(before, want, old, new):
            continue
        left = [other for place, key, other in values if (place, key) == (hive, path) and other]
        if not (WINNERS.lower() in path and new and new.text == max(left, key=_numbers)):
            lines.append(f"{hive} {path} {name}: {old} {new}")
    return lines


def _is_repointed(
    before: ImageState, want: CleanupWant, old: Value | None, new: Value | None
) -> bool:
    """Whether an index names the newest version left instead of one that is gone."""
    if old is None or new is None or old.text.lower() not in want.packages:
        return False
    return new.text.lower() == newest_left(before, want, old.text.lower())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _may_come(value: tuple[str, str, str], want: CleanupWant) -> bool:
    """The note of a reset, and the flag of a component whose payload is gone."""
    _, path, name = value
    is_flag = name == "cf" and path.rpartition("\\")[2] in want.emptied
    return is_flag or name == "lastresetbase_utc"
