"""Packages that nobody would think of: whatever is in them, image and manifests agree afterwards.

What hypothesis puts together (files, keys, folders, access lists, 32-bit halves, assemblies side by
side) is installed into a small image; the oracle reads the same manifests by its own rules.
"""

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline.workbench import Bench, agrees, bench, update_file
from oracle.security import of_bytes, of_sddl
from wimsmith.offline.security import FILE_RIGHTS, KEY_RIGHTS, stored_descriptor
from wimsmith.practice.maker import Maker
from wimsmith.practice.names import Identity
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.security import TRUSTED_INSTALLER, Ace, Descriptor, Inherit
from wimsmith.practice.spec import (
    ComponentSpec,
    Content,
    DirectorySpec,
    FileSpec,
    Generation,
    ImageSpec,
    KeySpec,
    UpdateEntry,
    ValueSpec,
)

MAKER = Maker(Generation.WINDOWS_10)
SMALL = ImageSpec(size_bytes=1 << 19, components=2)
WHO = st.sampled_from(["SY", "BA", "BU", "AU", "WD", "CO", "AC", TRUSTED_INSTALLER, "S-1-5-32-547"])
SPREAD = [Inherit.OI, Inherit.CI, Inherit.OI | Inherit.CI, Inherit.NONE]


@st.composite
def entries(draw: st.DrawFn, rights: tuple[str, ...]) -> Ace:
    flags = draw(st.sampled_from(SPREAD))
    if flags and draw(st.booleans()):
        flags |= draw(st.sampled_from([Inherit.IO, Inherit.NP]))
    kind = draw(st.sampled_from(["A", "A", "D"]))
    return Ace(draw(st.sampled_from(rights)), draw(WHO), flags, kind)


@st.composite
def descriptors(draw: st.DrawFn, *, for_key: bool) -> Descriptor:
    specific = ("KA", "KR") if for_key else ("FA",)
    rights = (*specific, "GA", "GR", "GRGX", "GW", "0x1301bf", "0x1")
    audit = st.builds(
        Ace, st.just("0x000D0116"), WHO, st.just(Inherit.SA | Inherit.FA), st.just("AU")
    )
    return Descriptor(
        owner=draw(st.sampled_from(["SY", "BA", TRUSTED_INSTALLER])),
        group=draw(st.sampled_from(["SY", TRUSTED_INSTALLER])),
        access=tuple(draw(st.lists(entries(rights), max_size=5))),
        audit=tuple(draw(st.lists(audit, max_size=2))),
        protected=draw(st.booleans()),
    )


@st.composite
def components(draw: st.DrawFn, number: int) -> ComponentSpec:
    """A component that claims no place of another one: every name in it holds its number."""
    architecture = draw(st.sampled_from(["amd64", "amd64", "wow64", "x86", "msil"]))
    side_by_side = draw(st.booleans()) and architecture != "wow64"
    named = {
        "FILE": draw(descriptors(for_key=False)),
        "FOLDER": draw(descriptors(for_key=False)),
        "KEY": draw(descriptors(for_key=True)),
    }
    folder = (
        f"$(runtime.{draw(st.sampled_from(['system32', 'programFiles', 'drivers']))})\\Up {number}"
    )
    return ComponentSpec(
        Identity(
            f"Practice-Up-{number}",
            draw(st.sampled_from(["10.0.19041.300", "5.1.2600.7", "11.0.1.1"])),
            architecture,
            version_scope="" if side_by_side else "nonSxS",
            type="win32" if side_by_side else "",
        ),
        files=tuple(draw(st.lists(files(number, folder), max_size=3, unique_by=lambda f: f.name))),
        keys=tuple(draw(st.lists(keys(number), max_size=3, unique_by=lambda k: k.path.lower()))),
        directories=(DirectorySpec(folder, "FOLDER", draw(st.booleans())),),
        memberships=(),
        descriptors=named,
        side_by_side=side_by_side,
    )


