"""Generated images: what wimlib, 7-Zip and three hive readers say of them."""

import hashlib
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from practice.outside import (
    Builder,
    Keys,
    apply,
    libregf,
    listing,
    number_of,
    python_registry,
    regipy_names,
    run,
    text_of,
    unpack,
)
from wimsmith.errors import Cancelled
from wimsmith.offline.progress import Event
from wimsmith.practice.image import build_image
from wimsmith.practice.names import Identity, component_key, winners_key
from wimsmith.practice.presets import internet_explorer, stand_in
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import FLAGS_A, FLAGS_B, Generation, ImageSpec, StoreFlags

CBS = "microsoft\\windows\\currentversion\\component based servicing"
COMPONENTS = "deriveddata\\components"
DEPLOYMENTS = "canonicaldata\\deployments"
CATALOGS = "canonicaldata\\catalogs"
WINNERS = "microsoft\\windows\\currentversion\\sidebyside\\winners"
CONFIG = "/Windows/System32/config"
HIVES = ("SOFTWARE", "SYSTEM", "COMPONENTS", "DEFAULT", "SAM", "SECURITY")
SMALL = ImageSpec(size_bytes=600 << 10, components=6)


def hives(wim: Path, target: Path, index: int = 1) -> dict[str, Keys]:
    """SOFTWARE, SYSTEM, COMPONENTS and the default user's hive, as python-registry reads them."""
    names = [*(f"{CONFIG}/{name}" for name in HIVES), "/Users/Default/NTUSER.DAT"]
    unpack(wim, index, target, *names)
    return {path.name: python_registry(path) for path in target.iterdir()}


def below(keys: Keys, prefix: str) -> dict[str, dict[str, tuple[int, bytes]]]:
    """Keys directly below one, by name."""
    start = len(prefix) + 1
    return {
        path[start:]: dict(values)
        for path, values in keys.items()
        if path.startswith(f"{prefix}\\") and "\\" not in path[start:]
    }


def test_wimlib_and_7z_find_nothing_wrong(build: Builder, generation: Generation) -> None:
    wim = build(replace(SMALL, generation=generation, indexes=2))
    run("wimlib-imagex", "verify", wim)
    run("7z", "t", wim)


@pytest.mark.parametrize(
    ("generation", "major", "minor", "build_number"),
    [("7601", "6", "1", "7601"), ("19041", "10", "0", "19041"), ("26100", "10", "0", "26100")],
)
def test_the_xml_says_which_windows_it_is(
    build: Builder, generation: str, major: str, minor: str, build_number: str
) -> None:
    wim = build(replace(SMALL, generation=Generation(generation), indexes=2))
    output = run("wimlib-imagex", "info", wim)
    assert re.findall(r"^Architecture: +(\S+)", output, re.MULTILINE) == ["x86_64"] * 2
    assert re.findall(r"^Major Version: +(\S+)", output, re.MULTILINE) == [major] * 2
    assert re.findall(r"^Minor Version: +(\S+)", output, re.MULTILINE) == [minor] * 2
    assert re.findall(r"^Build: +(\S+)", output, re.MULTILINE) == [build_number] * 2
    assert re.findall(r"^Languages: +(\S+)", output, re.MULTILINE) == ["en-US"] * 2
    editions = re.findall(r"^Edition ID: +(\S+)", output, re.MULTILINE)
    assert editions[0] == "Professional"
    assert editions[1] != editions[0]


def test_the_same_specification_gives_the_same_bytes(tmp_path: Path, root: PracticeRoot) -> None:
    spec = replace(SMALL, indexes=2)
    first = build_image(spec, tmp_path / "1.wim", root=root)
    assert build_image(spec, tmp_path / "2.wim", root=root).sha256 == first.sha256
    other = build_image(replace(spec, seed="other"), tmp_path / "3.wim", root=root)
    assert other.sha256 != first.sha256


def test_nothing_but_the_image_and_the_root_is_left_behind(tmp_path: Path) -> None:
    build_image(replace(SMALL, size_bytes=3 << 20), tmp_path / "sub" / "a.wim")
    names = {path.name for path in (tmp_path / "sub").iterdir()}
    assert names == {"a.wim", "practice-root.pem", "practice-root.key"}


def test_a_cancelled_generation_leaves_no_image(tmp_path: Path, root: PracticeRoot) -> None:
    def cancel(event: Event) -> None:
        if event.phase == "generate" and event.done > 100_000:
            raise Cancelled(event.phase)

    with pytest.raises(Cancelled):
        build_image(SMALL, tmp_path / "a.wim", root=root, progress=cancel)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size_bytes", [1 << 20, 4 << 20, 12 << 20])
