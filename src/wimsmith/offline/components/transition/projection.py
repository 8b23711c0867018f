"""What shows itself outside the store, after other versions of components have won.

Written are links, directories, keys and values of the versions that win now, by the same code
that installs; then goes what only those had that win no longer.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from wimsmith.errors import NotSupported
from wimsmith.offline import paths
from wimsmith.offline.components.install.files import write_directories, write_links
from wimsmith.offline.components.install.registry import (
    PlannedKey,
    PlannedValue,
    write_registry,
)
from wimsmith.offline.components.install.writing import is_boot_recovery
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.transition.claims import Claims, Others, ValuePlace
from wimsmith.offline.components.transition.context import Context
from wimsmith.offline.components.transition.stored import Shown
from wimsmith.offline.paths import fold
from wimsmith.offline.registry.values import Value

log = logging.getLogger("wimsmith.offline")


def project(
    context: Context, others: Others, leaving: Sequence[Shown], entering: Sequence[Shown]
) -> None:
    """Take `leaving` out of sight and put `entering` in its place; both are in the store.

    Raises:
        NotSupported: `shared-value`, `shared-file`: components that stay in sight disagree
            about what they share; or one that may own what goes is not understood.
    """
    old, new = Claims.of(leaving), Claims.of(entering)
    if not old and not new:
        return
    gone = old.without(new).with_insides().without(new)
    asked = Claims.of((*leaving, *entering)).with_insides()
    kept = others.claiming(asked, (one.identity for one in entering))
    _make_room(context, old, new)
    alone = [_without_shared(one, kept) for one in entering]
    write_directories(context.draft, (one.files for one in alone))
    write_registry(context.draft, (key for one in alone for key in one.registry))
    for shown in alone:
        write_links(context.draft, shown.files)
        _keep_backups(context, shown)
    for place in {**old.files, **new.files}:
        _file(context, place, old, new, kept)
    for value_place in {**old.values, **new.values}:
        _value(context, value_place, old, new, kept)
    _keys(context, gone, kept)
    _directories(context, gone, kept)


def _make_room(context: Context, old: Claims, new: Claims) -> None:
    """A value that may change stays as it is, but not as a version wrote it that goes."""
    for place, owned in new.values.items():
        was = old.values.get(place)
        if was and owned[-1][1].keeps_existing:
            key, planned = was[-1]
            present = context.draft.hive(key.hive).value(key.path, planned.value.name)
            if _is_own(present, was):
                context.draft.hive(key.hive).delete_value(key.path, planned.value.name)


def _without_shared(shown: Shown, kept: Claims) -> Shown:
    """A component without the names and values that others in sight own as well."""
    files = tuple(
        replace(file, links=tuple(link for link in file.links if fold(link) not in kept.files))
        for file in shown.files.files
    )
    keys = tuple(
        replace(
            key,
            values=tuple(
                one
                for one in key.values
                if (key.hive, fold(key.path), fold(one.value.name)) not in kept.values
            ),
        )
        for key in shown.registry
    )
    return replace(shown, files=replace(shown.files, files=files), registry=keys)


def _file(context: Context, place: str, old: Claims, new: Claims, kept: Claims) -> None:
    """A name that only versions had that go is removed; a shared one is whose it can only be."""
    draft, was = context.draft, old.files.get(place, [])
    remaining = [*kept.files.get(place, ()), *new.files.get(place, ())]
    if not remaining:
        _remove_own(draft, was)
    if not remaining or place not in kept.files:
        return
    path = remaining[0][0]
    present = draft.find(path)
    if present is None or any(present is draft.find(source) for _, source in was):
        sources = {file.sha1: one for _, one in remaining if (file := draft.find(one))}
        if len(sources) > 1:
            text = f"several components that stay own {path} and disagree about it"
            raise NotSupported("shared-file", text)
        draft.link(path, remaining[0][1])


def _remove_own(draft: Draft, owned: Sequence[tuple[str, str]]) -> None:
    """Remove a name, unless what stands there is no payload of the versions that go.

    Images exist that were captured without their hard links, so the same content counts as well.
    """
    path = owned[-1][0]
    present = draft.find(path)
    if present is None:
        return
    sources = [file for _, one in owned if (file := draft.find(one)) is not None]
    is_plain = not present.is_directory and not present.is_link
    if any(present is one or (is_plain and present.sha1 == one.sha1) for one in sources):
        draft.remove(path)
    else:
        log.warning("%s is left: it is not the file that the component has put there", path)


def _value(context: Context, place: ValuePlace, old: Claims, new: Claims, kept: Claims) -> None:
    """A value that only versions had that go is deleted; a shared one is whose it can only be."""
    was = old.values.get(place, [])
    remaining = [*kept.values.get(place, ()), *new.values.get(place, ())]
    key, planned = (remaining or was)[0]
    hive, name = context.draft.hive(key.hive), planned.value.name
    if not remaining:
        hive.delete_value(key.path, name)
    elif place in kept.values:
        present = hive.value(key.path, name)
        if present is None or _is_own(present, was):
            wanted = _agreed(place, [one for _, one in remaining])
            hive.set_value(key.path, wanted.name, wanted.type, wanted.data)


def _is_own(present: Value | None, owned: Sequence[tuple[PlannedKey, PlannedValue]]) -> bool:
    """Whether a value is what versions that go have written, whatever was there before."""
    return present is not None and any(
        not one.keeps_existing and (one.value.type, one.value.data) == (present.type, present.data)
        for _, one in owned
    )


def _agreed(place: ValuePlace, owners: Sequence[PlannedValue]) -> Value:
    """What the owners of a value want there; those count first that overwrite what they find."""
    chosen = [one for one in owners if not one.keeps_existing] or owners
    wanted = {(one.value.type, one.value.data): one.value for one in chosen}
    if len(wanted) > 1:
        hive, key, name = place
        text = f"several components that stay own {hive}\\{key}, value {name!r}, and disagree"
        raise NotSupported("shared-value", text)
    return next(iter(wanted.values()))


def _keys(context: Context, gone: Claims, kept: Claims) -> None:
    """Owned keys go once they are empty, the deepest first; shared ones are the others' again."""
    for place, key in sorted(gone.keys.items(), key=lambda one: -one[0][1].count("\\")):
        hive, other = context.draft.hive(key.hive), kept.keys.get(place)
        if other is not None:
            hive.create_key(other.path, other.descriptor.data)
        elif not any(hive.subkeys(key.path)) and next(hive.values(key.path), None) is None:
            hive.delete_key(key.path)


