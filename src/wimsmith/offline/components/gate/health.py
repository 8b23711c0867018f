"""Whether an image may be changed at all: no pending work, not marked as damaged, not too old."""

from collections.abc import Iterator

from wimsmith.offline.components.store.lookups import CBS, WINSXS, Store
from wimsmith.offline.verdicts import Finding, Verdict

_PENDING_FILE = "pending.xml"
_PENDING_FOLDERS = ("Temp/PendingRenames", "Temp/InFlight")
_PENDING_KEYS = ("RebootPending", "RebootInProgress")
_OLDEST = (6, 0)


def health_findings(store: Store) -> tuple[Finding, ...]:
    """What stops every update on this image; empty if nothing does."""
    pending = [*_pending_files(store), *_pending_keys(store)]
    return (
        *(_finding("pending", text) for text in pending),
        *(_finding("image-damaged", text) for text in _damage(store)),
        *(_finding("os-too-old", text) for text in _age(store)),
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


def _damage(store: Store) -> Iterator[str]:
    if store.software.exists(rf"{CBS}\Unserviceable") or (
        store.software.value(CBS, "Unserviceable") is not None
    ):
        yield "Windows has marked this installation as no longer serviceable"


def _age(store: Store) -> Iterator[str]:
    image = store.image
    if (image.major, image.minor) < _OLDEST:
        yield f"Windows {image.major}.{image.minor}; the oldest that is serviced is Windows Vista"


def _finding(code: str, text: str) -> Finding:
    return Finding(Verdict.NOT_SUPPORTED, code, text)