def test_the_size_is_about_what_was_asked_for(build: Builder, size_bytes: int) -> None:
    wim = build(ImageSpec(size_bytes=size_bytes))
    assert 0.8 * size_bytes < wim.stat().st_size < 1.5 * size_bytes + (1 << 20)


def test_a_second_index_shares_nearly_all_content(build: Builder) -> None:
    one = build(replace(SMALL, size_bytes=4 << 20)).stat().st_size
    two = build(replace(SMALL, size_bytes=4 << 20, indexes=2)).stat().st_size
    assert two < 1.2 * one


def test_three_hive_readers_see_the_same(image: Path, tmp_path: Path) -> None:
    names = [*(f"{CONFIG}/{name}" for name in HIVES), "/Users/Default/NTUSER.DAT"]
    unpack(image, 1, tmp_path / "out", *names)
    for path in (tmp_path / "out").iterdir():
        keys = python_registry(path)
        assert {key: set(values) for key, values in keys.items()} == regipy_names(path)
        assert _comparable(libregf(path)) == _comparable(keys)


def _comparable(keys: Keys) -> Keys:
    """Without the bytes of values that libregf misreads."""
    return {
        key: {name: (kind, data if len(data) > 3 else b"") for name, (kind, data) in values.items()}
        for key, values in keys.items()
    }


def test_hives_tell_version_architecture_and_language(image: Path, tmp_path: Path) -> None:
    found = hives(image, tmp_path / "out")
    version = found["SOFTWARE"]["microsoft\\windows nt\\currentversion"]
    assert number_of(version["CurrentMajorVersionNumber"]) == 10
    assert text_of(version["CurrentBuildNumber"]) == "19041"
    assert number_of(version["UBR"]) == 264
    assert text_of(version["EditionID"]) == "Professional"
    environment = found["SYSTEM"]["controlset001\\control\\session manager\\environment"]
    assert text_of(environment["PROCESSOR_ARCHITECTURE"]) == "AMD64"
    assert text_of(found["SYSTEM"]["controlset001\\control\\nls\\language"]["Default"]) == "0409"
    assert number_of(found["SYSTEM"]["select"]["Default"]) == 1


def test_the_component_store_is_closed(image: Path, tmp_path: Path) -> None:
    """Every key has its file and every file its key, as in installed Windows."""
    found = hives(image, tmp_path / "hives")
    tree = apply(image, 1, tmp_path / "tree") / "Windows"
    components = below(found["COMPONENTS"], COMPONENTS)
    deployments = below(found["COMPONENTS"], DEPLOYMENTS)
    catalogs = below(found["COMPONENTS"], CATALOGS)
    manifests = {path.stem: path.read_bytes() for path in (tree / "WinSxS/Manifests").iterdir()}
    assert set(components) == set(manifests)
    for name, values in components.items():
        assert values["S256H"][1] == hashlib.sha256(manifests[name]).digest()
        folder = tree / "WinSxS" / name
        payload = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        assert sorted(one[2:].lower() for one in values if one.startswith("f!")) == [
            one.lower()[:42] if len(one) < 26 else _long(values, one) for one in payload
        ]
        assert {one[2:] for one in values if one.startswith("c!")} <= set(deployments)
    files = {path.stem for path in (tree / "WinSxS/Catalogs").iterdir()}
    assert files == set(catalogs)
    for path in (tree / "WinSxS/Catalogs").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def _long(values: dict[str, tuple[int, bytes]], name: str) -> str:
    """The shortened value name that begins as `name` does."""
    return next(one[2:].lower() for one in values if one[2:27] == name[:25])


def test_packages_have_their_files_and_are_indexed(image: Path, tmp_path: Path) -> None:
    software = hives(image, tmp_path / "out")["SOFTWARE"]
    packages = below(software, f"{CBS}\\packages")
    entries = {path.lower() for path in listing(image)}
    for name, values in packages.items():
        assert f"/windows/servicing/packages/{name}.mum" in entries
        assert f"/windows/servicing/packages/{name}.cat" in entries
        assert text_of(values["InstallName"]).lower() == f"{name}.mum"
    states = Counter(number_of(values["CurrentState"]) for values in packages.values())
    assert states[0x50] == 2
    assert states[0x70] == len(packages) - 2
    index = below(software, f"{CBS}\\packageindex")
    newest = text_of(index["package_for_kb4000001~31bf3856ad364e35~amd64~~0.0.0.0"][""])
    assert newest.endswith("~10.0.1.2")
    assert f"{CBS}\\rebootpending" not in software
    assert f"{CBS}\\packagespending" not in software


