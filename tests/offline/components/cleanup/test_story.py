"""The story of clean-up on one image, with everything that stays and goes stated here."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from offline.components.cleanup.story import (
    CBS,
    FOUNDATION,
    NOW,
    clean,
    cleaned,
    hive_values,
    lines,
)
from oracle.observe import list_files, observe
from wimsmith.offline.commit import commit
from wimsmith.offline.components.cleanup.report import Fate, Kind
from wimsmith.offline.components.cleanup.sizes import Freed, freed_content
from wimsmith.offline.image import open_view
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.format.header import HEADER_BYTES
from wimsmith.offline.wim.verbs.export import export_images
from wimsmith.offline.wim.workers.worker import WorkerCodec

WINNERS = r"Microsoft\Windows\CurrentVersion\SideBySide\Winners"

PACKAGES_KEPT = [
    "Client-Features-Package 10.0.19041.1 in-use",
    "Client-LanguagePack-Package en-US 10.0.19041.1 in-use",
    "Foundation-Package 10.0.19041.1 in-use",
    "Package_1_for_KB4000001 10.0.1.2 in-use",
    "Package_for_KB4000001 10.0.1.2 in-use",
    "Package_for_KB7000001 10.0.1.1 in-use",
    "Package_for_KB7000002 10.0.1.1 in-use",
    "Package_for_KB7000003 10.0.1.2 in-use",
    "Package_for_KB7000004 10.0.1.1 in-use",
    "Package_for_KB7000005 10.0.1.1 permanent",
    "Package_for_KB7000005 10.0.1.2 in-use",
    "Package_for_KB7000006 10.0.1.1 holds",
    "Package_for_KB7000006 10.0.1.2 in-use",
    "Practice-Content-Package 10.0.19041.1 in-use",
    "Practice-Optional-Package 10.0.19041.1 in-use",
    "ProfessionalEdition 10.0.19041.1 in-use",
]
PACKAGES_REMOVED = [
    "Package_1_for_KB4000001 10.0.1.1 superseded",
    "Package_for_KB4000001 10.0.1.1 superseded",
    "Package_for_KB7000003 10.0.1.1 superseded",
]
COMPONENTS_KEPT = [
    "alone 10.0.19041.401 wins",
    "base-deployment 10.0.19041.1 in-use",
    "content-00000 10.0.19041.1 wins",
    "content-00000-deployment 10.0.19041.1 in-use",
    "content-00001 10.0.19041.1 wins",
    "content-00002 10.0.19041.1 wins",
    "dialogs 10.0.19041.301 side-by-side",
    "dialogs 10.0.19041.401 side-by-side",
    "edition-professional 10.0.19041.1 wins",
    "fix-install 10.0.19041.3 in-use",
    "fix-revision 10.0.19041.4003 in-use",
    "games-component 10.0.19041.1 staged",
    "games-deployment 10.0.19041.1 in-use",
    "kb7000001-deployment 10.0.19041.302 in-use",
    "kb7000002-deployment 10.0.19041.302 in-use",
    "kb7000003-deployment 10.0.19041.303 in-use",
    "kb7000004-deployment 10.0.19041.302 in-use",
    "kb7000005-deployment 10.0.19041.302 in-use",
    "kb7000005-deployment 10.0.19041.303 in-use",
    "kb7000006-deployment 10.0.19041.302 in-use",
    "kb7000006-deployment 10.0.19041.303 in-use",
    "kernel-deployment 10.0.19041.1 in-use",
    "language-d..oyment-languagepack 10.0.19041.1 en-us in-use",
    "lasting 10.0.19041.301 in-use",
    "lasting 10.0.19041.401 wins",
    "media-deployment 10.0.19041.1 in-use",
    "microsoft-windows-servicingstack 10.0.19041.1 wins",
    "plain 10.0.19041.301 in-use",
    "plain 10.0.19041.401 wins",
    "printing-component 10.0.19041.1 wins",
    "printing-deployment 10.0.19041.1 in-use",
    "professional-deployment 10.0.19041.1 in-use",
    "runtime 10.0.19041.301 side-by-side",
    "runtime 10.0.19041.401 side-by-side",
    "servicing-deployment 10.0.19041.1 in-use",
    "shared 10.0.19041.301 wins",
    "shell-deployment 10.0.19041.1 in-use",
    "windows-base 10.0.19041.1 wins",
    "windows-base 10.0.19041.1 wow64 wins",
    "windows-boot-environment 10.0.19041.1 wins",
    "windows-bus-files 10.0.19041.1 wins",
    "windows-fix 10.0.19041.3 wins",
    "windows-fix 10.0.19041.4003 staged",
    "windows-fonts 10.0.19041.1 wins",
    "windows-help 10.0.19041.1 wins",
    "windows-kernel 10.0.19041.1 wins",
    "windows-shell 10.0.19041.1 wins",
    "windows-shell.resources 10.0.19041.1 en-us wins",
]
COMPONENTS_REMOVED = [
    "alone 10.0.19041.301 superseded",
    "fix-install 10.0.19041.2 unused",
    "fix-revision 10.0.19041.4002 unused",
    "kb7000003-deployment 10.0.19041.302 unused",
    "windows-fix 10.0.19041.2 superseded",
    "windows-fix 10.0.19041.4002 unused",
]
EMPTIED = ["lasting 10.0.19041.301 superseded", "plain 10.0.19041.301 superseded"]
"""What a reset of the base takes the payload of; without it they are kept, as `in-use`."""
CACHES = [
    "Windows/CbsTemp/30000000_1 derived",
    "Windows/WinSxS/ManifestCache/1f.bin derived",
    "Windows/WinSxS/Temp/PendingDeletes/$$DeleteMe.x derived",
]


@pytest.mark.parametrize("reset_base", [False, True])
def test_what_is_kept_and_what_goes(
    story: Any, codec: WorkerCodec, tmp_path: Path, *, reset_base: bool
) -> None:
    with open_wim(story(), codec) as wim:
        _, report = cleaned(wim, tmp_path, reset_base=reset_base)
    emptied = EMPTIED if reset_base else []
    in_use = [line.replace("superseded", "in-use") for line in emptied]
    assert lines(report, Kind.PACKAGE, Fate.KEPT) == PACKAGES_KEPT
    assert lines(report, Kind.PACKAGE, Fate.REMOVED) == PACKAGES_REMOVED
    assert lines(report, Kind.COMPONENT, Fate.KEPT) == [
        line for line in COMPONENTS_KEPT if line not in in_use
    ]
    assert lines(report, Kind.COMPONENT, Fate.REMOVED) == COMPONENTS_REMOVED
    assert lines(report, Kind.COMPONENT, Fate.EMPTIED) == emptied
    assert lines(report, Kind.CACHE, Fate.REMOVED) == CACHES
    assert len(report.of(Kind.DEPLOYMENT, Fate.REMOVED)) == 3
    assert len(report.of(Kind.CATALOG, Fate.REMOVED)) == 3


def test_who_the_reasons_are_about(story: Any, codec: WorkerCodec, tmp_path: Path) -> None:
    with open_wim(story(), codec) as wim:
        _, report = cleaned(wim, tmp_path, reset_base=False)
    about = {
        (one.name.split("~")[0].split("_7072")[0], str(one.reason)): one.by
        for one in report.entries
    }
    assert about["Package_for_KB7000006", "holds"].startswith("amd64_practice-dialogs_")
    assert about["amd64_practice-games-component", "staged"].startswith("Practice-Optional-Package")
    assert about["amd64_practice-alone", "superseded"] == "10.0.19041.401"


def test_external_readers_see_winners_links_and_the_rest(
    story: Any, codec: WorkerCodec, tmp_path: Path
) -> None:
    """In the committed file, as wimlib-imagex and hivexsh read it."""
    base, target = story(), tmp_path / "cleaned.wim"
    with open_wim(base, codec) as wim:
        view, _ = cleaned(wim, tmp_path, reset_base=True)
        changes = clean(open_view(wim, 1), tmp_path, reset_base=True).changes
        assert changes is not None
        commit(wim, {1: [changes]}, target, codec=codec, modified=NOW)
    before, after = list_files(base, 1), list_files(target, 1)
    winner = _family(before, "practice-alone_7072616374696365_10.0.19041.401")
    assert after["windows/system32/practice-alone.dll"].links == {
        "windows/system32/practice-alone.dll",
        f"windows/winsxs/{winner}/practice-alone.dll",
    }
    loser = _family(before, "practice-alone_7072616374696365_10.0.19041.301")
    emptied = _family(before, "practice-plain_7072616374696365_10.0.19041.301")
    assert not [path for path in after if loser in path]
    assert [path for path in after if emptied in path] == [
        f"windows/winsxs/manifests/{emptied}.manifest"
    ]
    key = view.hive("SOFTWARE").key(WINNERS)
    assert key
    family = next(one.name for one in key.subkeys() if one.name.startswith("amd64_practice-alone_"))
    values = hive_values(target, "SOFTWARE", rf"{WINNERS}\{family}\10.0", tmp_path)
    assert values == {"@": '"10.0.19041.401"', "10.0.19041.401": "hex(3):01"}
    note = hive_values(target, "SOFTWARE", CBS, tmp_path)["LastResetBase_UTC"]
    assert note == '"2024/05/12:15:06:40"'
    detected = hive_values(target, "SOFTWARE", rf"{CBS}\PackageDetect\{FOUNDATION}", tmp_path)
    assert list(detected) == ["Package_for_KB7000003~31bf3856ad364e35~amd64~~10.0.1.2"]
    software = observe(target, 1).hives["SOFTWARE"]
    for index in ("componentdetect", "updatedetect", "applicabilityevaluationcache"):
        assert not [path for path in software if path.startswith(rf"{CBS}\{index}\\".lower())]


def _family(entries: Any, start: str) -> str:
    """Key of the component whose folder begins so."""
    found = {
        match[1] for path in entries if (match := re.match(r"windows/winsxs/(amd64_[^/]+)", path))
    }
    return next(key for key in sorted(found) if key.startswith(f"amd64_{start}_"))


def test_freed_bytes_are_size_before_minus_size_after_export(
    story: Any, codec: WorkerCodec, tmp_path: Path
) -> None:
    """Every byte of both files is accounted for: what is freed, what hives take, the tables."""
    base, target, exported = story(), tmp_path / "cleaned.wim", tmp_path / "exported.wim"
    with open_wim(base, codec) as wim:
        view, report = cleaned(wim, tmp_path, reset_base=True)
        freed = freed_content(view)
        changes = clean(open_view(wim, 1), tmp_path, reset_base=True).changes
        assert changes is not None
        commit(wim, {1: [changes]}, target, codec=codec, modified=NOW)
    export_images(target, None, exported)
    with open_wim(base, codec) as old, open_wim(exported, codec) as new:
        assert freed.is_exact
        assert freed.unused_bytes == 0
        assert freed.count == len(old.blobs.keys() - new.blobs.keys()) - 2
        assert 0 < freed.packed_bytes < report.logical_bytes
        brought = sum(
            one.location.stored_bytes for sha1, one in new.blobs.items() if sha1 not in old.blobs
        )
        content = freed.packed_bytes + freed.hive_bytes - brought
        others = _others(old) - _others(new)
        assert base.stat().st_size - exported.stat().st_size == content + others
    subprocess.run(["wimlib-imagex", "verify", exported], check=True, capture_output=True)


def _others(wim: Wim) -> int:
    """Bytes of a file that are no content: header, metadata, blob table, XML, integrity."""
    header = wim.header
    places = (header.blob_table, header.xml, header.integrity)
    metadata = sum(one.location.stored_bytes for one in wim.table.metadata)
    return HEADER_BYTES + metadata + sum(place.stored_bytes for place in places)


def test_content_that_another_index_names_is_not_freed(
    story: Any, codec: WorkerCodec, tmp_path: Path
) -> None:
    twice = tmp_path / "twice.wim"
    for name in ("first", "second"):
        command = ["wimlib-imagex", "export", story(), "1", twice, name]
        subprocess.run(command, check=True, capture_output=True)
    with open_wim(twice, codec) as wim:
        view, _ = cleaned(wim, tmp_path, reset_base=True)
        assert freed_content(view) == Freed(0, 0, 0, 0, is_exact=True)


@pytest.mark.parametrize("reset_base", [False, True])
def test_a_second_run_removes_nothing(
    story: Any, codec: WorkerCodec, tmp_path: Path, *, reset_base: bool
) -> None:
    with open_wim(story(), codec) as wim:
        view, _ = cleaned(wim, tmp_path, reset_base=reset_base)
        again = clean(view, tmp_path, reset_base=reset_base)
    assert again.code == "nothing-to-clean"
    assert again.changes is not None
    assert not again.changes
    assert again.report
    assert again.report.file_count == 0
    assert [one for one in again.report.entries if one.fate is not Fate.KEPT] == []


def test_resetting_the_base_after_a_clean_up_is_the_same_as_at_once(
    story: Any, codec: WorkerCodec, tmp_path: Path
) -> None:
    with open_wim(story(), codec) as wim:
        view, _ = cleaned(wim, tmp_path, reset_base=False)
        step = clean(view, tmp_path, reset_base=True)
        assert step.report
        assert step.changes
        assert lines(step.report, Kind.COMPONENT, Fate.EMPTIED) == EMPTIED
        view.stack(step.changes)
        once, _ = cleaned(wim, tmp_path, reset_base=True)
        assert {one.path for one in view.tree.walk()} == {one.path for one in once.tree.walk()}
