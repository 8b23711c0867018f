"""Every rule of the store: one fact is broken by another program, and exactly that rule is named.

A rule that fails to reproduce the image is a reason to refuse it; a rule that fails for the wrong
reason would send people after the wrong thing.
"""

from collections.abc import Callable

import pytest

from offline.components.gate.breaking import (
    CATALOGS,
    CBS,
    COMPONENTS,
    DEPLOYMENTS,
    WINNERS,
    ForeignHive,
    ForeignImage,
    binary,
    number,
)
from offline.components.gate.conftest import Gate

SHELL = "practice-windows-shell_"
PACKAGE = "Practice-Content-Package~31bf3856ad364e35~amd64~~10.0.19041.1"
OTHER_DIGITS = "0123456789abcdef"
TEXT = "string:something else"
Break = Callable[[ForeignImage], None]


def first_with(hive: ForeignHive, key: str, part: str) -> str:
    """Path of the first subkey whose name has a part."""
    return next(rf"{key}\{name}" for name in sorted(hive.keys(key)) if part in name)


def component(hive: ForeignHive, part: str = SHELL) -> str:
    return first_with(hive, COMPONENTS, part)


def deployment(hive: ForeignHive, part: str = "practice-ro") -> str:
    return first_with(hive, DEPLOYMENTS, part)


def keyform(image: ForeignImage) -> None:
    """A key whose digits are not the hash of the identity that it states."""
    with image.hive("COMPONENTS") as hive:
        good = component(hive)
        hive.add(good[:-16] + OTHER_DIGITS, hive.values(good))