def test_the_newest_version_of_a_family_wins(image: Path, tmp_path: Path) -> None:
    software = hives(image, tmp_path / "out")["SOFTWARE"]
    family = winners_key(Identity("Practice-Windows-Shell", "10.0.19041.1"))
    branch = software[f"{WINNERS}\\{family}\\10.0"]
    assert text_of(branch[""]) == "10.0.19041.264"
    assert branch["10.0.19041.1"][1] == branch["10.0.19041.264"][1] == b"\1"
    entries = listing(image)
    newest = component_key(Identity("Practice-Windows-Shell", "10.0.19041.264"))
    assert (
        entries["/Windows/System32/shell32.dll"]["Hash"]
        == entries[f"/Windows/WinSxS/{newest}/shell32.dll"]["Hash"]
    )


def test_a_staged_version_is_in_the_store_and_wins_nothing(image: Path, tmp_path: Path) -> None:
    found = hives(image, tmp_path / "out")
    staged = Identity("Practice-Windows-Fix", "10.0.19041.4003")
    assert f"{COMPONENTS}\\{component_key(staged)}" in found["COMPONENTS"]
    branch = found["SOFTWARE"][f"{WINNERS}\\{winners_key(staged)}\\10.0"]
    assert set(branch) == {"", "10.0.19041.2", "10.0.19041.3"}
    entries = listing(image)
    linked = entries["/Windows/System32/practice-fix.dll"]["Hash"]
    assert entries[f"/Windows/WinSxS/{component_key(staged)}/practice-fix.dll"]["Hash"] != linked


def test_system_files_are_links_into_the_store(image: Path) -> None:
    entries = listing(image)
    groups: dict[str, list[str]] = {}
    for path, entry in entries.items():
        if entry.get("Link Group ID", "0x0000000000000000") != "0x0000000000000000":
            groups.setdefault(entry["Link Group ID"], []).append(path)
    group = entries["/Windows/System32/kernel32.dll"]["Link Group ID"]
    assert len(groups[group]) == 2
    assert any("/WinSxS/amd64_practice-windows-base_" in path for path in groups[group])
    for paths in groups.values():
        assert any("/WinSxS/" in path for path in paths)


def test_entries_have_descriptors_short_names_streams_and_reparse_points(image: Path) -> None:
    entries = listing(image)
    descriptors = {entry["Security Descriptor"] for entry in entries.values()}
    assert len(descriptors) > 6
    assert entries["/Program Files"]["Short Name"] == "PROGRA~1"
    assert entries["/Program Files (x86)"]["Short Name"] == "PROGRA~2"
    assert entries["/Documents and Settings"]["Reparse Tag"] == "0xa0000003"
    assert entries["/Users/Public/read me before practising.txt"]["Streams"] == "Zone.Identifier"
    assert any("Object ID" in entry for entry in entries.values())
    shorts = [(path.rpartition("/")[0], entry["Short Name"]) for path, entry in entries.items()]
    used = [one for one in shorts if one[1]]
    assert len(used) == len(set(used)) > 6


def _flag_values(found: dict[str, Keys]) -> dict[str, set[str]]:
    """What the store says in the places whose meaning is not public."""
    components = below(found["COMPONENTS"], COMPONENTS)
    deployments = below(found["COMPONENTS"], DEPLOYMENTS)
    owners = [
        values
        for path, values in found["SOFTWARE"].items()
        if path.startswith(CBS) and path.endswith("\\owners")
    ]
    packages = below(found["SOFTWARE"], f"{CBS}\\packages")
    return {
        "CF": {str(number_of(one["CF"])) for one in components.values() if "CF" in one},
        "f!": {
            str(number_of(value))
            for one in components.values()
            for name, value in one.items()
            if name.startswith("f!")
        },
        "owners": {f"{number_of(value) >> 16}" for one in owners for value in one.values()},
        "visibility": {str(number_of(one["Visibility"])) for one in packages.values()},
        **{
            mark: {
                _opaque(value[1])
                for one in deployments.values()
                for name, value in one.items()
                if name.startswith(mark)
            }
            for mark in ("p!", "s!", "i!")
        },
    }


def _opaque(data: bytes) -> str:
    size, opaque_size = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4))
    assert len(data) == 8 + size + opaque_size
    return data[8 + size :].decode("ascii")


