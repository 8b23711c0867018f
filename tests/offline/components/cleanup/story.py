"""An image with something of everything that clean-up has to tell apart, and what is in it."""

import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from wimsmith.offline.changes import ChangeSet, Content, CreateKey, PutFile, SetValue
from wimsmith.offline.commit import commit
from wimsmith.offline.components.cleanup.clean import clean_up
from wimsmith.offline.components.cleanup.report import CleanupOutcome, CleanupReport, Fate, Kind
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.practice.baseline import FEATURES_OFF
from wimsmith.practice.image import build_image
from wimsmith.practice.maker import Maker
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import (
    FLAGS_A,
    ComponentSpec,
    Generation,
    ImageSpec,
    PackageSpec,
    PackageState,
    StoreFlags,
    UpdateEntry,
)

NOW = 133_600_000_000_000_000
CBS = r"Microsoft\Windows\CurrentVersion\Component Based Servicing"
CONFIGURATION = r"Microsoft\Windows\CurrentVersion\SideBySide\Configuration"
FOUNDATION = "Microsoft-Windows-Foundation-Package~31bf3856ad364e35~amd64~~0.0.0.0"
FAMILY = "amd64_practice-alone_7072616374696365_none_0123456789abcdef"
VERSION = "10.0.0.1@".encode("utf-16-le") + bytes(2)
OLD, NEW = PackageState.SUPERSEDED, PackageState.INSTALLED


def packages(generation: Generation) -> tuple[PackageSpec, ...]:
    """Besides what a practice image holds: pairs of an update and a later one of it, and more.

    KB7000001 and KB7000002: two versions side by side, both installed. KB7000003: an update that
    shares a component with KB7000004. KB7000005: a permanent one. KB7000006: one that brings a
    version of something that stands side by side.
    """
    maker = Maker(generation)
    shared = maker.component("Practice-Shared", 300)
    boot = ("SingleInstanceFiles", "BootRecovery")
    alone = [maker.component("Practice-Alone", 300 + step, memberships=boot) for step in (0, 100)]
    lasting = [maker.component("Practice-Lasting", 300 + step) for step in (0, 100)]
    plain = [maker.component("Practice-Plain", 300 + step) for step in (0, 100)]
    runtimes = [side_by_side(maker, "Practice-Runtime", 300 + step) for step in (0, 100)]
    dialogs = [side_by_side(maker, "Practice-Dialogs", 300 + step) for step in (0, 100)]
    return (
        update(maker, "KB7000001", 1, NEW, runtimes[0]),
        update(maker, "KB7000002", 1, NEW, runtimes[1]),
        update(maker, "KB7000003", 1, OLD, shared, alone[0]),
        update(maker, "KB7000003", 2, NEW, alone[1]),
        update(maker, "KB7000004", 1, NEW, shared),
        update(maker, "KB7000005", 1, OLD, lasting[0], permanence="permanent"),
        update(maker, "KB7000005", 2, NEW, lasting[1], permanence="permanent"),
        update(maker, "KB7000006", 1, OLD, dialogs[0], plain[0]),
        update(maker, "KB7000006", 2, NEW, dialogs[1], plain[1]),
    )


def update(
    maker: Maker,
    article: str,
    step: int,
    state: PackageState,
    *components: ComponentSpec,
    **changes: object,
) -> PackageSpec:
    """The version `step` of an update that installs `components`."""
    deployment = maker.deployment(f"Practice-{article}", 300 + step, *components)
    entry = UpdateEntry(f"{article[2:]}-{step}_neutral", deployment)
    return maker.package(article, f"10.0.1.{step}", entry, state=state, **changes)


def side_by_side(maker: Maker, name: str, revision: int) -> ComponentSpec:
    """A component of which several versions may be in use: it is in the store only."""
    spec = maker.component(name, revision)
    files = tuple(replace(one, destination=None) for one in spec.files)
    identity = replace(spec.identity, version_scope="", type="win32")
    return replace(spec, identity=identity, files=files)


def spec(generation: Generation, flags: StoreFlags = FLAGS_A) -> ImageSpec:
    return ImageSpec(
        generation=generation,
        flags=flags,
        size_bytes=1 << 19,
        components=3,
        features=FEATURES_OFF,
        extra_packages=packages(generation),
    )


