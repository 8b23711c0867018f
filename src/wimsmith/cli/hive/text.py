"""Commands that turn a hive into a `.reg` file, and bring a `.reg` file into a hive."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from wimsmith.cli.hive.source import Source, in_wim, open_source
from wimsmith.cli.output import (
    human_size,
    note,
    options,
    print_json,
    print_line,
    progress_bar,
    show,
)
from wimsmith.errors import AlreadyExists, InvalidInput, NotFound, NotSupported
from wimsmith.offline.changes import RegistryEdit
from wimsmith.offline.filetime import from_datetime
from wimsmith.offline.hivefile import apply_edits, replace_hive_file, write_hive_file
from wimsmith.offline.progress import Event
from wimsmith.offline.registry.regexport import export_reg, export_reg_text
from wimsmith.offline.registry.regfile import (
    MAX_FILE_BYTES,
    WESTERN_CODE_PAGE,
    RegEdit,
    RegVersion,
    parse_reg,
)
from wimsmith.offline.registry.roots import RegistryRoots, default_control_set, registry_edits
from wimsmith.offline.wim.format.container import naming
from wimsmith.offline.wim.writing.staging import Staging

_NO_MOUNT = "HIVE"


def export(
    hive: str,
    path: str = "",
    target: Path | None = None,
    *,
    root: str | None = None,
    ansi: Annotated[bool, Parameter(negative="")] = False,
    code_page: int = WESTERN_CODE_PAGE,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    r"""Write a key and all below it as a .reg file, as the Registry Editor does.

    Without a target the text goes to stdout, in UTF-8.

    Args:
        hive: File with a hive, or WIM:INDEX:NAME.
        path: Key; "" is the root.
        target: File to write, such as out.reg.
        root: Path of the hive's root, such as HKEY_LOCAL_MACHINE\SOFTWARE. If not given, it is
            taken from the name of the hive.
        ansi: Write the older kind of file, REGEDIT4, in the code page.
        code_page: Code page for --ansi: 1252 is that of Western Europe.
        overwrite: Replace the target if it exists.
    """
    source = open_source(hive)
    source.key(path)
    with naming(Path(hive)):
        has_links = any(key.is_link for key in source.hive.walk(path))
    if has_links:
        note("warning: some keys are links to others; in a .reg file they are ordinary keys")
    version = RegVersion.V4 if ansi else RegVersion.V5
    prefix = root or source.root
    if target is None:
        _print_export(source, prefix, path, is_ansi=ansi)
        return
    if target.exists() and not overwrite:
        raise AlreadyExists(target, hint="Choose another name, or say --overwrite.")
    size_bytes = 0
    with Staging(target) as staging:
        part = staging.folder / target.name
        with part.open("wb") as file:
            blocks = export_reg(source.hive, prefix, path, version=version, code_page=code_page)
            for block in blocks:
                size_bytes += file.write(block)
        staging.publish_file(part, overwrite=overwrite)
    report = {"target": target, "root": prefix, "key": path, "size_bytes": size_bytes}
    show(report, lambda: print_line(f"{target}: {prefix}, {human_size(size_bytes)}"))


def import_(
    hive: Path,
    file: Path,
    *,
    target: Path | None = None,
    in_place: Annotated[bool, Parameter(negative="")] = False,
    root: str | None = None,
    code_page: int = WESTERN_CODE_PAGE,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    r"""Bring a .reg file into a hive: all of it, or nothing.

    Nothing is changed if a line is not understood or a key is in another hive. The new hive is
    checked before it gets its name.

    Args:
        hive: File with a hive; with --target also WIM:INDEX:NAME.
        file: .reg file: Windows Registry Editor Version 5.00, or REGEDIT4.
        target: New hive to write; the old one stays as it is.
        in_place: Replace the hive by the new one.
        root: Path of the hive's root in the .reg file, such as HKEY_LOCAL_MACHINE\OFFLINE. If not
            given, it is taken from the name of the hive.
        code_page: Code page of REGEDIT4 files: 1252 is that of Western Europe.
        overwrite: Replace the target if it exists.
    """
    if (target is None) != in_place:
        raise InvalidInput(
            "where to write is not clear", hint="Say either --target NEW or --in-place."
        )
    if target is None and in_wim(str(hive)):
        raise InvalidInput(
            f"{hive} is in a WIM file",
            hint="Say --target NEW, then put that in its place with `wimsmith wim replace`.",
        )
    if target is not None and target.exists() and not overwrite:
        raise AlreadyExists(target, hint="Choose another name, or say --overwrite.")
    with progress_bar() as progress:
        progress(Event("Reading"))
        source = open_source(str(hive))
        edits = parse_reg(_reg_bytes(file), code_page=code_page).edits
        changes = _changes(source, edits, root or source.root)
        with naming(hive):
            apply_edits(source.hive, changes, progress)
            progress(Event("Writing and checking"))
            now = from_datetime(datetime.now(UTC))
            if target is None:
                size_bytes = replace_hive_file(source.hive, hive, source.stored, modified=now)
            else:
                size_bytes = write_hive_file(source.hive, target, modified=now, overwrite=overwrite)
    place = target or hive
    report = {"target": place, "edits": len(changes), "size_bytes": size_bytes}
    text = f"{place}: {len(changes)} edits, {human_size(size_bytes)}, checked"
    show(report, lambda: print_line(text))


def _changes(source: Source, edits: Sequence[RegEdit], root: str) -> tuple[RegistryEdit, ...]:
    mount = source.mount or _NO_MOUNT
    with naming(Path(source.stored.label)):
        control_set = default_control_set(source.hive)
    roots = RegistryRoots(control_set, {root: mount})
    hint = f"The root of this hive is taken to be {root}; --root says another."
    try:
        changes = registry_edits(edits, roots)
    except NotSupported as error:
        error.hint = hint
        raise
    for edit, change in zip(edits, changes, strict=True):
        if change.hive != mount:
            text = f"line {edit.line}: {edit.key} is not in this hive"
            raise NotSupported("hive", text, hint=hint)
    return changes


def _print_export(source: Source, prefix: str, path: str, *, is_ansi: bool) -> None:
    if is_ansi:
        raise InvalidInput("--ansi on stdout", hint="Name a file to write.")
    blocks = export_reg_text(source.hive, prefix, path)
    if options.json:
        print_json({"root": prefix, "key": path, "text": "".join(blocks)})
        return
    for block in blocks:
        sys.stdout.buffer.write(block.encode("utf-8", "surrogatepass"))
    sys.stdout.buffer.flush()


def _reg_bytes(file: Path) -> bytes:
    if not file.exists():
        raise NotFound(f"{file}")
    if file.is_dir():
        raise InvalidInput(f"{file} is a folder")
    with file.open("rb") as opened:
        return opened.read(MAX_FILE_BYTES + 1)
