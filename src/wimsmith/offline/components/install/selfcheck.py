"""Reading back what an update wrote, before anyone relies on it.

Everything planned is read again through the draft: content by hash, values by bytes, hard links
by identity; and deployments, components and files must refer to each other without a gap.
"""

import hashlib
from collections.abc import Iterable

from wimsmith.errors import NotFound, SelfCheckFailed
from wimsmith.offline.changes import (
    ChangeSet,
    DeleteKey,
    DeleteValue,
    Link,
    PutFile,
    Remove,
    SetValue,
)
from wimsmith.offline.components.install.cbs import catalog_path
from wimsmith.offline.components.install.descriptions import Component
from wimsmith.offline.components.install.files import PlannedFiles
from wimsmith.offline.components.install.source import Deployment
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import CATALOGS, COMPONENTS, DEPLOYMENTS, Store
from wimsmith.offline.manifests.names import file_value_name
from wimsmith.offline.paths import fold


def check_changes(draft: Draft, changes: ChangeSet) -> None:
    """Read every planned path and value again.

    Raises:
        SelfCheckFailed: something reads back other than it was written.
    """
    last_edit = {fold(edit.path): edit for edit in changes.tree}
    hashes: dict[str, str] = {}
    for edit in last_edit.values():
        if isinstance(edit, PutFile):
            found = hashes.get(edit.sha1) or _sha1(draft, edit.path)
            hashes[edit.sha1] = found
            _expect(found == edit.sha1, f"the content of {edit.path}")
        elif isinstance(edit, Link):
            file = draft.find(edit.path)
            _expect(file is not None and file is draft.find(edit.target), f"the link {edit.path}")
        elif isinstance(edit, Remove):
            _expect(not draft.exists(edit.path), f"that {edit.path} is gone")
    _expect(not changes.missing_content(), "all content at hand")
    _check_values(draft, changes)


def check_closure(
    store: Store,
    components: Iterable[tuple[Component, PlannedFiles]],
    deployments: Iterable[Deployment],
) -> None:
    """Follow deployments to components, components to deployments, manifests and files.

    Raises:
        SelfCheckFailed: a reference leads nowhere, or content is not what is stated.
    """
    for component, plan in components:
        _check_component(store, component, plan)
    for deployment in deployments:
        _check_deployment(store, deployment)


def _check_values(draft: Draft, changes: ChangeSet) -> None:
    """What was set last is there, and what was deleted last is not."""
    last: dict[tuple[str, str], dict[str, SetValue | DeleteValue]] = {}
    for edit in changes.registry:
        if isinstance(edit, SetValue | DeleteValue):
            last.setdefault((edit.hive, fold(edit.key)), {})[fold(edit.name)] = edit
        elif isinstance(edit, DeleteKey):
            below = fold(edit.key) + "\\"
            for place in [one for one in last if one[0] == edit.hive]:
                if (place[1] + "\\").startswith(below):
                    del last[place]
    for edit in (edit for edits in last.values() for edit in edits.values()):
        found = draft.hive(edit.hive).value(edit.key, edit.name)
        wanted = (edit.type, edit.data) if isinstance(edit, SetValue) else None
        same = (None if found is None else (found.type, found.data)) == wanted
        _expect(same, f"the value {edit.name!r} of {edit.hive}\\{edit.key}")


def _check_component(store: Store, component: Component, plan: PlannedFiles) -> None:
    key = component.key
    manifest = _read(store.draft, store.manifest_path(key))
    digest = store.component_value(key, "S256H")
    _expect(
        digest is not None and digest.data == hashlib.sha256(component.data).digest(),
        f"S256H of {key}",
    )
    stored_plain = manifest == component.data
    _expect(stored_plain or manifest.startswith(b"DCM"), f"the manifest of {key}")
    for owner in component.deployments:
        _expect(store.component_value(key, f"c!{owner}") is not None, f"c!{owner} of {key}")
        _expect(store.components.exists(rf"{DEPLOYMENTS}\{owner}"), f"the deployment {owner}")
    for file in plan.files:
        _expect(
            store.component_value(key, file_value_name(file.name)) is not None,
            f"f! of {key}/{file.name}",
        )
        data = _read(store.draft, file.path)
        found = hashlib.new(file.digest.algorithm, data, usedforsecurity=False).digest()
        _expect(found == file.digest.digest, f"the digest of {file.path}")


def _check_deployment(store: Store, deployment: Deployment) -> None:
    path = rf"{DEPLOYMENTS}\{deployment.key}"
    _expect(store.components.value(path, "appid") is not None, f"appid of {deployment.key}")
    thumbprint = store.components.value(path, "CatalogThumbprint")
    _expect(thumbprint is not None, f"CatalogThumbprint of {deployment.key}")
    listed = store.components.value(rf"{CATALOGS}\{deployment.catalog}", f"c!{deployment.key}")
    _expect(listed is not None, f"the catalog of {deployment.key}")
    path = catalog_path(store, deployment.catalog)
    found = hashlib.sha256(_read(store.draft, path)).hexdigest()
    _expect(found == deployment.catalog, f"the catalog {path}")
    for key in deployment.installs:
        _expect(store.components.exists(rf"{COMPONENTS}\{key}"), f"the component {key}")


def _sha1(draft: Draft, path: str) -> str:
    return hashlib.sha1(_read(draft, path), usedforsecurity=False).hexdigest()


def _read(draft: Draft, path: str) -> bytes:
    try:
        return draft.read(path)
    except (NotFound, OSError) as error:
        raise SelfCheckFailed(f"{path} cannot be read: {error}") from error


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise SelfCheckFailed(f"{what} is not as planned")
