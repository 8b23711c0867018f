r"""Families of components: which versions are installed, and which one shows itself.

Layout of `SideBySide\Winners`: docs/internals/component-store.md.
"""

from collections.abc import Iterable
from dataclasses import replace

from wimsmith.offline.components.store.lookups import WINNERS, Store
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.names import keyform_without_version
from wimsmith.offline.registry.values import ValueType, encode_text

_WINS = b"\x01"


def enter(store: Store, identity: AssemblyIdentity) -> None:
    """Add an installed version to its family; the highest of the highest branch wins."""
    software, family = store.software, _family(identity)
    branch = rf"{family}\{identity.version.branch}"
    software.set_value(branch, str(identity.version), ValueType.BINARY, _WINS)
    versions = store.installed_versions(identity)
    _set_winner(store, identity, versions)
    _set_branch(store, identity, versions)


def leave(store: Store, identity: AssemblyIdentity) -> None:
    """Take a version out of its family; the next lower one of the branch wins, if there is one."""
    software, family = store.software, _family(identity)
    branch = rf"{family}\{identity.version.branch}"
    if software.value(branch, str(identity.version)) is None:
        return
    software.delete_value(branch, str(identity.version))
    versions = store.installed_versions(identity)
    if not versions:
        software.delete_key(family)
    elif any(one.branch == identity.version.branch for one in versions):
        _set_winner(store, identity, versions)
    else:
        software.delete_key(branch)
        if store.winning_branch(identity) == identity.version.branch:
            _set_branch(store, identity, versions)


def shown(store: Store, identity: AssemblyIdentity) -> frozenset[Version]:
    """The versions of a family that have files and values outside the store.

    Of a component that is alone that is the winner of the branch in use; others stand side by
    side, one in each branch.
    """
    branches = {one.branch: one for one in store.installed_versions(identity)}
    in_use = store.winning_branch(identity)
    winners = (
        store.winning_version(replace(identity, version=version))
        for branch, version in branches.items()
        if not identity.is_alone or in_use in {None, branch}
    )
    return frozenset(one for one in winners if one is not None)


def _set_winner(store: Store, identity: AssemblyIdentity, versions: Iterable[Version]) -> None:
    branch = identity.version.branch
    highest = max(one for one in versions if one.branch == branch)
    path = rf"{_family(identity)}\{branch}"
    store.software.set_value(path, "", ValueType.SZ, encode_text(str(highest)))


def _set_branch(store: Store, identity: AssemblyIdentity, versions: Iterable[Version]) -> None:
    highest = max(versions).branch
    store.software.set_value(_family(identity), "", ValueType.SZ, encode_text(highest))


def _family(identity: AssemblyIdentity) -> str:
    return rf"{WINNERS}\{keyform_without_version(identity)}"
