"""One fact of an image is broken by programs of others, and the check names exactly that."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from offline.components.gate.breaking import (
    CATALOGS,
    CBS,
    COMPONENTS,
    DEPLOYMENTS,
    WINNERS,
    ForeignImage,
    run,
)
from offline.verification.kit import codes, examined
from wimsmith.errors import NotFound
from wimsmith.offline.components.verification.report import MAX_EXAMPLES, Severity
from wimsmith.practice.image import build_image
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import FLAGS_A, FLAGS_B, Generation, ImageSpec, StoreFlags

PACKAGE_KEYS = rf"{CBS}\Packages"
INDEX_KEYS = rf"{CBS}\PackageIndex"
STORE = "Windows/WinSxS"
PACKAGES = "Windows/servicing/Packages"
EXPLORER = "Windows/explorer.exe"
SHELL = "practice-windows-shell"
FIX = "Package_1_for_KB4000001"
GHOST = "amd64_practice-ghost_7072616374696365_10.0.1.1_none_0123456789abcdef"


def named(names: Iterable[str], part: str) -> str:
    """The last name with a part in it: of several versions the newest."""
    return max(name for name in names if part in name)


def shell(image: ForeignImage) -> str:
    """Key of the shell component that is in use."""
    return named(image.names(f"{STORE}/Manifests"), SHELL).removesuffix(".manifest")


def delete_payload(image: ForeignImage) -> None:
    image.delete(f"{STORE}/{shell(image)}/explorer.exe")


def replace_payload(image: ForeignImage) -> None:
    image.put(f"{STORE}/{shell(image)}/explorer.exe", b"MZ another program")


def delete_destination(image: ForeignImage) -> None:
    image.delete(EXPLORER)


def replace_destination(image: ForeignImage) -> None:
    image.put(EXPLORER, b"MZ another program")


def copy_destination(image: ForeignImage) -> None:
    image.put(EXPLORER, image.read(EXPLORER))


def link_destination_elsewhere(image: ForeignImage) -> None:
    """The file of another component stands where one belongs, as when two bring the same name."""
    image.delete(EXPLORER)
    image.rename("Windows/Fonts/practice.ttf", EXPLORER)


def delete_manifest(image: ForeignImage) -> None:
    image.delete(f"{STORE}/Manifests/{shell(image)}.manifest")


def alter_manifest(image: ForeignImage) -> None:
    path = f"{STORE}/Manifests/{shell(image)}.manifest"
    image.put(path, image.read(path) + b" ")


def exchange_manifest_and_hash(image: ForeignImage) -> None:
    path = f"{STORE}/Manifests/{shell(image)}.manifest"
    data = image.read(path) + b" "
    image.put(path, data)
    with image.hive("COMPONENTS") as hive:
        digest = hashlib.sha256(data).digest().hex(",")
        hive.set(rf"{COMPONENTS}\{shell(image)}", "S256H", f"hex:3:{digest}")


def break_manifest(image: ForeignImage) -> None:
    path = f"{STORE}/Manifests/{shell(image)}.manifest"
    image.put(path, b"<assembly")
    with image.hive("COMPONENTS") as hive:
        digest = hashlib.sha256(b"<assembly").digest().hex(",")
        hive.set(rf"{COMPONENTS}\{shell(image)}", "S256H", f"hex:3:{digest}")


def stray_manifest(image: ForeignImage) -> None:
    data = image.read(f"{STORE}/Manifests/{shell(image)}.manifest")
    image.put(f"{STORE}/Manifests/{GHOST}.manifest", data)


def delete_component_key(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.delete(rf"{COMPONENTS}\{shell(image)}")


def delete_value(name: str) -> Callable[[ForeignImage], None]:
    def change(image: ForeignImage) -> None:
        with image.hive("COMPONENTS") as hive:
            key = rf"{COMPONENTS}\{shell(image)}"
            hive.remove(key, named(hive.values(key), name))

    change.__name__ = f"delete_value_{name}"
    return change


def extra_file_mark(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.set(rf"{COMPONENTS}\{shell(image)}", "f!ghost.dll", "dword:1")


def delete_package_manifest(image: ForeignImage) -> None:
    image.delete(f"{PACKAGES}/{named(image.names(PACKAGES), FIX).removesuffix('.mum')}.mum")


def delete_package_catalog(image: ForeignImage) -> None:
    image.delete(f"{PACKAGES}/{named(image.names(PACKAGES), FIX).removesuffix('.mum')}.cat")


def exchange_package_manifest(image: ForeignImage) -> None:
    names = [name for name in image.names(PACKAGES) if name.endswith(".mum")]
    image.put(f"{PACKAGES}/{named(names, FIX)}", image.read(f"{PACKAGES}/{min(names)}"))


def delete_package_key(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.delete(rf"{PACKAGE_KEYS}\{named(hive.keys(PACKAGE_KEYS), FIX)}")


def delete_owner(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        key = rf"{PACKAGE_KEYS}\{named(hive.keys(PACKAGE_KEYS), FIX)}\Owners"
        hive.remove(key, next(iter(hive.values(key))))


def unknown_owner(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        key = rf"{PACKAGE_KEYS}\{named(hive.keys(PACKAGE_KEYS), FIX)}\Owners"
        hive.set(key, "Ghost~31bf3856ad364e35~amd64~~1.0.0.0", "dword:20070")


def odd_state(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        key = rf"{PACKAGE_KEYS}\{named(hive.keys(PACKAGE_KEYS), 'Package_for_KB4000001')}"
        hive.set(key, "CurrentState", "dword:0x77")


def half_installed(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        key = rf"{PACKAGE_KEYS}\{named(hive.keys(PACKAGE_KEYS), 'Package_for_KB4000001')}"
        hive.set(key, "CurrentState", "dword:0x65")


def delete_index(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.delete(rf"{INDEX_KEYS}\{named(hive.keys(INDEX_KEYS), FIX)}")


def wrong_index(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        key = rf"{INDEX_KEYS}\{named(hive.keys(INDEX_KEYS), FIX)}"
        hive.set(key, "@", "string:Ghost~31bf3856ad364e35~amd64~~1.0.0.0")


def delete_deployment(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.delete(rf"{DEPLOYMENTS}\{rollup(hive.keys(DEPLOYMENTS))}")


def rollup(names: list[str]) -> str:
    return next(name for name in names if name.startswith("practice-ro.."))


def delete_appid(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.remove(rf"{DEPLOYMENTS}\{rollup(hive.keys(DEPLOYMENTS))}", "appid")


def delete_references(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        key = rf"{DEPLOYMENTS}\{rollup(hive.keys(DEPLOYMENTS))}"
        for name in hive.values(key):
            if name[:2] in {"p!", "s!", "i!"}:
                hive.remove(key, name)


def reference_by_nobody(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        key = rf"{DEPLOYMENTS}\{rollup(hive.keys(DEPLOYMENTS))}"
        identifier = b"Ghost~31bf3856ad364e35~amd64~~1.0.0.0.1-1_neutral"
        data = len(identifier).to_bytes(4, "little") + bytes(4) + identifier
        hive.set(key, "s!CBS_ghost_0", f"hex:3:{data.hex(',')}")


def delete_winner(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.delete(rf"{WINNERS}\{named(hive.keys(WINNERS), SHELL)}")


def shell_branch(names: Iterable[str], keys: Callable[[str], list[str]]) -> str:
    family = rf"{WINNERS}\{named(names, SHELL)}"
    return rf"{family}\{keys(family)[0]}"


def unknown_version_in_use(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        branch = shell_branch(hive.keys(WINNERS), hive.keys)
        hive.set(branch, "10.0.65000.1", "hex:3:01")
        hive.set(branch, "@", "string:10.0.65000.1")


def lower_version_in_use(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        branch = shell_branch(hive.keys(WINNERS), hive.keys)
        versions = sorted(name for name in hive.values(branch) if name != "@")
        assert len(versions) > 1
        hive.set(branch, "@", f"string:{versions[0]}")


def no_branch_in_use(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.set(rf"{WINNERS}\{named(hive.keys(WINNERS), SHELL)}", "@", "string:7.5")


def delete_catalog(image: ForeignImage) -> None:
    image.delete(f"{STORE}/Catalogs/{min(image.names(f'{STORE}/Catalogs'))}")


def alter_catalog(image: ForeignImage) -> None:
    path = f"{STORE}/Catalogs/{min(image.names(f'{STORE}/Catalogs'))}"
    image.put(path, image.read(path) + b"\0")


def delete_catalog_key(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        key = next(one for one in hive.keys(CATALOGS) if hive.values(rf"{CATALOGS}\{one}"))
        hive.delete(rf"{CATALOGS}\{key}")


def catalog_of_nobody(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.set(rf"{CATALOGS}\{hive.keys(CATALOGS)[0]}", "c!ghost_0_1.0.0.0_0", "hex:3:")


def alter_backup(image: ForeignImage) -> None:
    image.put(f"{STORE}/Backup/{min(image.names(f'{STORE}/Backup'))}", b"another")


def stray_backup(image: ForeignImage) -> None:
    image.put(f"{STORE}/Backup/{GHOST}_ghost.dll_01234567", b"of nobody")


def stray_folder(image: ForeignImage) -> None:
    image.put(f"{STORE}/{GHOST}/ghost.dll", b"of nobody")


def stray_file(image: ForeignImage) -> None:
    image.put(f"{STORE}/{shell(image)}/ghost.dll", b"of nobody")


def file_of_deltas(image: ForeignImage) -> None:
    """Newer Windows keeps reverse deltas beside the files: they are no strangers."""
    image.put(f"{STORE}/{shell(image)}/r/explorer.exe", b"PA30")


def delete_setting(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.remove(r"Practice\Shell", "Command")


def change_setting(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.set(r"Practice\Shell", "UserChoice", "string:another")


def pending_work(image: ForeignImage) -> None:
    image.put(f"{STORE}/pending.xml", b"<PendingTransaction/>")


def damaged_hive(image: ForeignImage) -> None:
    path = "Windows/System32/config/DEFAULT"
    data = bytearray(image.read(path))
    data[4096 + 32 + 4] ^= 0xFF  # the signature of the root
    image.put(path, bytes(data))


def other_revision(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.set(r"Microsoft\Windows NT\CurrentVersion", "UBR", "dword:00000001")


def unreadable_content(image: ForeignImage) -> None:
    content = image.read(f"{STORE}/{shell(image)}/explorer.exe")
    data = bytearray(image.path.read_bytes())
    data[data.index(content) + 100] ^= 0xFF
    image.path.write_bytes(data)


BREAKS: dict[Callable[[ForeignImage], None], set[str]] = {
    delete_payload: {"payload-missing"},
    replace_payload: {"payload-hash", "destination-content"},
    unreadable_content: {"payload-unreadable"},
    delete_destination: {"destination-missing"},
    replace_destination: {"destination-content"},
    copy_destination: {"destination-copy"},
    link_destination_elsewhere: {"destination-other", "destination-missing"},
    delete_manifest: {"manifest-missing"},
    alter_manifest: {"manifest-hash"},
    exchange_manifest_and_hash: {"catalog-incomplete"},
    break_manifest: {"manifest-damaged"},
    stray_manifest: {"manifest-unregistered", "manifest-identity"},
    delete_component_key: {
        "deployment-incomplete",
        "manifest-unregistered",
        "winner-missing",
    },
    delete_value("identity"): {"component-identity"},
    delete_value("S256H"): {"manifest-no-hash"},
    delete_value("f!explorer"): {"component-file-mark"},
    delete_value("c!"): {"component-unowned", "component-mark-missing"},
    extra_file_mark: {"component-extra-file-mark"},
    delete_package_manifest: {"package-manifest-missing"},
    delete_package_catalog: {"package-catalog-missing"},
    exchange_package_manifest: {"package-manifest-damaged"},
    delete_package_key: {
        "deployment-package-missing",
        "package-index",
        "package-unregistered",
    },
    delete_owner: {"package-owners"},
    unknown_owner: {"package-owner-missing"},
    odd_state: {"package-state"},
    half_installed: {"pending"},
    delete_index: {"package-not-indexed"},
    wrong_index: {"package-index"},
    delete_deployment: {
        "catalog-deployment",
        "component-deployment-missing",
        "package-deployment-missing",
    },
    delete_appid: {"deployment-identity"},
    delete_references: {"deployment-unreferenced"},
    reference_by_nobody: {"deployment-package-missing"},
    delete_winner: {"winner-unlisted"},
    unknown_version_in_use: {"winner-missing"},
    lower_version_in_use: {"winner-not-highest", "destination-stale", "registry-changed"},
    no_branch_in_use: {"winner-branch"},
    delete_catalog: {"catalog-missing"},
    alter_catalog: {"catalog-damaged"},
    delete_catalog_key: {"catalog-unregistered", "deployment-catalog-missing"},
    catalog_of_nobody: {"catalog-deployment"},
    alter_backup: {"backup-content"},
    stray_backup: {"backup-orphan"},
    stray_folder: {"orphan-folder"},
    stray_file: {"orphan-file"},
    file_of_deltas: set(),
    delete_setting: {"registry-missing"},
    change_setting: {"registry-changed"},
    pending_work: {"pending"},
    damaged_hive: {"hive-damaged"},
    other_revision: {"revision-differs"},
}


@pytest.mark.parametrize("broken", BREAKS, ids=lambda one: one.__name__)
def test_one_broken_fact_is_named_and_nothing_else(
    subject: ForeignImage, broken: Callable[[ForeignImage], None]
) -> None:
    broken(subject)
    report = examined(subject.path)
    assert codes(report) == BREAKS[broken]
    expected = any(one.severity is Severity.ERROR for one in report.problems)
    assert report.is_sound is not expected
    assert all(one.count and one.examples for one in report.problems)


@pytest.mark.parametrize("generation", Generation)
@pytest.mark.parametrize("flags", [FLAGS_A, FLAGS_B], ids=["a", "b"])
def test_sound_images_have_no_findings(
    tmp_path: Path, practice_signer: PracticeRoot, generation: Generation, flags: StoreFlags
) -> None:
    path = tmp_path / "image.wim"
    spec = ImageSpec(generation, size_bytes=1 << 19, components=4, flags=flags)
    build_image(spec, path, root=practice_signer)
    report = examined(path)
    assert report.problems == ()
    assert report.has_store
    assert report.content_checked
    checked = {one.area.value: one.checked for one in report.areas}
    manifests = run("wimlib-imagex", "dir", path, "1", f"--path=/{STORE}/Manifests")
    assert checked["manifests"] == manifests.count(".manifest")
    assert checked["components"] == checked["manifests"]


def test_without_content_alterations_are_not_seen_and_losses_are(subject: ForeignImage) -> None:
    key = shell(subject)
    subject.put(f"{STORE}/{key}/explorer.exe", b"MZ another program")
    subject.put(EXPLORER, b"MZ another program")
    subject.delete(f"{STORE}/{key}/shell32.dll")
    report = examined(subject.path, content=False)
    assert codes(report) == {"payload-missing", "destination-copy"}
    assert not report.content_checked


def test_many_findings_of_a_kind_are_counted_and_few_are_shown(subject: ForeignImage) -> None:
    manifests = len(subject.names(f"{STORE}/Manifests"))
    subject.delete(f"{STORE}/Manifests")
    report = examined(subject.path)
    (problem,) = report.problems
    assert problem.code == "manifest-missing"
    assert problem.count == manifests > MAX_EXAMPLES
    assert len(problem.examples) == MAX_EXAMPLES


def test_payload_that_windows_deleted_is_no_damage(subject: ForeignImage) -> None:
    """A feature that is off may have lost its files; what is installed may not."""
    games = named(subject.names(STORE), "practice-games")
    subject.delete(f"{STORE}/{games}")
    report = examined(subject.path)
    assert codes(report) == {"payload-deleted"}
    assert report.is_sound


def test_an_image_without_a_store_is_checked_as_far_as_it_goes(subject: ForeignImage) -> None:
    subject.delete("Windows/System32/config/COMPONENTS")
    subject.delete(STORE)
    report = examined(subject.path)
    assert not report.has_store
    assert report.problems == ()
    assert {one.area.value for one in report.areas} == {"hives", "build", "packages"}


def test_an_image_without_windows_is_refused(subject: ForeignImage) -> None:
    subject.delete("Windows")
    with pytest.raises(NotFound, match="no SOFTWARE hive"):
        examined(subject.path)
