"""Whole updates on whole images: generated ones of each generation, and a real one."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from wimsmith.errors import Cancelled, NotSupported
from wimsmith.offline.changes import (
    ChangeSet,
    CreateKey,
    DeleteKey,
    Link,
    PutFile,
    SetValue,
    load,
    save,
)
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.components.outcome import Outcome
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.packages.package import ExpandedPackage, expand
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.roots import MICROSOFT_AUTHORITIES, MICROSOFT_ROOTS
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.progress import Event
from wimsmith.offline.security import KEY_RIGHTS, display_sddl
from wimsmith.offline.verdicts import NOT_SUPPORTED_LINE, Verdict
from wimsmith.offline.wim.format.container import Wim, open_wim
from wimsmith.practice.image import build_image
from wimsmith.practice.presets import internet_explorer, preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import FLAGS_A, FLAGS_B, Generation, ImageSpec, StoreFlags
from wimsmith.practice.updates import build_update

NOW = 133_500_000_000_000_000
CBS = r"Microsoft\Windows\CurrentVersion\Component Based Servicing"
WINNERS = r"Microsoft\Windows\CurrentVersion\SideBySide\Winners"
FEATURE = "Internet-Explorer-Optional-amd64"
SMALL = ImageSpec(size_bytes=1 << 19, components=4)

Build = Callable[[ImageSpec], Wim]
Expand = Callable[..., ExpandedPackage]


@pytest.fixture(scope="session")
def signer() -> PracticeRoot:
    return PracticeRoot.new()


@pytest.fixture(scope="session")
def options(signer: PracticeRoot) -> ApplyOptions:
    policy = TrustPolicy(
        Anchors(fingerprints=MICROSOFT_ROOTS | MICROSOFT_AUTHORITIES),
        test=Anchors((signer.certificate,)),
        allow_test_roots=True,
    )
    return ApplyOptions(policy, NOW)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, signer: PracticeRoot) -> Iterator[Build]:
    """Opened images by specification, each generated once."""
    folder = tmp_path_factory.mktemp("images")
    made: dict[str, Wim] = {}

    def make(spec: ImageSpec) -> Wim:
        name = hashlib.sha256(repr(spec).encode()).hexdigest()[:16]
        if name not in made:
            build_image(spec, folder / f"{name}.wim", root=signer)
            made[name] = open_wim(folder / f"{name}.wim").__enter__()
        return made[name]

    yield make
    for wim in made.values():
        wim.__exit__(None, None, None)


@pytest.fixture
def expanded(tmp_path: Path, signer: PracticeRoot) -> Expand:
    """A generated update, expanded."""
    numbers = iter(range(100))

    def make(name: str, generation: Generation = Generation.WINDOWS_10) -> ExpandedPackage:
        file = build_update(preset(name, generation), tmp_path / f"{name}.cab", root=signer)
        return expand(file, tmp_path / f"{name}-{next(numbers)}")

    return make


def changes_of(outcome: Outcome) -> ChangeSet:
    assert (outcome.verdict, outcome.code) == (Verdict.APPLIED, "applied"), outcome
    assert outcome.changes is not None
    return outcome.changes


def after(wim: Wim, *changes: ChangeSet) -> ImageView:
    return open_view(wim, 1, changes)


@pytest.mark.parametrize("generation", list(Generation))
@pytest.mark.parametrize("flags", [FLAGS_A, FLAGS_B])
@pytest.mark.parametrize("name", ["small", "every-element", "rollup", "languages"])
def test_updates_install_and_are_then_installed(
    build: Build,
    expanded: Expand,
    options: ApplyOptions,
    generation: Generation,
    flags: StoreFlags,
    name: str,
) -> None:
    wim = build(replace(SMALL, generation=generation, flags=flags))
    update = expanded(name, generation)
    changes = changes_of(apply(update, open_view(wim, 1), options))
    again = apply(update, after(wim, changes), options)
    assert (again.verdict, again.code, again.changes) == (Verdict.INSTALLED, "installed", None)


def test_same_input_same_output(build: Build, expanded: Expand, options: ApplyOptions) -> None:
    wim = build(SMALL)
    first = changes_of(apply(expanded("every-element"), open_view(wim, 1), options))
    second = changes_of(apply(expanded("every-element"), open_view(wim, 1), options))
    assert (first.tree, first.registry) == (second.tree, second.registry)
    assert set(first.content) == set(second.content)


def test_the_change_set_stands_on_its_own(
    build: Build, expanded: Expand, options: ApplyOptions, tmp_path: Path
) -> None:
    changes = changes_of(apply(expanded("every-element"), open_view(build(SMALL), 1), options))
    save(changes, tmp_path / "saved")
    assert load(tmp_path / "saved").tree == changes.tree
    assert not changes.missing_content()


def key_of(changes: ChangeSet, start: str) -> str:
    """Keyform of the first component whose name begins so."""
    folder = "Windows/WinSxS/Manifests/"
    found = [e.path for e in changes.tree if isinstance(e, PutFile) and e.path.startswith(folder)]
    return next(
        path.removeprefix(folder).removesuffix(".manifest")
        for path in found
        if path.removeprefix(folder).startswith(start)
    )


def test_what_one_component_leaves(build: Build, expanded: Expand, options: ApplyOptions) -> None:
    wim = build(replace(SMALL, flags=FLAGS_B))
    changes = changes_of(apply(expanded("every-element"), open_view(wim, 1), options))
    view = after(wim, changes)
    key = key_of(changes, "amd64_practice-every-element_")
    component = view.hive("COMPONENTS").key(rf"DerivedData\Components\{key}")
    assert component
    values = {one.name: one for one in component.values()}
    manifest = view.read(f"Windows/WinSxS/Manifests/{key}.manifest")
    assert values["S256H"].data == hashlib.sha256(manifest).digest()
    assert values["identity"].data.startswith(b"Practice-Every-Element, Culture=neutral, Version=")
    assert values["CF"].dword() == FLAGS_B.component_flags
    assert values["f!every.dll"].dword() == FLAGS_B.file_flags
    marks = [name for name in values if name.startswith("c!")]
    assert len(marks) == 1
    deployment = view.hive("COMPONENTS").key(rf"CanonicalData\Deployments\{marks[0][2:]}")
    assert deployment
    references = {one.name[:2]: one.data for one in deployment.values() if one.name[1] == "!"}
    identifier = b"Package_for_KB5000100~31bf3856ad364e35~amd64~~1.0.0.0.Every-Native"
    for mark, opaque in (("p!", b"18"), ("s!", b"12"), ("i!", b"7")):
        head = len(identifier).to_bytes(4, "little") + len(opaque).to_bytes(4, "little")
        assert references[mark] == head + identifier + opaque
    thumbprint = deployment.value("CatalogThumbprint")
    own = key_of(changes, "amd64_practice-every-deployment_")
    assert thumbprint
    assert (
        thumbprint.text()
        == hashlib.sha256(view.read(f"Windows/WinSxS/Manifests/{own}.manifest")).hexdigest()
    )


def test_destinations_are_hard_links_to_the_store(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    wim = build(SMALL)
    changes = changes_of(apply(expanded("every-element"), open_view(wim, 1), options))
    view = after(wim, changes)
    key = key_of(changes, "amd64_practice-every-element_")
    stored = view.find(f"Windows/WinSxS/{key}/linked.dll")
    assert stored
    assert {entry.path for entry in stored.inode.entries} == {
        f"Windows/WinSxS/{key}/linked.dll",
        "Program Files/Practice Every/linked.dll",
        "Program Files/Practice Every/second/linked-again.dll",
        "Windows/System32/linked.dll",
    }
    alone = view.find(f"Windows/WinSxS/{key}/payload-only.bin")
    assert alone
    assert len(alone.inode.entries) == 1
    wow = view.find("Windows/SysWOW64/every.dll")
    native = view.find("Windows/System32/every.dll")
    assert wow
    assert native
    assert wow.inode is not native.inode


def test_registry_content_of_both_views(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    wim = build(SMALL)
    view = after(wim, changes_of(apply(expanded("every-element"), open_view(wim, 1), options)))
    software = view.hive("SOFTWARE")
    every = software.key(r"Practice\Every")
    assert every
    value = every.value("Macro")
    assert value
    assert value.text() == r"C:\Windows\System32\every.dll,-1"
    assert "(A;CI;KA;;;S-1-5-80-" in display_sddl(every.security)
    redirected = software.value(r"Wow6432Node\Practice\Every\Redirected", "Path")
    assert redirected
    assert redirected.text() == r"C:\Windows\SysWOW64\every.dll"
    assert software.key(r"Practice\Every\Redirected") is None
    assert software.key(r"Classes\Wow6432Node\CLSID\{7072ACE0-0000-4000-8000-5072616374AA}")
    assert view.hive("SYSTEM").key(r"ControlSet001\Control\Practice")
    assert view.hive("NTUSER").key(r"Software\Practice")
    assert view.hive("DEFAULT").key(r"Software\Practice")


def test_a_value_that_may_change_is_kept_one_that_may_not_is_replaced(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    wim = build(SMALL)
    mine = ChangeSet(
        registry=(
            SetValue("SOFTWARE", r"Practice\Every", "Mutable", 1, "mine\0".encode("utf-16-le")),
            SetValue("SOFTWARE", r"Practice\Every", "Text", 1, "mine\0".encode("utf-16-le")),
            SetValue("SOFTWARE", r"Practice\Every", "Untouched", 1, "x\0".encode("utf-16-le")),
        )
    )
    outcome = apply(expanded("every-element"), after(wim, mine), options)
    key = after(wim, mine, changes_of(outcome)).hive("SOFTWARE").key(r"Practice\Every")
    assert key
    texts = {one.name: one.text() for one in key.values() if one.type == 1}
    assert texts["Mutable"] == "mine"
    assert texts["Text"] == 'quotes " & <angles>'
    assert texts["Untouched"] == "x"


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


def test_derived_caches_of_windows_are_dropped(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    wim = build(SMALL)
    name = "Package_for_KB5000006~31bf3856ad364e35~amd64~~1.0.0.0"
    cached = ChangeSet(
        registry=(
            CreateKey("SOFTWARE", rf"{CBS}\ApplicabilityEvaluationCache\{name}"),
            CreateKey("SOFTWARE", rf"{CBS}\ApplicabilityEvaluationCache\Another"),
            CreateKey("COMPONENTS", r"DerivedData\VersionedIndex\10.0 (x)\ComponentFamilies\a"),
        )
    )
    changes = changes_of(apply(expanded("small"), after(wim, cached), options))
    view = after(wim, cached, changes)
    cache = view.hive("SOFTWARE").key(rf"{CBS}\ApplicabilityEvaluationCache")
    assert cache
    assert [key.name for key in cache.subkeys()] == ["Another"]
    index = view.hive("COMPONENTS").key(r"DerivedData\VersionedIndex")
    assert index
    assert not list(index.subkeys())


def test_staged_updates_show_nothing_outside_the_store(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    wim = build(replace(SMALL, flags=FLAGS_B))
    outcome = apply(expanded("feature-languages"), open_view(wim, 1), options)
    changes = changes_of(outcome)
    links = [edit.path for edit in changes.tree if isinstance(edit, Link)]
    assert links == ["Program Files/Practice-Printing/en-US/Practice-Printing.exe.mui"]
    view = after(wim, changes)
    key = key_of(changes, "amd64_practice-games-component.resources_")
    assert view.exists(f"Windows/WinSxS/{key}/Practice-Games.exe.mui")
    flag = view.hive("COMPONENTS").value(
        rf"DerivedData\Components\{key}", "f!Practice-Games.exe.mui"
    )
    assert flag
    assert flag.dword() == FLAGS_B.staged_file_flags
    winners = {edit.key for edit in changes.registry if isinstance(edit, SetValue)}
    assert not any("games" in key.lower() and WINNERS in key for key in winners)
    name = "Practice-Optional-Package~31bf3856ad364e35~amd64~en-US~10.0.19041.1"
    states = view.hive("SOFTWARE").key(rf"{CBS}\Packages\{name}\Updates")
    assert states
    assert {one.name: one.dword() for one in states.values()} == {
        "Practice-Printing": 0x70,
        "Practice-Games": 0x40,
    }


def test_languages_that_the_image_has_not_are_left_out(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    outcome = apply(expanded("languages"), open_view(build(SMALL), 1), options)
    assert [name.split("~")[0] for name in outcome.packages] == [
        "Package_for_KB5000005",
        "Package_1_for_KB5000005",
        "Package_for_KB5000005_en-US",
    ]


@pytest.mark.parametrize(
    ("name", "verdict", "code"),
    [
        ("unsupported-service", Verdict.NOT_SUPPORTED, "advanced-new:memberships/Service"),
        ("unsupported-configuration", Verdict.NOT_SUPPORTED, "advanced-new:configuration"),
        ("unsupported-unknown", Verdict.NOT_SUPPORTED, "advanced-new:practiceInstaller"),
        ("driver", Verdict.NOT_SUPPORTED, "driver-element"),
        ("not-offline-capable", Verdict.NOT_SUPPORTED, "not-offline-capable"),
        ("missing-parent", Verdict.PREREQUISITE_MISSING, "parent"),
        ("wrong-build", Verdict.NOT_APPLICABLE, "build"),
        ("wrong-arch", Verdict.NOT_APPLICABLE, "arch"),
        ("stack-too-old", Verdict.PREREQUISITE_MISSING, "stack-too-old"),
        ("language-pack", Verdict.NOT_SUPPORTED, "language-pack"),
        ("servicing-stack", Verdict.NOT_SUPPORTED, "servicing-stack"),
        ("unknown-macro", Verdict.NOT_SUPPORTED, "macro"),
        ("service-pack", Verdict.NOT_SUPPORTED, "service-pack"),
        ("hotpatch", Verdict.NOT_SUPPORTED, "hotpatch"),
        ("corrupt-payload", Verdict.FAILED, "untrusted:payload-hash"),
        ("corrupt-manifest", Verdict.FAILED, "untrusted:manifest-hash"),
        ("missing-payload", Verdict.FAILED, "untrusted:payload-hash"),
        ("unsigned", Verdict.FAILED, "untrusted:catalog-signature"),
        ("foreign-root", Verdict.FAILED, "untrusted:catalog-chain"),
        ("wrong-catalog", Verdict.FAILED, "untrusted:package-hash"),
    ],
)
def test_what_is_refused_changes_nothing(
    build: Build,
    expanded: Expand,
    options: ApplyOptions,
    name: str,
    verdict: Verdict,
    code: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcome = apply(expanded(name), open_view(build(SMALL), 1), options)
    assert (outcome.verdict, outcome.code, outcome.changes) == (verdict, code, None)
    assert outcome.text
    if verdict is Verdict.NOT_SUPPORTED:
        place = caplog.messages.index(NOT_SUPPORTED_LINE)
        assert caplog.messages[place + 1].startswith(f"{code}: ")


def test_all_findings_are_listed_and_the_first_in_order_decides(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    """Unsupported and for another architecture: not applicable, with both reasons."""
    package = expanded("wrong-arch")
    outcome = apply(package, open_view(build(SMALL), 1), options)
    assert outcome.verdict is Verdict.NOT_APPLICABLE
    assert {finding.code for finding in outcome.findings} == {"arch", "parent"}


def test_an_image_with_pending_work_is_left_alone(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    pending = ChangeSet(registry=(CreateKey("SOFTWARE", rf"{CBS}\RebootPending"),))
    outcome = apply(expanded("small"), after(build(SMALL), pending), options)
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_SUPPORTED, "pending")


def test_an_image_that_teaches_nothing_is_refused_by_the_rule(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    bare = ChangeSet(registry=(DeleteKey("COMPONENTS", r"CanonicalData\Deployments"),))
    outcome = apply(expanded("small"), after(build(SMALL), bare), options)
    assert outcome.verdict is Verdict.NOT_SUPPORTED
    assert outcome.code.startswith("calibration:")


def test_an_image_without_windows_cannot_take_updates(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    view = open_view(build(SMALL), 1)
    view.tree.remove("Windows/System32/config/COMPONENTS")
    outcome = apply(expanded("small"), view, options)
    assert (outcome.verdict, outcome.code) == (Verdict.FAILED, "not-found")


def test_a_directory_where_a_file_belongs_fails_the_update(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    view = open_view(build(SMALL), 1)
    view.tree.make_directory("Windows/System32/every.dll/deep")
    outcome = apply(expanded("every-element"), view, options)
    assert (outcome.verdict, outcome.code) == (Verdict.FAILED, "path-conflict")
    assert outcome.changes is None


def test_an_image_whose_winners_are_gone_is_damaged(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    view = open_view(build(SMALL), 1)
    manifests = view.find("Windows/WinSxS/Manifests")
    assert manifests
    assert manifests.children
    name = next(
        entry.name
        for entry in manifests.children.values()
        if entry.name.startswith("amd64_practice-windows-shell_")
    )
    view.tree.remove(f"Windows/WinSxS/Manifests/{name}")
    outcome = apply(expanded("rollup"), view, options)
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_SUPPORTED, "image-damaged")


def test_cancelling_passes_through(build: Build, expanded: Expand, options: ApplyOptions) -> None:
    def cancel(event: Event) -> None:
        if event.phase == "stage components":
            raise Cancelled("by the test")

    with pytest.raises(Cancelled):
        apply(expanded("small"), open_view(build(SMALL), 1), options, cancel)


def ie_image(*, base: bytes | None, enabled: bool = True, parents: bool = True) -> ImageSpec:
    names = (FEATURE, "Microsoft-Windows-InternetExplorer-Package-ua")
    return replace(
        SMALL,
        base_manifest=base,
        extra_packages=internet_explorer() if parents else (),
        features=dict.fromkeys(names, enabled),
    )


@pytest.fixture
def language_package(real: Path, tmp_path: Path) -> ExpandedPackage:
    return expand(next((real / "cbs").glob("*en-US*.cab")), tmp_path / "en-us")


@pytest.fixture
def base_manifest(real: Path) -> bytes:
    return (real / "dcm" / "base_manifest.bin").read_bytes()


def test_a_real_package_installs_where_its_parents_are(
    build: Build, language_package: ExpandedPackage, base_manifest: bytes, options: ApplyOptions
) -> None:
    wim = build(ie_image(base=base_manifest))
    changes = changes_of(apply(language_package, open_view(wim, 1), options))
    assert [edit.path for edit in changes.tree if isinstance(edit, Link)] == [
        "Program Files (x86)/Internet Explorer/en-US/iexplore.exe.mui",
        "Program Files/Internet Explorer/en-US/iexplore.exe.mui",
    ]
    view = after(wim, changes)
    for package in (
        "Optional-Package~31bf3856ad364e35~amd64~en-US~11.0.19041.1",
        "Package-ua~31bf3856ad364e35~amd64~en-US~10.0.19041.1",
    ):
        key = rf"{CBS}\Packages\Microsoft-Windows-InternetExplorer-{package}"
        state = view.hive("SOFTWARE").value(key, "CurrentState")
        assert state
        assert state.dword() == 0x70
    names = {edit.path.rpartition("/")[2] for edit in changes.tree if isinstance(edit, PutFile)}
    assert {
        "wow64_microsoft-windows-i..-optional.resources_31bf3856ad364e35_11.0.19041.1_en-us_869a247f240b2f08.manifest",
        "amd64_microsoft-windows-i..oyment-languagepack_31bf3856ad364e35_10.0.19041.1_en-us_65e850fbcc050251.manifest",
    } <= names


def test_a_real_package_is_staged_while_its_feature_is_off(
    build: Build, language_package: ExpandedPackage, base_manifest: bytes, options: ApplyOptions
) -> None:
    wim = build(ie_image(base=base_manifest, enabled=False))
    changes = changes_of(apply(language_package, open_view(wim, 1), options))
    assert not [edit for edit in changes.tree if isinstance(edit, Link)]
    assert not [edit for edit in changes.registry if WINNERS in edit.key]
    payload = [e.path for e in changes.tree if isinstance(e, PutFile) and e.path.endswith(".mui")]
    assert len(payload) == 2


def test_a_real_package_tells_which_parent_it_misses(
    build: Build, language_package: ExpandedPackage, base_manifest: bytes, options: ApplyOptions
) -> None:
    wim = build(ie_image(base=base_manifest, parents=False))
    outcome = apply(language_package, open_view(wim, 1), options)
    assert (outcome.verdict, outcome.code) == (Verdict.PREREQUISITE_MISSING, "parent")
    parent = (
        "Microsoft-Windows-InternetExplorer-Optional-Package~31bf3856ad364e35~amd64~~11.0.19041.1"
    )
    assert outcome.text == parent


def test_compressed_manifests_need_the_text_in_the_image(
    build: Build, language_package: ExpandedPackage, options: ApplyOptions
) -> None:
    wim = build(ie_image(base=None))
    outcome = apply(language_package, open_view(wim, 1), options)
    assert (outcome.verdict, outcome.code) == (
        Verdict.NOT_SUPPORTED,
        "calibration:base-manifest",
    )


def test_the_real_neutral_package_is_refused_with_the_elements_in_the_way(
    build: Build, real: Path, tmp_path: Path, base_manifest: bytes, options: ApplyOptions
) -> None:
    wim = build(ie_image(base=base_manifest, parents=False))
    neutral = expand(next((real / "cbs").glob("*amd64~~.cab")), tmp_path / "neutral")
    outcome = apply(neutral, open_view(wim, 1), options)
    assert outcome.verdict is Verdict.NOT_SUPPORTED
    named = {finding.code for finding in outcome.findings}
    assert {
        "advanced-new:configuration",
        "advanced-new:ConfigureIEOptionalComponentsAI",
        "advanced-new:SetIEInstalledDateAI",
        "advanced-new:feature",
    } <= named


def test_real_packages_are_not_trusted_without_their_root(
    build: Build, language_package: ExpandedPackage, base_manifest: bytes, options: ApplyOptions
) -> None:
    wim = build(ie_image(base=base_manifest))
    nobody = replace(options, trust=TrustPolicy(Anchors()))
    outcome = apply(language_package, open_view(wim, 1), nobody)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.code.startswith("untrusted:catalog-")


def test_differentials_do_not_get_this_far(expanded: Expand) -> None:
    with pytest.raises(NotSupported, match="differentials") as refused:
        expanded("psfx")
    assert refused.value.reason == "psfx"


def test_a_real_package_with_a_container_index_asks_for_its_parents(
    build: Build, real: Path, tmp_path: Path, options: ApplyOptions
) -> None:
    package = expand(real / "cbs" / "Windows6.1-KB2883457-amd64.cab", tmp_path / "x")
    outcome = apply(package, open_view(build(SMALL), 1), options)
    assert (outcome.verdict, outcome.code) == (Verdict.PREREQUISITE_MISSING, "parent")
    assert outcome.text.startswith("WinPE-SRT-Package~")
    assert outcome.changes is None


def test_generic_rights_never_reach_the_hive(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    changes = changes_of(apply(expanded("every-element"), open_view(build(SMALL), 1), options))
    for edit in changes.registry:
        if isinstance(edit, CreateKey) and edit.security:
            text = display_sddl(edit.security)
            assert not any(f";{right};" in text for right in ("GA", "GR", "GW", "GX"))
    assert KEY_RIGHTS