def build(folder: Path, image: ImageSpec, root: PracticeRoot, codec: Codec) -> Path:
    """The image with caches that Windows left, and indexes that lead to a superseded package."""
    bare, path = folder / "bare.wim", folder / "base.wim"
    build_image(image, bare, root=root, codec=codec)
    with open_wim(bare, codec) as wim:
        changes = left_by_windows(folder, image.flags)
        commit(wim, {1: [changes]}, path, codec=codec, modified=NOW)
    bare.unlink()
    return path


def left_by_windows(folder: Path, flags: StoreFlags) -> ChangeSet:
    """Caches, detect indexes, a second owner, and the base as one that may be reset."""
    cache = folder / "cache.bin"
    cache.write_bytes(b"derived")
    content = Content.of_file(cache)
    files = (
        "Windows/WinSxS/ManifestCache/1f.bin",
        "Windows/WinSxS/Temp/PendingDeletes/$$DeleteMe.x",
        "Windows/CbsTemp/30000000_1/x.cab",
    )
    gone = "Package_for_KB7000003~31bf3856ad364e35~amd64~~10.0.1.1"
    stays = "Package_for_KB7000003~31bf3856ad364e35~amd64~~10.0.1.2"
    owner = (flags.owner_flag << 16 | NEW).to_bytes(4, "little")
    index = r"DerivedData\VersionedIndex\10.0 (x)\ComponentFamilies\a"
    return ChangeSet(
        tree=tuple(PutFile(path, content.sha1) for path in files),
        registry=(
            SetValue("SOFTWARE", CONFIGURATION, "DisableResetbase", 4, bytes(4)),
            SetValue("SOFTWARE", rf"{CBS}\ComponentDetect\{FAMILY}", gone, 1, VERSION),
            SetValue("SOFTWARE", rf"{CBS}\PackageDetect\{FOUNDATION}", gone, 4, bytes(4)),
            SetValue("SOFTWARE", rf"{CBS}\PackageDetect\{FOUNDATION}", stays, 4, bytes(4)),
            SetValue("SOFTWARE", rf"{CBS}\UpdateDetect\x", f"{gone}.7000003-1", 4, bytes(4)),
            SetValue("SOFTWARE", rf"{CBS}\Packages\{stays}\Owners", gone, 4, owner),
            CreateKey("SOFTWARE", rf"{CBS}\ApplicabilityEvaluationCache\{gone}"),
            CreateKey("COMPONENTS", index),
        ),
        content={content.sha1: content},
    )


def clean(view: ImageView, spool: Path, *, reset_base: bool) -> CleanupOutcome:
    return clean_up(view, spool, NOW, reset_base=reset_base)


def cleaned(wim: Wim, spool: Path, *, reset_base: bool) -> tuple[ImageView, CleanupReport]:
    """A view with a clean-up stacked on it that has to succeed."""
    view = open_view(wim, 1)
    outcome = clean(view, spool, reset_base=reset_base)
    assert outcome.code == "cleaned", outcome.findings
    assert outcome.changes is not None
    assert outcome.report is not None
    view.stack(outcome.changes)
    return view, outcome.report


def lines(report: CleanupReport, kind: Kind, fate: Fate) -> list[str]:
    """Entries of a report as short lines: what, its version, and why."""
    found = report.of(kind, fate)
    return sorted(" ".join([*short(kind, one.name), one.reason]) for one in found)


def short(kind: Kind, name: str) -> Iterable[str]:
    if kind is Kind.PACKAGE:
        first, _, _, language, version = name.split("~")
        return [first.removeprefix("Microsoft-Windows-"), *filter(None, [language]), version]
    if kind is Kind.COMPONENT:
        architecture, first, _, version, language, _ = name.split("_")
        notes = [one for one in (architecture, language) if one not in {"amd64", "none"}]
        return [first.removeprefix("practice-"), version, *notes]
    return [name]


def hive_values(wim: Path, hive: str, key: str, folder: Path) -> dict[str, str]:
    """Values of a key as hivexsh prints them, from the file as wimlib-imagex extracts it."""
    path = f"/Windows/System32/config/{hive}"
    subprocess.run(
        ["wimlib-imagex", "extract", wim, "1", path, f"--dest-dir={folder}", "--no-acls"],
        check=True,
        capture_output=True,
    )
    done = subprocess.run(
        ["hivexsh", folder / hive],
        input=f"cd \\{key}\nlsval\n",
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    pairs = (line.split("=", 1) for line in done.stdout.splitlines())
    return {name.strip('"'): text for name, text in pairs}