def _directories(context: Context, gone: Claims, kept: Claims) -> None:
    draft = context.draft
    for place, (path, _) in sorted(gone.directories.items(), key=lambda one: -one[0].count("/")):
        other = kept.directories.get(place)
        if other is not None and other[1] is not None:
            draft.make_directory(path, other[1])
        elif other is None and draft.exists(path) and not draft.names_in(path):
            draft.remove(path)


def _keep_backups(context: Context, shown: Shown) -> None:
    """Copies for a start of Windows that fails; those of a version that won before are there."""
    if not is_boot_recovery(shown.component):
        return
    for file in shown.files.files:
        base = paths.split(file.name)[-1]
        suffix = context.siblings.backup_suffix(base)
        path = f"{_backups(context)}/{shown.key}_{base}_{suffix}"
        stored = context.draft.find(file.path)
        if stored is not None and not context.draft.exists(path):
            data = context.draft.read(file.path)
            context.draft.put_bytes(path, data, stored.security, stored.attributes)
    path = f"{_backups(context)}/{shown.key}.manifest"
    if context.siblings.backups_hold_manifests and not context.draft.exists(path):
        context.draft.put_bytes(path, shown.component.data)


def drop_backups(context: Context, key: str) -> None:
    """Remove the copies of files of a component that leaves the store."""
    for path in list(_backups_of(context, key)):
        context.draft.remove(path)


def _backups_of(context: Context, key: str) -> Iterator[str]:
    folder, start = _backups(context), key.lower()
    for name in context.draft.names_in(folder):
        if name.lower().startswith(f"{start}_") or name.lower() == f"{start}.manifest":
            yield f"{folder}/{name}"


def _backups(context: Context) -> str:
    return context.store.payload_path("Backup")
