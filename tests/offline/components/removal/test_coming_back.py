"""A newer update goes, and what it had replaced is there again."""

import logging
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from offline.components.removal.kit import (
    CBS,
    WINNERS,
    Workshop,
    lasting_differences,
    number,
    text,
)
from offline.components.removal.updates import NEW, OLD, component, update
from wimsmith.offline.changes import (
    ChangeSet,
    Content,
    MakeDirectory,
    PutFile,
    Remove,
    SetValue,
    Times,
)
from wimsmith.practice.content import content_bytes
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import Identity, component_key, winners_key
from wimsmith.practice.presets import preset
from wimsmith.practice.spec import (
    FLAGS_A,
    FLAGS_B,
    ComponentSpec,
    FileSpec,
    Generation,
    KeySpec,
    StoreFlags,
    UpdateEntry,
    ValueSpec,
)

Opened = Callable[..., Workshop]
LIBRARY = "Windows/System32/reversible.dll"


def extracted(wim: Path, path: str, folder: Path) -> bytes:
    """A file of an image, by wimlib."""
    arguments = ["--no-acls", "--no-attributes", f"--dest-dir={folder}"]
    subprocess.run(
        ["wimlib-imagex", "extract", wim, "1", f"/{path}", *arguments],
        check=True,
        capture_output=True,
    )
    return (folder / path.rpartition("/")[2]).read_bytes()


def hivexsh(hive: Path, key: str, value: str) -> str:
    """A value of a hive, by hivexsh."""
    done = subprocess.run(
        ["hivexsh", hive],
        input=f"cd {key}\nlsval {value}\n",
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("generation", "flags"),
    [
        (Generation.WINDOWS_7, FLAGS_A),
        (Generation.WINDOWS_10, FLAGS_B),
        (Generation.WINDOWS_11, FLAGS_A),
    ],
)
def test_the_older_version_shows_itself_again(
    workshop: Opened, generation: Generation, flags: StoreFlags, tmp_path: Path
) -> None:
    made = workshop(generation=generation, flags=flags)
    made.install(update(made.maker, "KB5000200", OLD))
    before = made.observe()
    newer = made.install(update(made.maker, "KB5000201", NEW))
    replaced = extracted(made.commit(), LIBRARY, tmp_path)
    assert replaced == content_bytes(program(f"reversible {NEW}"))

    outcome = made.removed(newer)

    assert outcome.packages == (newer,)
    wim = made.commit()
    assert extracted(wim, LIBRARY, tmp_path) == content_bytes(program(f"reversible {OLD}"))
    extracted(wim, "Windows/System32/config/SOFTWARE", tmp_path)
    assert hivexsh(tmp_path / "SOFTWARE", r"\Practice\Reversible", "Version") == str(OLD)
    after = made.observe()
    key = component_key(component(made.maker, OLD).identity)
    assert after.entries[LIBRARY.lower()].links == {
        LIBRARY.lower(),
        "program files/reversible/also/reversible.dll",
        f"windows/winsxs/{key}/reversible.dll",
    }
    assert lasting_differences(before, after) == []


def test_a_newer_version_of_the_same_package_gives_its_place_back(workshop: Opened) -> None:
    """The older was superseded; it is installed again, and the index names it."""
    made = workshop()
    older = made.install(preset("rollup", made.generation))
    before = made.observe()
    newer = made.install(preset("rollup-v2", made.generation))
    packages = rf"{CBS}\Packages"
    assert number(made.observe(), "SOFTWARE", rf"{packages}\{older}", "CurrentState") == 0x50

    outcome = made.removed(newer)

    assert outcome.packages == (newer, "Package_1_for_KB5000002" + newer[newer.index("~") :])
    after = made.observe()
    assert number(after, "SOFTWARE", rf"{packages}\{older}", "CurrentState") == 0x70
    index = rf"{CBS}\PackageIndex\Package_for_RollupFix~31bf3856ad364e35~amd64~~0.0.0.0"
    assert text(after, "SOFTWARE", index) == older
    current = r"Microsoft\Windows NT\CurrentVersion"
    assert number(after, "SOFTWARE", current, "UBR") == 501
    assert lasting_differences(before, after) == []


def test_of_three_versions_the_next_lower_one_comes_back(workshop: Opened) -> None:
    made = workshop()
    states, names = [made.observe()], []
    for place, revision in enumerate((OLD, OLD + 50, NEW)):
        names.append(made.install(update(made.maker, f"KB500021{place}", revision)))
        states.append(made.observe())
    for place in (2, 1, 0):
        made.removed(names[place])
        assert lasting_differences(states[place], made.observe()) == []