def identity(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.set(component(hive), "identity", binary(b"Practice"))


def no_identity(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.remove(component(hive), "identity")


def digest(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.set(component(hive), "S256H", binary(bytes(32)))


def no_digest(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.remove(component(hive), "S256H")


def owner_nobody_is(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        name = f"c!practice-nobody_7072616374696365_1.0.0.0_{OTHER_DIGITS}"
        hive.set(component(hive), name, binary(b""))


def owner_that_does_not_list_it(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        stranger = deployment(hive, "practice-me").rpartition("\\")[2]
        hive.set(component(hive), f"c!{stranger}", binary(b""))


def owner_missing(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        key = component(hive)
        name = next(name for name in hive.values(key) if name.startswith("c!"))
        hive.remove(key, name)


def file_without_entry(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.remove(component(hive), "f!shell32.dll")


def entry_without_file(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.set(component(hive), "f!never-shipped.dll", number(0x1))


def flags(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.set(component(hive), "CF", TEXT)


def winner_form(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        branch = rf"{first_with(hive, WINNERS, SHELL)}\10.0"
        hive.set(branch, "10.0.19041.1", binary(b"\0"))


def winner_that_is_not_installed(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.delete(first_with(hive, WINNERS, "practice-content-00001_"))


def link(image: ForeignImage) -> None:
    image.delete("Windows/Fonts/practice.ttf")


def copy_for_link(image: ForeignImage) -> None:
    data = image.read("Windows/Fonts/practice.ttf")
    image.delete("Windows/Fonts/practice.ttf")
    image.put("Windows/Fonts/practice.ttf", data)


def value(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.set(r"Practice\Shell", "Command", binary("x".encode("utf-16-le"), 2))


def deployment_name(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        good = deployment(hive)
        hive.add(good[:-16] + OTHER_DIGITS, hive.values(good))


def appid(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.set(deployment(hive), "appid", binary(b"Practice"))


def thumbprint(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.set(deployment(hive), "CatalogThumbprint", f"string:{'0' * 64}")


def catalog_that_names_nobody(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        name = f"c!{deployment(hive).rpartition(chr(92))[2]}"
        key = next(
            path
            for path in (rf"{CATALOGS}\{one}" for one in hive.keys(CATALOGS))
            if name in hive.values(path)
        )
        hive.remove(key, name)


def catalog_missing(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        thumbprint = hive.values(deployment(hive))["CatalogThumbprint"].partition(":")[2]
    image.delete(f"Windows/WinSxS/Catalogs/{thumbprint}.cat")


def reference_name(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        key = deployment(hive)
        name = next(name for name in hive.values(key) if name.startswith("s!"))
        data = hive.values(key)[name]
        hive.remove(key, name)
        hive.set(key, name[:-16] + OTHER_DIGITS, data)


def reference_bytes(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        key = deployment(hive)
        name = next(name for name in hive.values(key) if name.startswith("s!"))
        hive.set(key, name, binary(bytes([255] * 12)))


def package_name(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.add(rf"{CBS}\Packages\nobody-calls-a-package-so", {"CurrentState": number(0x70)})


def package_file(image: ForeignImage) -> None:
    image.delete(f"Windows/servicing/Packages/{PACKAGE}.mum")


def package_catalog(image: ForeignImage) -> None:
    path = f"Windows/servicing/Packages/{PACKAGE}.mum"
    image.put(path, image.read(path) + b"<!-- not signed -->")


def package_owner(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.set(rf"{CBS}\Packages\{PACKAGE}\Owners", PACKAGE, number(0x20033))


def package_state(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.set(rf"{CBS}\Packages\{PACKAGE}", "CurrentState", number(0x33))


def visibility(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.set(rf"{CBS}\Packages\{PACKAGE}", "DefVis", number(0x12345678))


def package_index(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        key = rf"{CBS}\PackageIndex\{PACKAGE.rpartition('~')[0]}~0.0.0.0"
        hive.set(key, "@", f"string:{PACKAGE}.1")


def store_format(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.set("", "StoreFormatVersion", binary("0.0.0.9".encode("utf-16-le")))


def no_store_format(image: ForeignImage) -> None:
    with image.hive("COMPONENTS") as hive:
        hive.remove("", "StoreFormatVersion")


def detect(image: ForeignImage) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.add(rf"{CBS}\ComponentDetect\somebody", {"something": TEXT})


def backup(image: ForeignImage) -> None:
    folder = "Windows/WinSxS/Backup"
    name = next(name for name in image.names(folder) if "hal.dll" in name)
    image.rename(f"{folder}/{name}", f"{folder}/{name[:-8]}{OTHER_DIGITS[:8]}")


BREAKS: dict[str, tuple[Break, ...]] = {
    "keyform": (keyform,),
    "identity": (identity, no_identity),
    "S256H": (digest, no_digest),
    "c!": (owner_nobody_is, owner_that_does_not_list_it, owner_missing),
    "f!": (file_without_entry, entry_without_file),
    "CF": (flags,),
    "winners": (winner_form, winner_that_is_not_installed),
    "links": (link, copy_for_link),
    "registry": (value,),
    "deployment-key": (deployment_name,),
    "appid": (appid,),
    "thumbprint": (thumbprint,),
    "catalogs": (catalog_that_names_nobody, catalog_missing),
    "references": (reference_name, reference_bytes),
    "package-name": (package_name,),
    "package-files": (package_file,),
    "package-catalog": (package_catalog,),
    "owners": (package_owner,),
    "states": (package_state,),
    "visibility": (visibility,),
    "package-index": (package_index,),
    "store-format": (store_format, no_store_format),
    "detect": (detect,),
    "backup": (backup,),
}


@pytest.mark.parametrize(
    ("rule", "spoil"),
    [
        pytest.param(
            rule, spoil, id=f"{rule}-{spoil.__name__}", marks=pytest.mark.slow if place else ()
        )
        for rule, spoils in BREAKS.items()
        for place, spoil in enumerate(spoils)
    ],
)
def test_the_broken_fact_is_named(image: ForeignImage, gate: Gate, rule: str, spoil: Break) -> None:
    spoil(image)
    health, report = gate(image.path)
    assert health == ()
    assert [finding.code for finding in report.findings] == [f"calibration:{rule}"]
