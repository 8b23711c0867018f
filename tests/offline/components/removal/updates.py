"""Updates of one family of components in two versions, made for taking them apart again."""

from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import Identity
from wimsmith.practice.security import ADMIN_FILE
from wimsmith.practice.spec import (
    DESCRIPTORS,
    ComponentSpec,
    DirectorySpec,
    FileSpec,
    KeySpec,
    PackageSpec,
    UpdateEntry,
    ValueSpec,
)

FAMILY = "Practice-Reversible"
FOLDER = "$(runtime.programFiles)\\Reversible\\"
KEY = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Practice\\Reversible"
OLD, NEW = 300, 400


def component(maker: Maker, revision: int, **changes: object) -> ComponentSpec:
    """One version: the newer has one file, link, folder, key and value of its own, and lacks one.

    Both have a library with two names in the system, and values that differ.
    """
    newer = revision >= NEW
    files = [
        FileSpec(
            "reversible.dll",
            program(f"reversible {revision}"),
            links=(f"{FOLDER}also\\reversible.dll",),
        ),
        FileSpec("start.exe", program(f"start {revision}"), FOLDER),
        FileSpec("only-new.dat" if newer else "only-old.dat", program(f"only {revision}"), FOLDER),
    ]
    values = [
        ValueSpec("Version", "REG_SZ", str(revision)),
        ValueSpec("Choice", "REG_SZ", f"as shipped in {revision}", mutable=True),
        ValueSpec("OnlyNew" if newer else "OnlyOld", "REG_DWORD", f"0x{revision:08x}"),
    ]
    keys = [KeySpec(KEY, tuple(values))]
    directories = [DirectorySpec(FOLDER)]
    if newer:
        keys.append(KeySpec(f"{KEY}\\Added", (ValueSpec("Here", "REG_SZ", "yes"),)))
        directories.append(DirectorySpec(f"{FOLDER}added\\"))
    return ComponentSpec(
        Identity(FAMILY, maker.version(revision)),
        tuple(files),
        tuple(keys),
        tuple(directories),
        descriptors={**DESCRIPTORS, "ADMIN": ADMIN_FILE},
        **changes,  # type: ignore[arg-type]
    )


def update(
    maker: Maker, article: str, revision: int, *components: ComponentSpec, **changes: object
) -> PackageSpec:
    """A package with one update of some components, the family above where none is given."""
    members = components or (component(maker, revision),)
    deployment = maker.deployment(f"Practice-{article}", revision, *members)
    entry = UpdateEntry(f"{article.removeprefix('KB')}-1_neutral", deployment)
    return maker.package(article, f"1.0.{revision}.0", entry, **changes)
