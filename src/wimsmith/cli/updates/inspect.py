"""The command that tells what update files are."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from wimsmith.cli.output import (
    fail,
    is_terminal,
    options,
    print_json,
    print_line,
    progress_bar,
)
from wimsmith.cli.updates.common import Roots, TestRoots, base_texts_of, policy_of, workspace
from wimsmith.cli.updates.shown import Looked, looked_row, print_looked
from wimsmith.errors import NotSupported, WimsmithError
from wimsmith.offline.components.install.reasons import component_reasons
from wimsmith.offline.packages.contents import base_for
from wimsmith.offline.packages.facts import inspect_all
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.report import examine, examine_file
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.format.container import naming


def inspect(
    file: Path,
    *more: Path,
    long: Annotated[bool, Parameter(alias="-l", negative="")] = False,
    root: Roots = (),
    test_root: TestRoots = (),
    image: Path | None = None,
    index: int | None = None,
    base: Path | None = None,
) -> int:
    """Tell what update files are.

    Args:
        file: Update file (.cab, .msu).
        more: Further ones.
        long: Show units, components and files as well.
        root: Certificate (PEM, DER) to trust besides those of Microsoft; may be repeated.
        test_root: The same for updates that `wimsmith practice` has generated.
        image: WIM file of the Windows that the update is for. Compressed manifests can be read
            only with a text from it.
        index: Number of the image in that file; 1 if not given.
        base: File with that text, or the wcp.dll that holds it, instead of an image.
    """
    policy, bases = policy_of(root, test_root), base_texts_of(image, index, base)
    rows: list[dict[str, Any]] = []
    code = 0
    for number, one in enumerate((file, *more)):
        try:
            looked = _look(one, policy, bases)
        except (WimsmithError, OSError) as error:
            failed = fail(error)
            code = code or failed
            rows.append({"source": str(one), "error": _error(error)})
            continue
        rows.append(looked_row(looked))
        if not looked.is_update:
            code = code or NotSupported.exit
        if not options.json:
            if number and looked.is_update:
                print_line()
            print_looked(looked, long=long)
    if options.json:
        print_json(rows)
    return code


def _look(path: Path, policy: TrustPolicy, bases: tuple[bytes, ...]) -> Looked:
    with naming(path), workspace() as work, _progress() as progress:
        facts, packages = inspect_all(
            path, work, base_manifests=bases, examine=component_reasons, progress=progress
        )
        reports = {
            one.top.name: examine(
                one, policy, base_manifest=base_for(one, bases), progress=progress
            )
            for one in packages
        }
        about_file = None if facts.kind is None else examine_file(path, policy)
    return Looked(facts, reports, about_file)


def _progress() -> AbstractContextManager[Progress]:
    """A bar on a terminal, nothing elsewhere: what is told is the answer, not the way there."""
    return progress_bar() if is_terminal() else nullcontext(silent)


def _error(error: Exception) -> dict[str, str]:
    if isinstance(error, WimsmithError):
        return {"code": error.code, "text": str(error)}
    return {"code": "os-error", "text": str(error)}
