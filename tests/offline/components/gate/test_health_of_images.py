"""Images that must not be changed: each reason, made by another program, and sound ones besides."""

from collections.abc import Callable
from pathlib import Path

import pytest

from offline.components.gate.breaking import (
    CBS,
    COMPONENTS,
    HIVES,
    WINNERS,
    ForeignImage,
    binary,
    number,
)
from wimsmith.errors import DamagedHive
from wimsmith.offline.components.cleanup.clean import clean_up
from wimsmith.offline.components.features.switching import set_features
from wimsmith.offline.components.gate.health import health_findings
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.components.outcome import Outcome, finding_of
from wimsmith.offline.components.removal.removing import remove
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.packages.package import expand
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.verdicts import Finding, Verdict
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.updates import build_update

PACKAGE = rf"{CBS}\Packages\Practice-Content-Package~31bf3856ad364e35~amd64~~10.0.19041.1"
CURRENT_VERSION = r"Microsoft\Windows NT\CurrentVersion"
STATE_KEY = r"Microsoft\Windows\CurrentVersion\Setup\State"
STATE_FILE = "Windows/Setup/State/State.ini"
Spoil = Callable[[ForeignImage], None]


def findings(image: ForeignImage, tmp_path: Path, **how: bool) -> tuple[Finding, ...]:
    """What stops every update, as the site would be told."""
    with open_wim(image.path) as wim:
        try:
            store = Store(Draft(open_view(wim, 1), tmp_path, 0))
            return health_findings(store, **how)
        except DamagedHive as error:
            return (finding_of(error),)


def state(text: str) -> bytes:
    return f"[State]\r\nImageState={text}\r\n".encode()


def pending_file(image: ForeignImage) -> None:
    image.put("Windows/WinSxS/pending.xml", b"<PendingTransaction/>")


def pending_rename(image: ForeignImage) -> None:
    image.put("Windows/WinSxS/Temp/PendingRenames/x.dll", b"x")


def in_flight(image: ForeignImage) -> None:
    image.put("Windows/WinSxS/Temp/InFlight/x.dll", b"x")


def pending_key(name: str) -> Spoil:
    def spoil(image: ForeignImage) -> None:
        with image.hive("SOFTWARE") as hive:
            hive.add(rf"{CBS}\{name}")

    spoil.__name__ = name
    return spoil