def test_removing_the_older_one_leaves_the_newer_in_place(workshop: Opened) -> None:
    """Its payload leaves the store, and nothing outside the store changes."""
    made = workshop()
    older = made.install(update(made.maker, "KB5000200", OLD))
    made.install(update(made.maker, "KB5000201", NEW))
    before = made.observe()
    made.removed(older)
    after = made.observe()
    key = component_key(component(made.maker, OLD).identity)
    assert not [path for path in after.entries if key in path]
    gone = before.entries.keys() - after.entries.keys()
    assert gone
    assert all(
        path.startswith(("windows/winsxs", "windows/servicing", "windows/system32/catroot"))
        for path in gone
    )
    family = rf"{WINNERS}\{winners_key(component(made.maker, OLD).identity)}"
    values = after.hives["SOFTWARE"][
        f"{family}\\{made.maker.facts.version.rpartition('.')[0]}".lower()
    ]
    assert set(values.values) == {"", made.maker.version(NEW)}
    assert text(after, "SOFTWARE", r"Practice\Reversible", "Version") == str(NEW)
    left = after.hives["SOFTWARE"][r"practice\reversible"].values
    assert set(left) == {"version", "choice", "onlynew"}


def test_a_value_that_users_changed_stays_changed(workshop: Opened) -> None:
    """Both versions call it mutable, so neither coming nor going touches it."""
    made = workshop()
    made.install(update(made.maker, "KB5000200", OLD))
    newer = made.install(update(made.maker, "KB5000201", NEW))
    own = "my own\0".encode("utf-16-le")
    made.edit(SetValue("SOFTWARE", r"Practice\Reversible", "Choice", 1, own))
    made.removed(newer)
    assert text(made.observe(), "SOFTWARE", r"Practice\Reversible", "Choice") == "my own"


def test_a_component_that_two_packages_hold_stays_with_the_other(workshop: Opened) -> None:
    made = workshop()
    shared = component(made.maker, OLD)
    first = made.install(update(made.maker, "KB5000200", OLD, shared))
    before = made.observe()
    second = made.install(update(made.maker, "KB5000201", OLD, shared))
    made.removed(second)
    assert lasting_differences(before, made.observe()) == []
    made.removed(first)
    assert not [path for path in made.observe().entries if "reversible" in path and "." in path]


def test_what_others_own_as_well_stays_or_is_theirs_again(workshop: Opened) -> None:
    """A file, a value, a key and a folder of one component that another overwrote."""
    made = workshop()
    mine, theirs = (
        ComponentSpec(
            Identity(f"Practice-{name}", made.maker.version(OLD)),
            (FileSpec("common.dll", program(name)),),
            (
                KeySpec(
                    "HKEY_LOCAL_MACHINE\\SOFTWARE\\Practice\\Common",
                    (ValueSpec("Who", "REG_SZ", name), ValueSpec(name, "REG_SZ", "here")),
                ),
            ),
        )
        for name in ("Mine", "Theirs")
    )
    made.install(update(made.maker, "KB5000200", OLD, mine))
    before = made.observe()
    theirs_package = made.install(update(made.maker, "KB5000201", OLD, theirs))
    assert text(made.observe(), "SOFTWARE", r"Practice\Common", "Who") == "Theirs"
    made.removed(theirs_package)
    assert lasting_differences(before, made.observe()) == []


@pytest.mark.parametrize(
    ("name", "generation"),
    [
        *(("every-element", one) for one in Generation),
        *(
            (name, Generation.WINDOWS_10)
            for name in (
                "languages",
                "branches",
                "trigger",
                "container-index",
                "feature-languages",
            )
        ),
    ],
)
def test_a_whole_update_leaves_nothing_behind(
    workshop: Opened, name: str, generation: Generation
) -> None:
    made = workshop(generation=generation)
    before = made.observe()
    made.removed(made.install(preset(name, generation)))
    assert lasting_differences(before, made.observe()) == []


def test_copies_for_a_failing_start_go_with_their_version(workshop: Opened) -> None:
    made = workshop()
    old, new = (
        replace(component(made.maker, revision), memberships=("BootRecovery",))
        for revision in (OLD, NEW)
    )
    made.install(update(made.maker, "KB5000200", OLD, old))
    before = made.observe()
    newer = made.install(update(made.maker, "KB5000201", NEW, new))
    assert [
        path
        for path in made.observe().entries
        if component_key(new.identity) in path and "backup/" in path
    ]
    made.removed(newer)
    assert lasting_differences(before, made.observe()) == []