@pytest.mark.parametrize("flags", [FLAGS_A, FLAGS_B])
def test_opaque_values_are_those_of_the_parameters(
    build: Builder, tmp_path: Path, flags: StoreFlags
) -> None:
    wim = build(replace(SMALL, flags=flags, extra_packages=internet_explorer()))
    numbers = (flags.component_flags, flags.deployment_flags)
    assert _flag_values(hives(wim, tmp_path / "out")) == {
        "CF": {str(one) for one in numbers if one is not None},
        "f!": {str(flags.file_flags), str(flags.staged_file_flags)},
        "owners": {str(flags.owner_flag)},
        "visibility": {str(flags.visible), str(flags.hidden)},
        "p!": {flags.pinned, flags.elevated_install, flags.elevated_revision},
        "s!": {flags.staged, flags.elevated_install, flags.elevated_revision},
        "i!": {flags.installed, flags.elevated_install},
    }


def test_the_thumbprint_follows_its_rule(build: Builder, tmp_path: Path) -> None:
    for number, flags in enumerate((FLAGS_A, FLAGS_B)):
        wim = build(replace(SMALL, flags=flags))
        found = hives(wim, tmp_path / f"hives{number}")
        manifests = apply(wim, 1, tmp_path / f"tree{number}") / "Windows/WinSxS/Manifests"
        digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in manifests.iterdir()}
        catalogs = set(below(found["COMPONENTS"], CATALOGS))
        prints = {
            text_of(one["CatalogThumbprint"])
            for one in below(found["COMPONENTS"], DEPLOYMENTS).values()
        }
        assert prints <= (catalogs if flags is FLAGS_A else digests)


@pytest.mark.parametrize(("enabled", "state"), [(True, 0x70), (False, 0x40)])
def test_an_optional_feature_is_installed_or_staged(
    build: Builder, tmp_path: Path, enabled: bool, state: int
) -> None:
    feature = "Internet-Explorer-Optional-amd64"
    wim = build(replace(SMALL, extra_packages=internet_explorer(), features={feature: enabled}))
    software = hives(wim, tmp_path / "out")["SOFTWARE"]
    name = (
        "microsoft-windows-internetexplorer-optional-package~31bf3856ad364e35~amd64~~11.0.19041.1"
    )
    package = software[f"{CBS}\\packages\\{name}"]
    assert number_of(package["CurrentState"]) == state
    assert number_of(software[f"{CBS}\\packages\\{name}\\updates"][feature]) == state
    linked = "/Windows/System32/internet-explorer-optional-amd64.dll" in listing(wim)
    assert linked is enabled


def test_an_extra_package_is_there_under_its_name(build: Builder, tmp_path: Path) -> None:
    identity = Identity.package("WinPE-SRT-Package~31bf3856ad364e35~amd64~~6.1.7601.17514")
    wim = build(replace(SMALL, extra_packages=(stand_in(identity, "srt"),)))
    software = hives(wim, tmp_path / "out")["SOFTWARE"]
    assert f"{CBS}\\packages\\{identity.package_name.lower()}" in software


def test_the_base_manifest_lies_inside_the_stack(build: Builder, tmp_path: Path) -> None:
    text = b'<?xml version="1.0"?><assembly manifestVersion="1.0" description="Deployment"/>'
    places = set()
    for seed in ("one", "two"):
        wim = build(replace(SMALL, base_manifest=text, seed=seed))
        path = next(one for one in listing(wim) if one.endswith("/wcp.dll"))
        assert "_microsoft-windows-servicingstack_31bf3856ad364e35_" in path
        unpack(wim, 1, tmp_path / seed, path)
        data = (tmp_path / seed / "wcp.dll").read_bytes()
        assert data.startswith(b"MZ")
        assert data.count(text) == 1
        places.add(data.index(text))
    assert len(places) == 2


def test_compressed_with_the_codec_it_is_the_same_tree(tmp_path: Path, root: PracticeRoot) -> None:
    worker = pytest.importorskip("wimsmith.offline.wim.workers.worker")
    with worker.WorkerCodec() as codec:
        build_image(SMALL, tmp_path / "lzx.wim", root=root, codec=codec)
    build_image(SMALL, tmp_path / "plain.wim", root=root)
    run("wimlib-imagex", "verify", tmp_path / "lzx.wim")
    ours, plain = listing(tmp_path / "lzx.wim"), listing(tmp_path / "plain.wim")
    assert {path: entry.get("Hash") for path, entry in ours.items()} == {
        path: entry.get("Hash") for path, entry in plain.items()
    }
    assert (tmp_path / "lzx.wim").stat().st_size < (tmp_path / "plain.wim").stat().st_size / 2
