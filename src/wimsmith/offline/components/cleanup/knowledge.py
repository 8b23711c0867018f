"""What manifests say that bears on clean-up: permanence, parents, and whether they can be read."""

import logging
from collections.abc import Iterator, Mapping

from wimsmith.errors import DamagedInput, LimitExceeded
from wimsmith.offline.components.cleanup.facts import ComponentFacts, PackageFacts, StoreFacts
from wimsmith.offline.components.cleanup.report import Fate, Judgement, Reason
from wimsmith.offline.components.cleanup.rules import Knowledge, Requirement
from wimsmith.offline.components.store.basemanifest import ManifestReader
from wimsmith.offline.components.store.expansion import StoredManifest
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.component import parse_component
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.manifests.package import PackageManifest, parse_package
from wimsmith.offline.planning.parents import matches
from wimsmith.offline.progress import Event, Progress

log = logging.getLogger("wimsmith.offline")

_PERMANENT = "permanent"


def package_knowledge(store: Store, facts: StoreFacts) -> Knowledge:
    """What the manifests of packages say about those that have been replaced.

    A replaced package whose own manifest is missing or cannot be read is held.
    """
    replaced = facts.replaced_packages()
    if not replaced:
        return Knowledge({}, ())
    names = {one.identity.name.lower() for one in replaced.values() if one.identity}
    held = {
        name: Judgement(Fate.KEPT, Reason.CHECKPOINT)
        for name, one in replaced.items()
        if one.is_checkpoint
    }
    missing = set(replaced)
    requirements: list[Requirement] = []
    for name, manifest, mentions in _manifests(store, facts, replaced, names):
        missing.discard(name)
        if name in replaced and manifest is None:
            held[name] = Judgement(Fate.KEPT, Reason.NOT_UNDERSTOOD)
        elif name in replaced and manifest and manifest.permanence.lower() == _PERMANENT:
            held[name] = Judgement(Fate.KEPT, Reason.PERMANENT)
        if manifest is not None and mentions:
            requirements += _requirement(store, facts, name, manifest)
    held |= {name: Judgement(Fate.KEPT, Reason.NOT_UNDERSTOOD) for name in missing}
    return Knowledge(held, tuple(requirements))


def unreadable_components(
    reader: ManifestReader,
    components: Mapping[str, ComponentFacts],
    progress: Progress,
) -> frozenset[str]:
    """Those of `components`, by name in lower case, whose manifests are not what they should be."""
    unreadable = set(components)
    keys = [one.key for one in components.values()]
    for done, stored in enumerate(reader.many(keys), 1):
        name = stored.key.lower()
        if _describes(stored, components[name]):
            unreadable.discard(name)
        progress(Event("read manifests", done, len(keys)))
    for name in sorted(unreadable):
        log.warning("%s is kept: its manifest is not what it should be", components[name].key)
    return frozenset(unreadable)


def _describes(stored: StoredManifest, component: ComponentFacts) -> bool:
    """Whether a manifest can be read and is the one of a component."""
    if not stored.is_proved:
        return False
    try:
        manifest = parse_component(stored.xml)
    except (DamagedInput, LimitExceeded):
        return False
    is_named_so = keyform(manifest.identity) == component.key
    return is_named_so and manifest.is_deployment == component.is_deployment


def _manifests(
    store: Store,
    facts: StoreFacts,
    replaced: Mapping[str, PackageFacts],
    names: set[str],
) -> Iterator[tuple[str, PackageManifest | None, bool]]:
    """Manifests that bear on replaced packages, None for one that cannot be read.

    Besides their own these are all that mention the name of one in their text.
    """
    folder = f"{store.image.windows}/servicing/Packages"
    wanted = {f"{folder}/{one.name}.mum": name for name, one in facts.packages.items()}
    for path, data in store.draft.read_many(wanted):
        text = data.lower()
        mentions = any(name.encode("ascii") in text for name in names)
        if wanted[path] not in replaced and not mentions:
            continue
        try:
            yield wanted[path], parse_package(data), mentions
        except (DamagedInput, LimitExceeded) as error:
            log.warning("%s cannot be read: %s", path, error)
            yield wanted[path], None, mentions


def _requirement(
    store: Store, facts: StoreFacts, name: str, manifest: PackageManifest
) -> Iterator[Requirement]:
    """The packages in the image that a package accepts as its parent, if any."""
    found = {
        other
        for parent in manifest.parents
        for wanted in parent.identities
        for other, one in facts.packages.items()
        if one.identity is not None
        and one.state >= PackageState.STAGED
        and one.identity.family == wanted.family
        and matches(store.image, parent, wanted.version, one.identity.version)
    }
    if found:
        yield Requirement(name, frozenset(found))
