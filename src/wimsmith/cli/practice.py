"""`wimsmith practice`: images and updates to practise on, generated here, without a site."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from wimsmith.cli.output import (
    human_size,
    note,
    print_facts,
    print_line,
    print_table,
    progress_bar,
    show,
)
from wimsmith.errors import InvalidInput
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.practice.image import build_image
from wimsmith.practice.names import Identity
from wimsmith.practice.presets import internet_explorer, preset, preset_names, stand_in
from wimsmith.practice.presets import summary as preset_summary
from wimsmith.practice.root import ROOT_FILE, practice_root
from wimsmith.practice.spec import FLAGS_A, FLAGS_B, Generation, ImageSpec, PackageSpec, UpdateSpec
from wimsmith.practice.updates import build_update

app = App(
    name="practice",
    help="Generate Windows-like images and updates to practise on (no site needed).",
    help_format="plaintext",
)

Build = Literal["7601", "19041", "26100"]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:i?B)?|B)?", re.IGNORECASE)
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@app.command
def image(
    target: Path,
    *,
    generation: Build = "19041",
    indexes: int = 1,
    size: str = "2MB",
    revision: int | None = None,
    seed: str = "practice",
    base_manifest: Path | None = None,
    feature: Annotated[list[str] | None, Parameter(negative="")] = None,
    package: Annotated[list[str] | None, Parameter(negative="")] = None,
    internet_explorer_packages: Annotated[bool, Parameter(negative="")] = False,
    flags: Literal["a", "b"] = "a",
    compression: Literal["lzx", "none"] = "lzx",
    root: Path | None = None,
    force: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Generate an image that is built like Windows, and does not start.

    Args:
        target: WIM file to write.
        generation: Build number of the Windows that the image resembles.
        indexes: How many editions it holds.
        size: About how much content each index holds, for example 2MB or 4GB.
        revision: Fourth part of the version; above that of the release, a rollup is installed.
        seed: Another seed gives other content.
        base_manifest: File with the text that compressed manifests of real packages need.
        feature: NAME=on or NAME=off, for optional features in the image.
        package: NAME~TOKEN~ARCHITECTURE~LANGUAGE~VERSION of a package to have installed.
        internet_explorer_packages: Install stand-ins for two packages of Windows 10 19041.
        flags: Which of two sets of opaque store values the image carries.
        compression: How the file is packed.
        root: Folder with the practice root that signs; by default that of the target.
        force: Replace a file that stands at the target.
    """
    spec = ImageSpec(
        generation=Generation(generation),
        indexes=_at_least_one(indexes),
        size_bytes=parse_size(size),
        seed=seed,
        flags=FLAGS_A if flags == "a" else FLAGS_B,
        base_manifest=None if base_manifest is None else base_manifest.read_bytes(),
        extra_packages=tuple(_extra(package or [], with_explorer=internet_explorer_packages)),
        features=dict(_feature(text) for text in feature or []),
        revision=revision,
    )
    folder = target.parent if root is None else root
    with ExitStack() as stack:
        codec = stack.enter_context(WorkerCodec()) if compression == "lzx" else None
        progress = stack.enter_context(progress_bar())
        report = build_image(
            spec,
            target,
            root=practice_root(folder),
            codec=codec,
            overwrite=force,
            progress=progress,
        )
    facts = {
        "path": str(report.path),
        "indexes": [one.name for one in report.images],
        "size_bytes": report.size_bytes,
        "sha256": report.sha256,
        "root": str(folder / ROOT_FILE),
    }
    show(facts, lambda: _print_image(facts, [one.name for one in report.images]))


@app.command
def updates(
    folder: Path,
    *,
    preset_: Annotated[list[str] | None, Parameter(name="preset", negative="")] = None,
    generation: Build = "19041",
    root: Path | None = None,
) -> None:
    """Generate updates for practice images into a folder; files of the same name are replaced.

    Args:
        folder: Where to write them.
        preset_: Which ones; `wimsmith practice presets` lists them. All if not given.
        generation: Build number of the images they are for.
        root: Folder with the practice root that signs; by default `folder`.
    """
    names = preset_ or list(preset_names())
    specs = [_preset(name, Generation(generation)) for name in names]
    signer_folder = folder if root is None else root
    signer = practice_root(signer_folder)
    rows = []
    for name, spec in zip(names, specs, strict=True):
        path = build_update(spec, folder / spec.file_name, root=signer)
        rows.append(
            {
                "preset": name,
                "file": path.name,
                "size_bytes": path.stat().st_size,
                "package": spec.package.identity.package_name,
            }
        )
    facts = {
        "folder": str(folder),
        "root": str(signer_folder / ROOT_FILE),
        "root_sha256": signer.fingerprint,
        "updates": rows,
    }
    show(facts, lambda: _print_updates(rows, signer_folder / ROOT_FILE, signer.fingerprint))


@app.command
def presets() -> None:
    """List the updates that can be generated, and what each is for."""
    rows = [{"preset": name, "what": preset_summary(name)} for name in preset_names()]
    cells = [tuple(row.values()) for row in rows]
    show(rows, lambda: print_table(("preset", "what"), cells))


def parse_size(text: str) -> int:
    """Bytes of a size such as `2MB`, `1.5 GiB` or `700000`; units are powers of 1024.

    Raises:
        InvalidInput: not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise InvalidInput(f"size {text!r}", hint="Write for example 2MB or 4GB.")
    number, unit = match.groups()
    return int(float(number) * 1024 ** _UNITS[(unit or "").upper()])


def _at_least_one(indexes: int) -> int:
    if indexes < 1:
        raise InvalidInput(f"{indexes} indexes", hint="An image has at least one index.")
    return indexes


def _feature(text: str) -> tuple[str, bool]:
    name, _, state = text.rpartition("=")
    if not name or state.lower() not in {"on", "off"}:
        raise InvalidInput(f"feature {text!r}", hint="Write NAME=on or NAME=off.")
    return name, state.lower() == "on"


def _extra(packages: list[str], *, with_explorer: bool) -> list[PackageSpec]:
    found = list(internet_explorer()) if with_explorer else []
    for text in packages:
        if text.count("~") != 4:
            raise InvalidInput(
                f"package {text!r}", hint="Write NAME~TOKEN~ARCHITECTURE~LANGUAGE~VERSION."
            )
        identity = Identity.package(text)
        found.append(stand_in(identity, identity.name))
    return found


def _preset(name: str, generation: Generation) -> UpdateSpec:
    try:
        return preset(name, generation)
    except KeyError:
        raise InvalidInput(
            f"preset {name!r}", hint="`wimsmith practice presets` lists them."
        ) from None


def _print_image(facts: dict[str, object], indexes: list[str]) -> None:
    print_facts(
        {
            "Image": facts["path"],
            "Indexes": ", ".join(indexes),
            "Size": human_size(int(str(facts["size_bytes"]))),
            "SHA-256": facts["sha256"],
            "Signed by": facts["root"],
        }
    )


def _print_updates(rows: list[dict[str, object]], root: Path, fingerprint: str) -> None:
    print_table(
        ("preset", "file", "size", "package"),
        [
            (row["preset"], row["file"], human_size(int(str(row["size_bytes"]))), row["package"])
            for row in rows
        ],
    )
    print_line(f"Signed by {root}")
    note("To trust these updates, on a site that is there to practise:")
    note(f"  wimsmith settings set trusted_test_roots '[\"{fingerprint}\"]'")
