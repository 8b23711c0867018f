"""What a run has written, checked in the written file: all that its changes touched is closed.

That the new content has its hashes, and that the tree and the hives are the planned ones, is proved
while the file is written; this reads none of it a second time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wimsmith.errors import DamagedInput, NotFound, VerificationFailed
from wimsmith.offline.changes import (
    ChangeSet,
    DeleteKey,
    MakeDirectory,
    PutFile,
    RegistryEdit,
    Remove,
    SetValue,
    TreeEdit,
)
from wimsmith.offline.components.store import lookups
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.verification.examine import NOWHERE, examine, revision_of
from wimsmith.offline.components.verification.report import HealthReport, Severity
from wimsmith.offline.components.verification.tables import read_tables
from wimsmith.offline.facts import PackageState
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.manifests.package import parse_package
from wimsmith.offline.packages.promises import PromisedBuild, promised_build
from wimsmith.offline.paths import split
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.format.container import Wim

ALWAYS = frozenset(["pending", "image-damaged", "build"])
"""Names under which findings about the image as a whole are told."""

_FATAL_WARNINGS = frozenset(
    [
        "destination-content",
        "destination-missing",
        "destination-stale",
        "package-not-indexed",
        "pending",
        "revision-differs",
        "winner-not-highest",
        "winner-unlisted",
    ]
)
"""What may be meant in a foreign image, and is a fault in what has just been written."""
_KEYS = tuple(
    (hive, tuple(prefix.lower().split("\\")))
    for hive, prefix in (
        ("COMPONENTS", lookups.COMPONENTS),
        ("COMPONENTS", lookups.DEPLOYMENTS),
        ("COMPONENTS", lookups.CATALOGS),
        ("SOFTWARE", lookups.PACKAGES),
        ("SOFTWARE", lookups.WINNERS),
    )
)
_STATE = "currentstate"


@dataclass(frozen=True, slots=True)
class Touched:
    """What change sets say they did.

    Attributes:
        names: component keys, deployments, catalogs, packages and families that they wrote to.
        states: the last state that they gave each package, 0 for those they removed.
        brought: packages whose manifest they brought.
    """

    names: frozenset[str]
    states: Mapping[str, int]
    brought: frozenset[str]


def verify_written(
    written: Wim, views: Mapping[int, ImageView], progress: Progress = silent
) -> None:
    """Check every changed index of a new file; for the `prove` of `commit_views`.

    Args:
        written: The new file, open.
        views: What was committed, by index number.
        progress: Told what is being checked.

    Raises:
        VerificationFailed: as `verify_result`.
    """
    for number, view in views.items():
        verify_result(open_view(written, number), view.stacked, progress=progress)


def verify_result(
    view: ImageView,
    changes: Sequence[ChangeSet],
    *,
    leads_to: PromisedBuild | None = None,
    progress: Progress = silent,
) -> None:
    """Check one index of a written file against the changes that made it.

    Args:
        view: The index in the written file.
        changes: The change sets, in the order in which they were stacked.
        leads_to: A build that is promised otherwise than by the packages that were brought.
        progress: Told what is being checked.

    Raises:
        VerificationFailed: beginning with the code of what is wrong; `package-state:` and
            `revision-not-advanced:` besides those of the health check.
    """
    done = touched(changes)
    if not done.names or not view.has_hive("SOFTWARE"):
        return
    report = examine(view, progress, content=False, only=done.names | ALWAYS)
    _check_report(report)
    _check_states(view, done.states)
    promises = [one for name in done.brought if (one := _promise(view, name, done.states))]
    if leads_to is not None:
        promises.append(leads_to)
    if promises:
        _check_revision(view, max(promises))


def touched(changes: Sequence[ChangeSet]) -> Touched:
    """What change sets wrote to, of all that a component store knows by name."""
    names: set[str] = set()
    states: dict[str, int] = {}
    brought: set[str] = set()
    for one in changes:
        for edit in one.tree:
            names.update(_named_by_file(edit))
            if isinstance(edit, PutFile) and (name := _package_of(edit.path)):
                brought.add(name)
        for change in one.registry:
            found = _named_by_key(change)
            if found is not None:
                names.add(found[1])
                _note_state(change, *found, states)
    return Touched(frozenset(names), states, frozenset(brought))


def _named_by_file(edit: TreeEdit) -> Iterator[str]:
    if not isinstance(edit, PutFile | Remove | MakeDirectory):
        return
    parts = split(edit.path.lower())
    if name := _package_of(edit.path):
        yield name
    elif len(parts) > 2 and parts[1] == "winsxs":
        yield parts[-1].rpartition(".")[0] if parts[2] in {"manifests", "catalogs"} else parts[2]


def _package_of(path: str) -> str:
    """Name of the package whose manifest a path is."""
    parts = split(path.lower())
    is_manifest = parts[1:3] == ("servicing", "packages") and parts[-1].endswith(".mum")
    return parts[-1].removesuffix(".mum") if is_manifest else ""


def _named_by_key(edit: RegistryEdit) -> tuple[tuple[str, ...], str] | None:
    """Which list of keys an edit is about, and the name in it."""
    parts = tuple(one.lower() for one in edit.key.split("\\") if one)
    for hive, prefix in _KEYS:
        is_below = parts[: len(prefix)] == prefix and len(parts) > len(prefix)
        if edit.hive.upper() == hive and is_below:
            return parts[len(prefix) :], parts[len(prefix)]
    return None


def _note_state(
    edit: RegistryEdit, below: tuple[str, ...], name: str, states: dict[str, int]
) -> None:
    if name.count("~") != 4 or len(below) != 1:
        return
    if isinstance(edit, DeleteKey):
        states[name] = PackageState.ABSENT
    elif isinstance(edit, SetValue) and edit.name.lower() == _STATE:
        states[name] = int.from_bytes(edit.data, "little")


def _check_report(report: HealthReport) -> None:
    for one in report.problems:
        if one.severity is Severity.ERROR or one.code in _FATAL_WARNINGS:
            more = f", and {one.count - 1} more" if one.count > 1 else ""
            raise VerificationFailed(f"{one.code}: {one.text}: {one.examples[0]}{more}")


def _check_states(view: ImageView, states: Mapping[str, int]) -> None:
    packages = read_tables(view.hive("SOFTWARE"), None).packages
    for name, state in states.items():
        found = packages[name].state if name in packages else PackageState.ABSENT
        if found != state:
            text = f"package-state: {name} is in state {found:#x}, planned was {state:#x}"
            raise VerificationFailed(text)


def _promise(view: ImageView, name: str, states: Mapping[str, int]) -> PromisedBuild | None:
    """The build that a package leads to which was brought and installed."""
    if states.get(name, PackageState.ABSENT) < PackageState.INSTALLED:
        return None
    windows = Store(Draft(view, NOWHERE, 0)).image.windows
    try:
        manifest = parse_package(view.read(f"{windows}/servicing/Packages/{name}.mum"))
    except (NotFound, DamagedInput) as error:
        raise VerificationFailed(f"package-manifest-missing: {name}: {error}") from error
    return promised_build(manifest, ())


def _check_revision(view: ImageView, promised: PromisedBuild) -> None:
    """Before Windows 10 there may be no revision in the registry, whatever is installed."""
    image = Store(Draft(view, NOWHERE, 0)).image
    if not image.is_modern and revision_of(view) is None:
        return
    reached = promised.build in {image.build, image.base_build}
    if not reached or image.revision != promised.revision:
        raise VerificationFailed(
            f"revision-not-advanced: the image is at {image.build}.{image.revision}, "
            f"{promised} was promised by {promised.stated_by}"
        )