def packages_pending(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.add(rf"{CBS}\PackagesPending", {"something": number(1)})


def exclusive_session(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.set(rf"{CBS}\SessionsPending", "Exclusive", number(3))


def pending_identifier(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.set("", "PendingXmlIdentifier", binary(b"x\0"))


def package_in(state_number: int) -> Spoil:
    def spoil(image: ForeignImage) -> None:
        with image.hive("SOFTWARE") as hive:
            hive.set(PACKAGE, "CurrentState", number(state_number))

    spoil.__name__ = f"package_in_{state_number:#x}"
    return spoil


def unserviceable(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.set(CBS, "Unserviceable", number(1))


def winner_without_manifest(image: ForeignImage) -> None:
    folder = "Windows/WinSxS/Manifests"
    name = next(one for one in image.names(folder) if "practice-content-00001_" in one)
    image.delete(f"{folder}/{name}")


def winner_without_component(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        name = next(one for one in hive.keys(COMPONENTS) if "practice-content-00001_" in one)
        hive.delete(rf"{COMPONENTS}\{name}")


def winner_nobody_has(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        family = next(one for one in hive.keys(WINNERS) if "practice-windows-shell_" in one)
        hive.set(rf"{WINNERS}\{family}\10.0", "@", "string:10.0.99999.1")


def without(path: str) -> Spoil:
    def spoil(image: ForeignImage) -> None:
        image.delete(path)

    spoil.__name__ = f"without {path.rpartition('/')[2]}"
    return spoil


def spoilt_cells(image: ForeignImage) -> None:
    """The list of values of the root of COMPONENTS says that it has more than it has."""
    data = bytearray(image.read(HIVES["COMPONENTS"]))
    root = 4096 + int.from_bytes(data[36:40], "little") + 4
    assert data[root : root + 2] == b"nk"
    data[root + 36 : root + 40] = (99).to_bytes(4, "little")
    image.put(HIVES["COMPONENTS"], bytes(data))


def interrupted_write(image: ForeignImage) -> None:
    """The sequence numbers of the header differ, and the logs beside the hive are empty."""
    data = bytearray(image.read(HIVES["SOFTWARE"]))
    data[4:8] = (int.from_bytes(data[4:8], "little") + 1).to_bytes(4, "little")
    checksum = 0
    for place in range(0, 508, 4):
        checksum ^= int.from_bytes(data[place : place + 4], "little")
    data[508:512] = checksum.to_bytes(4, "little")
    image.put(HIVES["SOFTWARE"], bytes(data))


def other_kernel(image: ForeignImage) -> None:
    path = "Windows/System32/ntoskrnl.exe"
    data = bytearray(image.read(path))
    machine = int.from_bytes(data[0x3C:0x40], "little") + 4
    data[machine : machine + 2] = (0x014C).to_bytes(2, "little")
    image.put(path, bytes(data))


def other_store(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.set("", "StoreArchitecture", binary((12).to_bytes(4, "little")))


def other_system(image: ForeignImage) -> None:
    with image.hive("SYSTEM") as hive:
        key = r"ControlSet001\Control\Session Manager\Environment"
        hive.set(key, "PROCESSOR_ARCHITECTURE", "string:ARM64")


def too_old(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.remove(CURRENT_VERSION, "CurrentMajorVersionNumber")
        hive.set(CURRENT_VERSION, "CurrentVersion", "string:5.2")


def complete(image: ForeignImage) -> None:
    image.put(STATE_FILE, state("IMAGE_STATE_COMPLETE"))


def complete_in_the_registry(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.add(STATE_KEY.rpartition("\\")[0])
        hive.add(STATE_KEY, {"ImageState": "string:IMAGE_STATE_SPECIALIZE_RESEAL_TO_OOBE"})


def unfinished_on_a_computer(image: ForeignImage) -> None:
    image.put(STATE_FILE, state("IMAGE_STATE_UNDEPLOYABLE"))
    with image.hive("SYSTEM") as hive:
        hive.add("MountedDevices", {r"\DosDevices\C:".replace("\\", "/"): binary(b"disk")})


REASONS: dict[str, tuple[Spoil, ...]] = {
    "pending": (
        pending_file,
        pending_rename,
        in_flight,
        pending_key("RebootPending"),
        pending_key("RebootInProgress"),
        packages_pending,
        exclusive_session,
        pending_identifier,
        package_in(0x05),
        package_in(0x60),
        package_in(0x65),
    ),
    "image-damaged": (
        unserviceable,
        pending_key("Unserviceable"),
        winner_without_manifest,
        winner_without_component,
        winner_nobody_has,
        without(HIVES["COMPONENTS"]),
        without(HIVES["SYSTEM"]),
        spoilt_cells,
        interrupted_write,
        other_kernel,
        other_store,
        other_system,
    ),
    "os-too-old": (too_old,),
    "not-generalised": (complete, complete_in_the_registry, unfinished_on_a_computer),
}


@pytest.mark.parametrize(
    ("code", "spoil"),
    [
        pytest.param(
            code, spoil, id=f"{code}-{spoil.__name__}", marks=pytest.mark.slow if place % 3 else ()
        )
        for code, spoils in REASONS.items()
        for place, spoil in enumerate(spoils)
    ],
)
def test_the_reason_is_named(image: ForeignImage, tmp_path: Path, code: str, spoil: Spoil) -> None:
    spoil(image)
    found = findings(image, tmp_path)
    assert {finding.code for finding in found} == {code}
    assert all(finding.verdict is Verdict.NOT_SUPPORTED for finding in found)


def preinstallation(image: ForeignImage) -> None:
    """Boot images are set up whenever they start."""
    complete(image)
    with image.hive("SOFTWARE") as hive:
        hive.set(CURRENT_VERSION, "InstallationType", "string:WindowsPE")


def preinstallation_by_its_key(image: ForeignImage) -> None:
    complete(image)
    with image.hive("SOFTWARE") as hive:
        hive.add(rf"{CURRENT_VERSION}\WinPE")


def never_installed(image: ForeignImage) -> None:
    """Media images have not met a computer."""
    image.put(STATE_FILE, state("IMAGE_STATE_UNDEPLOYABLE"))


def no_state(image: ForeignImage) -> None:
    image.delete(STATE_FILE)


def state_in_wide_characters(image: ForeignImage) -> None:
    text = state("IMAGE_STATE_GENERALIZE_RESEAL_TO_AUDIT").decode()
    image.put(STATE_FILE, text.encode("utf-16"))


@pytest.mark.parametrize(
    "change",
    [
        preinstallation,
        preinstallation_by_its_key,
        never_installed,
        no_state,
        state_in_wide_characters,
        without("Windows/System32/ntoskrnl.exe"),
        package_in(0x40),
        package_in(0x50),
    ],
    ids=lambda change: change.__name__,
)
def test_nothing_stands_against_sound_images(
    image: ForeignImage, tmp_path: Path, change: Spoil
) -> None:
    change(image)
    assert findings(image, tmp_path) == ()


def test_an_image_of_one_computer_can_be_allowed(image: ForeignImage, tmp_path: Path) -> None:
    complete(image)
    assert findings(image, tmp_path, allow_not_generalised=True) == ()


@pytest.mark.parametrize(
    ("spoil", "allow", "expected"),
    [
        (complete, False, (Verdict.NOT_SUPPORTED, "not-generalised")),
        (complete, True, (Verdict.APPLIED, "applied")),
        (other_store, True, (Verdict.NOT_SUPPORTED, "image-damaged")),
    ],
)
def test_the_gate_stands_before_every_update(
    image: ForeignImage,
    tmp_path: Path,
    practice_signer: PracticeRoot,
    spoil: Spoil,
    allow: bool,
    expected: tuple[Verdict, str],
) -> None:
    spoil(image)
    with open_wim(image.path) as wim:
        outcome = outcome_of(open_view(wim, 1), tmp_path / "1", practice_signer, allow=allow)
    assert (outcome.verdict, outcome.code) == expected


def test_whatever_would_write_is_refused_by_the_rule_that_the_image_breaks(
    image: ForeignImage, small_image: Path, tmp_path: Path, practice_signer: PracticeRoot
) -> None:
    with open_wim(small_image) as wim:
        before = outcome_of(open_view(wim, 1), tmp_path / "1", practice_signer)
    assert before.changes is not None
    with image.hive("COMPONENTS") as hive:
        name = next(one for one in hive.keys(COMPONENTS) if "practice-windows-shell_" in one)
        hive.remove(rf"{COMPONENTS}\{name}", "identity")
    options, spool = options_of(practice_signer), tmp_path / "spool"
    with open_wim(image.path) as wim:
        installed = open_view(wim, 1, [before.changes])
        update = outcome_of(open_view(wim, 1), tmp_path / "2", practice_signer)
        removed = remove(before.packages[:1], installed, options, spool)
        switched = set_features({"Practice-Games": True}, open_view(wim, 1), options, spool)
        cleaned = clean_up(open_view(wim, 1), spool, options.now, reset_base=False)
    for one in (update, removed, switched):
        assert [finding.code for finding in one.findings] == ["calibration:identity"]
        assert one.changes is None
    assert [finding.code for finding in cleaned.findings] == ["calibration:identity"]
    assert cleaned.changes is None


def options_of(root: PracticeRoot, *, allow: bool = False) -> ApplyOptions:
    trust = TrustPolicy(Anchors(), test=Anchors((root.certificate,)), allow_test_roots=True)
    return ApplyOptions(trust, 133_600_000_000_000_000, allow_not_generalised=allow)


def outcome_of(
    view: ImageView, folder: Path, root: PracticeRoot, *, allow: bool = False
) -> Outcome:
    """What becomes of a small update."""
    folder.mkdir()
    file = build_update(preset("small"), folder / "small.cab", root=root)
    return apply(expand(file, folder / "expanded"), view, options_of(root, allow=allow))