def test_versions_side_by_side_do_not_disturb_each_other(workshop: Opened) -> None:
    """An SxS component of another branch goes; the one beside it keeps its place."""
    made = workshop()

    def beside(version: str) -> ComponentSpec:
        identity = Identity("Practice-Beside", version, version_scope="", type="win32")
        return ComponentSpec(identity, (FileSpec("beside.dll", program(version), None),))

    made.install(update(made.maker, "KB5000200", OLD, beside("1.0.5.0")))
    before = made.observe()
    other = made.install(update(made.maker, "KB5000201", NEW, beside("2.0.1.0")))
    made.removed(other)
    assert lasting_differences(before, made.observe()) == []


def test_the_wow64_twin_comes_back_as_well(workshop: Opened) -> None:
    made = workshop()

    def twin(maker: Maker, revision: int) -> ComponentSpec:
        found = component(maker, revision)
        return replace(found, identity=replace(found.identity, architecture="wow64"))

    made.install(update(made.maker, "KB5000200", OLD, twin(made.maker, OLD)))
    before = made.observe()
    newer = made.install(update(made.maker, "KB5000201", NEW, twin(made.maker, NEW)))
    made.removed(newer)
    assert lasting_differences(before, made.observe()) == []


def test_branches_that_were_both_installed_go_together(workshop: Opened) -> None:
    """A package that brings two versions of one family, both installed, leaves neither."""
    made = workshop()
    entries = [
        UpdateEntry(
            f"both-{revision}",
            made.maker.deployment(
                f"Practice-Both-{revision}", revision, component(made.maker, revision)
            ),
        )
        for revision in (OLD, NEW)
    ]
    before = made.observe()
    package = made.install(made.maker.package("KB5000220", "1.0.0.0", *entries))
    made.removed(package)
    assert lasting_differences(before, made.observe()) == []


def test_what_comes_back_takes_its_names_from_whatever_stands_there(workshop: Opened) -> None:
    """A name that the newer version lacks may have been given to something else meanwhile."""
    made = workshop()
    made.install(update(made.maker, "KB5000100", OLD, component(made.maker, OLD)))
    before = made.observe()
    name = made.install(update(made.maker, "KB5000200", NEW, component(made.maker, NEW)))
    path, own = "Program Files/Reversible/only-old.dat", made.bench.folder / "own"
    own.write_bytes(b"put there by hand")
    content = Content.of_file(own)
    put = PutFile(path, content.sha1, None, 0x20, Times(1, 1, 1))
    value = SetValue("SOFTWARE", r"Practice\Reversible", "OnlyOld", 4, b"\xff\0\0\0")
    made.sets.append(ChangeSet((put,), (value,), {content.sha1: content}))
    made.removed(name)
    assert lasting_differences(before, made.observe()) == []


@pytest.mark.parametrize("is_copy", [False, True])
def test_a_file_that_somebody_has_replaced_is_left_and_told(
    workshop: Opened, caplog: pytest.LogCaptureFixture, *, is_copy: bool
) -> None:
    """A copy of the payload that is no hard link of it is the component's own, and goes."""
    made = workshop(components=40)
    name = made.install(update(made.maker, "KB5000200", NEW))
    path, own = LIBRARY, made.bench.folder / "own"
    payload = content_bytes(program(f"reversible {NEW}"))
    own.write_bytes(payload if is_copy else b"put there by an administrator")
    content = Content.of_file(own)
    put = PutFile(path, content.sha1, None, 0x20, Times(1, 1, 1))
    made.sets.append(ChangeSet((put,), (), {content.sha1: content}))

    with caplog.at_level(logging.WARNING, "wimsmith.offline"):
        made.removed(name)

    after = made.observe()
    assert (path.lower() in after.entries) is not is_copy
    assert "program files/reversible/also/reversible.dll" not in after.entries
    warned = [one.getMessage() for one in caplog.records if path in one.getMessage()]
    if is_copy:
        assert warned == []
    else:
        assert len(warned) == 1
        assert after.entries[path.lower()].sha1 == content.sha1


def test_a_folder_in_the_place_of_a_file_is_left_with_what_is_in_it(workshop: Opened) -> None:
    made = workshop(components=40)
    name = made.install(update(made.maker, "KB5000200", NEW))
    path, own = LIBRARY, made.bench.folder / "own"
    own.write_bytes(b"put there by an administrator")
    content = Content.of_file(own)
    edits = (
        Remove(path),
        MakeDirectory(path),
        PutFile(f"{path}/inside", content.sha1, None, 0x20, Times(1, 1, 1)),
    )
    made.sets.append(ChangeSet(edits, (), {content.sha1: content}))
    made.removed(name)
    assert f"{path.lower()}/inside" in made.observe().entries
