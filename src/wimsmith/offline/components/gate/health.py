"""Whether an image may be changed at all: no pending work, sound, not too old, generalised.

The decisions, and from which evidence each is taken: docs/internals/calibration.md.
"""

from collections.abc import Iterator
from weakref import WeakKeyDictionary

from wimsmith.errors import DamagedInput, NotFound
from wimsmith.offline.components.gate.generalised import why_not_generalised
from wimsmith.offline.components.gate.machines import disagreement
from wimsmith.offline.components.store.lookups import CBS, COMPONENTS, WINNERS, WINSXS, Store
from wimsmith.offline.components.store.view import View
from wimsmith.offline.facts import PackageState
from wimsmith.offline.paths import fold
from wimsmith.offline.verdicts import Finding, Verdict

CHECKED_HIVES = ("SOFTWARE", "SYSTEM", "COMPONENTS")
_PENDING_FILE = "pending.xml"
_PENDING_FOLDERS = ("Temp/PendingRenames", "Temp/InFlight")
_PENDING_KEYS = ("RebootPending", "RebootInProgress")
_PENDING_STATES = frozenset(
    [
        PackageState.UNINSTALL_PENDING,
        PackageState.INSTALL_PENDING,
        PackageState.PARTIALLY_INSTALLED,
    ]
)
_OLDEST = (6, 0)
_SHOWN = 3
_STRUCTURE: WeakKeyDictionary[View, tuple[str, ...]] = WeakKeyDictionary()


def health_findings(store: Store, *, allow_not_generalised: bool = False) -> tuple[Finding, ...]:
    """What stops every update on this image; empty if nothing does.

    Args:
        store: the image; hives that were dirty have been completed from their logs by now.
        allow_not_generalised: whether an image of one computer may be serviced all the same.

    Raises:
        DamagedHive: a value that is needed to decide is not of its type.
    """
    pending = [*_pending_files(store), *_pending_keys(store), *_pending_packages(store)]
    damage = [*_marks(store), *_known_structure(store)]
    mixed = disagreement(store)
    tied = None if allow_not_generalised else why_not_generalised(store)
    return (
        *(_finding("pending", text) for text in pending),
        *(_finding("image-damaged", text) for text in (*damage, *([mixed] if mixed else []))),
        *(_finding("os-too-old", text) for text in _age(store)),
        *([_finding("not-generalised", tied)] if tied else []),
    )


def _pending_files(store: Store) -> Iterator[str]:
    winsxs = f"{store.image.windows}/{WINSXS}"
    if store.draft.exists(f"{winsxs}/{_PENDING_FILE}"):
        yield f"{winsxs}/{_PENDING_FILE} is there: Windows has work to finish on its next start"
    for name in _PENDING_FOLDERS:
        if store.draft.names_in(f"{winsxs}/{name}"):
            yield f"{winsxs}/{name} is not empty: Windows has work to finish on its next start"


def _pending_keys(store: Store) -> Iterator[str]:
    for name in _PENDING_KEYS:
        if store.software.exists(rf"{CBS}\{name}"):
            yield f"the key {name} is there: Windows has work to finish on its next start"
    packages = rf"{CBS}\PackagesPending"
    if any(True for _ in store.software.subkeys(packages)) or any(
        True for _ in store.software.values(packages)
    ):
        yield "PackagesPending is not empty: packages are half installed or half removed"
    exclusive = store.software.value(rf"{CBS}\SessionsPending", "Exclusive")
    if exclusive is not None and any(exclusive.data):
        yield "SessionsPending holds an exclusive session"
    if store.components.value("", "PendingXmlIdentifier") is not None:
        yield "PendingXmlIdentifier is set in COMPONENTS"


def _pending_packages(store: Store) -> Iterator[str]:
    found = [package for package in store.all_packages() if package.state in _PENDING_STATES]
    if found:
        first = min(found, key=lambda package: package.name)
        count = f"{len(found)} packages" if len(found) > 1 else "a package"
        yield f"{count} half installed or half removed, such as {first.name} ({first.state:#x})"


def _marks(store: Store) -> Iterator[str]:
    if store.software.exists(rf"{CBS}\Unserviceable") or (
        store.software.value(CBS, "Unserviceable") is not None
    ):
        yield "Windows has marked this installation as no longer serviceable"
    if not store.image.architecture:
        text = "starts by default, does not say for which processor it is"
        yield f"hive SYSTEM: {store.image.control_set}, with which it {text}"


def _known_structure(store: Store) -> tuple[str, ...]:
    """Damage that only reading everything shows: looked for once while a view is in use."""
    view = store.draft.view
    if view not in _STRUCTURE:
        _STRUCTURE[view] = tuple(_structure(store))
    return _STRUCTURE[view]


def _structure(store: Store) -> Iterator[str]:
    """Hives that are not consistent, and winners that are not in the store."""
    broken = False
    for name in CHECKED_HIVES:
        try:
            store.draft.hive(name).check()
        except (DamagedInput, NotFound) as error:
            broken = True
            yield f"hive {name}: {error}"
    if broken:
        return
    missing = sorted(_missing_winners(store))
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        yield f"components that win are not in the store: {', '.join(missing[:_SHOWN])}{more}"


def _missing_winners(store: Store) -> Iterator[str]:
    """Families whose winning version has no component key, or that has no manifest.

    Only the name is known of a family; its hash says nothing about that of the version. So a
    component of the same architecture, name, token, version and language will do.
    """
    keys = {_without_hash(name) for name in store.components.subkeys(COMPONENTS)}
    folder = f"{store.image.windows}/{WINSXS}/Manifests"
    manifests = {_without_hash(name.rpartition(".")[0]) for name in store.draft.names_in(folder)}
    for family in store.software.subkeys(WINNERS):
        head, _, tail = family.rpartition("_")[0].rpartition("_")
        for branch in store.software.subkeys(rf"{WINNERS}\{family}"):
            value = store.software.value(rf"{WINNERS}\{family}\{branch}")
            wanted = fold(f"{head}_{value.text() if value else ''}_{tail}")
            if wanted not in keys or wanted not in manifests:
                yield f"{head} {value.text() if value else branch}"


def _without_hash(name: str) -> str:
    return fold(name.rpartition("_")[0])


def _age(store: Store) -> Iterator[str]:
    image = store.image
    if (image.major, image.minor) < _OLDEST:
        yield f"Windows {image.major}.{image.minor}; the oldest that is serviced is Windows Vista"


def _finding(code: str, text: str) -> Finding:
    return Finding(Verdict.NOT_SUPPORTED, code, text)
