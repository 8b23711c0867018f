"""What an update writes: store, hard links, registry, and nothing that is derived."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from offline.components.install.story import (
    CBS,
    SMALL,
    WINNERS,
    Build,
    Expand,
    after,
    changes_of,
    key_of,
)
from wimsmith.offline.changes import (
    ChangeSet,
    CreateKey,
    Link,
    SetValue,
    load,
    save,
)
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.image import open_view
from wimsmith.offline.security import KEY_RIGHTS, display_sddl
from wimsmith.offline.verdicts import Verdict
from wimsmith.practice.spec import FLAGS_A, FLAGS_B, Generation, StoreFlags


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


def test_generic_rights_never_reach_the_hive(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    changes = changes_of(apply(expanded("every-element"), open_view(build(SMALL), 1), options))
    for edit in changes.registry:
        if isinstance(edit, CreateKey) and edit.security:
            text = display_sddl(edit.security)
            assert not any(f";{right};" in text for right in ("GA", "GR", "GW", "GX"))
    assert KEY_RIGHTS