def files(number: int, folder: str) -> st.SearchStrategy[FileSpec]:
    return st.builds(
        FileSpec,
        name=st.sampled_from([f"up{number}.dll", f"UP {number}.Txt", f"ü{number}.dat"]),
        content=st.builds(Content, data=st.binary(max_size=40)),
        destination=st.sampled_from([None, folder, f"{folder}\\deeper\\"]),
        security=st.sampled_from([None, "FILE"]),
        attributes=st.sampled_from([None, "hidden"]),
    )


def keys(number: int) -> st.SearchStrategy[KeySpec]:
    roots = [
        "HKEY_LOCAL_MACHINE\\SOFTWARE\\Up",
        "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Perflib\\Up",
        "HKEY_CLASSES_ROOT\\Interface\\Up",
        "HKEY_CLASSES_ROOT\\Up.File.",
        "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Up",
        "HKEY_USERS\\.DEFAULT\\Software\\Up",
        "HKEY_CURRENT_USER\\Software\\Classes\\CLSID\\Up",
    ]
    texts = st.text(st.characters(codec="utf-8", exclude_characters='"$\0'), max_size=12).filter(
        lambda text: text.isprintable()
    )
    values = st.one_of(
        st.builds(ValueSpec, texts, st.sampled_from(["REG_SZ", "REG_EXPAND_SZ"]), texts),
        st.builds(ValueSpec, texts, st.just("REG_MULTI_SZ"), st.just('"a","b, c"')),
        st.builds(
            ValueSpec,
            texts,
            st.just("REG_DWORD"),
            st.integers(0, 0xFFFFFFFF).map(lambda n: f"{n:#x}"),
        ),
        st.builds(
            ValueSpec,
            texts,
            st.sampled_from(["REG_BINARY", "REG_NONE", "REG_QWORD", "00020001", "ffff0001"]),
            st.binary(max_size=9).map(bytes.hex),
        ),
    )
    return st.builds(
        KeySpec,
        path=st.sampled_from([f"{root}{number}" for root in roots]),
        values=st.lists(values, max_size=3, unique_by=lambda one: one.name.upper()).map(tuple),
        security=st.sampled_from([None, "KEY"]),
        owner=st.sampled_from([None, True, False]),
    )


@cache
def image() -> tuple[Bench, Callable[[], None]]:
    """One image for all packages; each is installed into a bench of its own."""
    folder = tempfile.TemporaryDirectory()
    return bench(Path(folder.name), PracticeRoot.new(), SMALL), folder.cleanup


def install_and_compare(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 3))
    parts = [data.draw(components(number)) for number in range(count)]
    deployment = MAKER.deployment("Practice-Up", 300, *parts)
    package = MAKER.package("KB5075001", "1.0.0.0", UpdateEntry("up", deployment))
    base, _ = image()
    with tempfile.TemporaryDirectory() as folder:
        made = Bench(Path(folder), base.root, base.flags)
        made.base.hardlink_to(base.base)
        assert agrees(made, update_file(made, package)) == []


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_is_in_a_package_is_installed_as_its_manifests_say(data: st.DataObject) -> None:
    install_and_compare(data)


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_many_packages_are_installed_as_their_manifests_say(data: st.DataObject) -> None:
    install_and_compare(data)


@settings(max_examples=60, deadline=None)
@given(descriptors(for_key=False), descriptors(for_key=True))
def test_access_lists_are_stored_as_another_reader_expects(
    of_file: Descriptor, of_key: Descriptor
) -> None:
    stored = of_bytes(stored_descriptor(of_file.sddl, FILE_RIGHTS))
    assert stored == of_sddl(of_file.sddl, for_key=False)
    stored = of_bytes(stored_descriptor(of_key.sddl, KEY_RIGHTS))
    assert stored == of_sddl(of_key.sddl, for_key=True)
    assert stored == of_bytes(of_key.of_key)
