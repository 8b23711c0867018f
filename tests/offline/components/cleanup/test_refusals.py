"""When clean-up does nothing: each reason by its name, and no file left behind."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from offline.components.cleanup.story import CBS, CONFIGURATION, NOW, clean, lines
from oracle.observe import list_files
from wimsmith.errors import Cancelled, DamagedWim, NotSupported
from wimsmith.offline.changes import (
    ChangeSet,
    Content,
    CreateKey,
    DeleteKey,
    DeleteValue,
    Link,
    PutFile,
    Remove,
    SetValue,
)
from wimsmith.offline.components.cleanup.clean import clean_up
from wimsmith.offline.components.cleanup.facts import read_facts
from wimsmith.offline.components.cleanup.knowledge import unreadable_components
from wimsmith.offline.components.cleanup.report import Fate, Kind
from wimsmith.offline.components.cleanup.sizes import require_single_index
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.progress import Event, silent
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec

STORE = "Windows/WinSxS"
LOSER = "practice-alone_7072616374696365_10.0.19041.301"
WINNER = "practice-alone_7072616374696365_10.0.19041.401"


@pytest.fixture
def wim(story: Any, codec: WorkerCodec) -> Iterator[Wim]:
    with open_wim(story(), codec) as wim:
        yield wim


@pytest.fixture
def keys(story: Any) -> dict[str, str]:
    """Keys of the two versions of one component."""
    start = "windows/winsxs/"
    paths = [path.removeprefix(start) for path in list_files(story(), 1) if path.startswith(start)]
    return {
        version: next(one for one in paths if one.startswith(f"amd64_{version}_"))
        for version in (LOSER, WINNER)
    }


def refused(wim: Wim, folder: Path, *changes: ChangeSet, reset_base: bool = False) -> str:
    """The code with which a changed image is refused; nothing may be left."""
    spool = folder / "spool"
    outcome = clean(open_view(wim, 1, changes), spool, reset_base=reset_base)
    assert outcome.verdict is not Verdict.APPLIED, outcome.text
    assert outcome.changes is None
    assert outcome.findings[0].text
    assert not spool.exists()
    return outcome.code


def test_pending_work(wim: Wim, tmp_path: Path) -> None:
    pending = ChangeSet(registry=(CreateKey("SOFTWARE", rf"{CBS}\RebootPending"),))
    assert refused(wim, tmp_path, pending) == "pending"


def test_the_windows_of_one_computer_unless_that_is_wanted(wim: Wim, tmp_path: Path) -> None:
    text = "IMAGE_STATE_COMPLETE\0".encode("utf-16-le")
    key = r"Microsoft\Windows\CurrentVersion\Setup\State"
    complete = ChangeSet(registry=(SetValue("SOFTWARE", key, "ImageState", 1, text),))
    assert refused(wim, tmp_path, complete) == "not-generalised"
    view = open_view(wim, 1, [complete])
    outcome = clean_up(view, tmp_path, NOW, reset_base=False, allow_not_generalised=True)
    assert outcome.code == "cleaned"


def test_a_store_whose_rules_are_other_ones(wim: Wim, tmp_path: Path, keys: dict[str, str]) -> None:
    key = rf"DerivedData\Components\{keys[WINNER]}"
    odd = ChangeSet(registry=(SetValue("COMPONENTS", key, "identity", 3, b"another"),))
    assert refused(wim, tmp_path, odd) == "calibration:identity"


def test_a_manifest_that_is_missing(wim: Wim, tmp_path: Path, keys: dict[str, str]) -> None:
    gone = ChangeSet(tree=(Remove(f"{STORE}/Manifests/{keys[LOSER]}.manifest"),))
    assert refused(wim, tmp_path, gone) == "image-damaged"


def test_payload_of_a_winner_that_is_missing(
    wim: Wim, tmp_path: Path, keys: dict[str, str]
) -> None:
    for path in (f"{STORE}/{keys[WINNER]}/practice-alone.dll", f"{STORE}/{keys[WINNER]}"):
        assert refused(wim, tmp_path, ChangeSet(tree=(Remove(path),))) == "image-damaged"


def test_a_component_of_a_deployment_that_is_not_there(wim: Wim, tmp_path: Path) -> None:
    deployments = wim_key(open_view(wim, 1), r"CanonicalData\Deployments")
    gone = ChangeSet(
        registry=(DeleteKey("COMPONENTS", rf"CanonicalData\Deployments\{deployments[0]}"),)
    )
    assert refused(wim, tmp_path, gone) == "calibration:c!"


def wim_key(view: ImageView, path: str) -> list[str]:
    key = view.hive("COMPONENTS").key(path)
    assert key
    return sorted(one.name for one in key.subkeys())


def test_payload_that_the_system_uses_under_another_name(
    wim: Wim, tmp_path: Path, keys: dict[str, str]
) -> None:
    payload = f"{STORE}/{keys[LOSER]}/practice-alone.dll"
    used = ChangeSet(tree=(Link("Program Files/tool.dll", payload),))
    outcome = clean(open_view(wim, 1, [used]), tmp_path, reset_base=False)
    assert (outcome.code, outcome.changes) == ("linked-payload", None)
    assert "Program Files/tool.dll" in outcome.text
    assert outcome.report
    going = lines(outcome.report, Kind.COMPONENT, Fate.REMOVED)
    assert "alone 10.0.19041.301 superseded" in going


def test_payload_that_stays_under_another_version_is_no_obstacle(
    wim: Wim, tmp_path: Path, keys: dict[str, str]
) -> None:
    """Versions whose files are alike may share them."""
    shared = ChangeSet(
        tree=(
            Link(f"{STORE}/{keys[LOSER]}/twin.dll", f"{STORE}/{keys[WINNER]}/practice-alone.dll"),
        )
    )
    view = open_view(wim, 1, [shared])
    outcome = clean(view, tmp_path, reset_base=False)
    assert outcome.changes
    view.stack(outcome.changes)
    assert view.exists("Windows/System32/practice-alone.dll")
    assert not view.exists(f"{STORE}/{keys[LOSER]}")


def test_a_base_that_is_not_to_be_reset_is_cleaned_up_without(
    wim: Wim, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disabled = ChangeSet(
        registry=(SetValue("SOFTWARE", CONFIGURATION, "DisableResetbase", 4, b"\1\0\0\0"),)
    )
    plain = clean(open_view(wim, 1, [disabled]), tmp_path, reset_base=False)
    asked = clean(open_view(wim, 1, [disabled]), tmp_path, reset_base=True)
    reset = clean(open_view(wim, 1), tmp_path, reset_base=True)

    assert asked.report
    assert asked.changes == plain.changes
    assert reset.changes != plain.changes
    assert asked.report.reset_base is False
    (warning,) = asked.report.warnings
    assert "the base was not reset" in warning
    assert warning in caplog.messages
    assert reset.report
    assert reset.report.warnings == ()
    silent = ChangeSet(registry=(DeleteValue("SOFTWARE", CONFIGURATION, "DisableResetbase"),))
    assert clean(open_view(wim, 1, [silent]), tmp_path, reset_base=True).report == reset.report


def spoilt_manifest(folder: Path, key: str, data: bytes) -> ChangeSet:
    path = folder / "other.manifest"
    path.write_bytes(data)
    content = Content.of_file(path)
    return ChangeSet(
        tree=(PutFile(f"{STORE}/Manifests/{key}.manifest", content.sha1),),
        content={content.sha1: content},
    )


@pytest.mark.parametrize("data", [b"<assembly/>", b"DCM\x01nothing", b""])
def test_manifests_that_are_not_what_the_store_says_are_found(
    wim: Wim, tmp_path: Path, keys: dict[str, str], data: bytes
) -> None:
    """Also where the sample of the gate does not reach."""
    view = open_view(wim, 1, [spoilt_manifest(tmp_path, keys[LOSER], data)])
    store = Store(Draft(view, tmp_path, NOW))
    facts = read_facts(store).components
    both = {key: facts[key] for key in keys.values()}
    assert unreadable_components(ManifestReader(store), both, silent) == {keys[LOSER]}


def test_a_superseded_component_whose_manifest_is_empty_is_kept_and_named(
    wim: Wim, tmp_path: Path, keys: dict[str, str]
) -> None:
    view = open_view(wim, 1, [spoilt_manifest(tmp_path, keys[LOSER], b"")])
    outcome = clean(view, tmp_path, reset_base=False)
    assert outcome.code == "cleaned"
    assert outcome.report
    kept = lines(outcome.report, Kind.COMPONENT, Fate.KEPT)
    assert "alone 10.0.19041.301 not-understood" in kept
    held = lines(outcome.report, Kind.PACKAGE, Fate.KEPT)
    assert "Package_for_KB7000003 10.0.1.1 holds" in held


class Failing(ImageView):
    """A file that can be read so often, and then no more."""

    left = 0

    def read_many(self, wanted: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for one in super().read_many(wanted):
            self.left -= 1
            if self.left < 0:
                raise DamagedWim("blob 0")
            yield one


def test_a_file_that_cannot_be_read_on_leaves_nothing(wim: Wim, tmp_path: Path) -> None:
    spool, seen = tmp_path / "spool", set()
    for left in (0, 1, 5, 20, 60, 100, 140):
        view = Failing(wim, 1)
        view.left = left
        outcome = clean_up(view, spool, NOW, reset_base=True)
        assert (outcome.changes is None) == (outcome.verdict is not Verdict.APPLIED)
        seen.add(outcome.code)
        assert not spool.exists()
    assert "damaged:damaged-wim" in seen


def test_cancelling_leaves_nothing(wim: Wim, tmp_path: Path) -> None:
    phases: list[str] = []

    def cancel(event: Event) -> None:
        phases.append(event.phase)
        if event.phase == "remove components":
            raise Cancelled

    with pytest.raises(Cancelled):
        clean_up(open_view(wim, 1), tmp_path / "spool", NOW, reset_base=True, progress=cancel)
    assert "read manifests" in phases
    assert not (tmp_path / "spool").exists()


def test_files_with_several_indexes(story: Any, image: Wim, codec: WorkerCodec) -> None:
    with pytest.raises(NotSupported) as caught:
        require_single_index(image)
    assert caught.value.reason == "several-indexes"
    with open_wim(story(), codec) as single:
        require_single_index(single)
