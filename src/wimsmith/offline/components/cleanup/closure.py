"""Whether a store is whole: what names what, and what wins is there."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from wimsmith.errors import SelfCheckFailed
from wimsmith.offline.components.cleanup.facts import ComponentFacts, StoreFacts
from wimsmith.offline.components.cleanup.report import Fate, Judgement
from wimsmith.offline.components.cleanup.rules import Decision
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.manifests.names import file_value_name

PAYLOAD_DELETED = 0x40
"""Bit of `CF`. That it is this one is inferred from public counts: docs/internals/clean-up.md."""


def gaps(store: Store, facts: StoreFacts) -> Iterator[str]:
    """Everything that a store names and does not have."""
    for one in facts.components.values():
        for deployment in sorted(one.deployments - facts.deployments.keys()):
            yield f"{one.key} names the deployment {deployment}, which is not there"
        if not store.draft.exists(store.manifest_path(one.key)):
            yield f"the manifest of {one.key} is missing"
        if one.wins and not one.is_deployment:
            yield from _missing_payload(store, one)


def check_result(store: Store, before: StoreFacts, after: StoreFacts, decision: Decision) -> None:
    """Prove that a draft holds what was decided, and nothing else has changed.

    Raises:
        SelfCheckFailed: it does not.
    """
    gap = next(gaps(store, after), None)
    if gap is not None:
        raise SelfCheckFailed(f"clean-up: {gap}")
    _check_names("packages", after.packages.keys(), decision.packages)
    _check_names("deployments", after.deployments.keys(), decision.deployments)
    _check_names("components", after.components.keys(), decision.components)
    gone = set(decision.packages_with(Fate.REMOVED))
    for deployment in after.deployments.values():
        _expect(not deployment.users & gone, f"what {deployment.key} refers to")
    for package in after.packages.values():
        old = before.packages[package.name.lower()]
        _expect(old.state == package.state, f"the state of {package.name}")
        _expect(not package.owners & gone, f"the owner of {package.name}")
    emptied = set(decision.components_with(Fate.EMPTIED))
    for name, one in after.components.items():
        _check_component(before.components[name], one, is_emptied=name in emptied)


def _check_component(old: ComponentFacts, new: ComponentFacts, *, is_emptied: bool) -> None:
    if is_emptied:
        says_so = bool(new.flags & PAYLOAD_DELETED) or not new.file_values
        _expect(not new.has_payload and says_so, f"the payload of {new.key}")
    else:
        _expect(new.has_payload == old.has_payload, f"the payload of {new.key}")
    _expect(
        new.is_deployment or (new.winner, new.is_installed) == (old.winner, old.is_installed),
        f"what wins in {new.family}",
    )


def _check_names(what: str, after: AbstractSet[str], decided: Mapping[str, Judgement]) -> None:
    wanted = {name for name, one in decided.items() if one.fate is not Fate.REMOVED}
    _expect(after == wanted, f"the list of {what}")


def _missing_payload(store: Store, one: ComponentFacts) -> Iterator[str]:
    folder = store.payload_path(one.key)
    if one.file_values and not one.has_payload:
        yield f"the payload of {one.key}, which wins, is missing"
        return
    listed: set[str] | None = None
    for value in one.file_values:
        if store.draft.exists(f"{folder}/{value[2:].replace(chr(92), '/')}"):
            continue
        if listed is None:
            listed = {file_value_name(name).lower() for name in _files(store, folder, "")}
        if value.lower() not in listed:
            yield f"{value} of {one.key}, which wins, is missing"


def _files(store: Store, folder: str, prefix: str) -> Iterator[str]:
    """Names of the files of a payload as `f!` values have them, with their folders."""
    for name in store.draft.names_in(folder):
        found = store.draft.find(f"{folder}/{name}")
        if found is not None and found.is_directory:
            yield from _files(store, f"{folder}/{name}", f"{prefix}{name}\\")
        else:
            yield prefix + name


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise SelfCheckFailed(f"clean-up: {what} is not as planned")
