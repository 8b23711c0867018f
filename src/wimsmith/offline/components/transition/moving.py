"""Moving updates of packages between absent, staged and installed, with all that follows.

References of deployments change first; from them follows which deployments and components are in
the store and which versions are installed, from that which versions win, and from that what is
seen outside. How each is decided: docs/internals/removing.md.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from wimsmith.errors import DamagedInput, NotSupported
from wimsmith.offline.components.gate.remembered import calibration_findings
from wimsmith.offline.components.install.advanced import changed_elements
from wimsmith.offline.components.install.descriptions import Component
from wimsmith.offline.components.outcome import finding_of
from wimsmith.offline.components.store import winners
from wimsmith.offline.components.store.lookups import (
    CATALOGS,
    COMPONENTS,
    DEPLOYMENTS,
    Store,
    stated_identity,
)
from wimsmith.offline.components.store.references import (
    Reference,
    parse_reference,
    split_identifier,
)
from wimsmith.offline.components.transition.claims import Others
from wimsmith.offline.components.transition.context import Context
from wimsmith.offline.components.transition.projection import drop_backups, project
from wimsmith.offline.components.transition.stored import Shown, Stored
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.names import (
    file_value_name,
    keyform,
    keyform_without_version,
    reference_value_name,
)
from wimsmith.offline.manifests.package import Update
from wimsmith.offline.planning.state import StoredPackage
from wimsmith.offline.progress import Event, Progress
from wimsmith.offline.registry.values import ValueType, encode_dword
from wimsmith.offline.verdicts import Finding, Verdict

log = logging.getLogger("wimsmith.offline")

_INSTALLED_MARK = "i!"


@dataclass(frozen=True, slots=True)
class Move:
    """An update of a package, and the state that its deployments shall have for it.

    `update` is needed only where it shall be installed.
    """

    package: str
    name: str
    state: int
    update: Update | None = None

    @property
    def identifier(self) -> str:
        return f"{self.package}.{self.name}"


@dataclass(frozen=True, slots=True)
class _Family:
    """A component family whose version in sight changes."""

    leaving: tuple[Component, ...]
    entering: tuple[Component, ...]


class Moving:
    """One change to the states of updates; nothing is kept of it if `findings` speak against it."""

    def __init__(self, context: Context, progress: Progress, *, missing: str) -> None:
        """`missing` is the code of the finding where payload that is needed is not there."""
        self.context = context
        self.stored = Stored(context)
        self.findings: list[Finding] = []
        self._progress = progress
        self._missing = missing
        self._listed: dict[str, AssemblyIdentity] = {}
        self._installs = False

    def run(self, moves: Iterable[Move], packages: Iterable[StoredPackage]) -> None:
        """Draft all moves; what stands in the way is in `findings` afterwards.

        Args:
            moves: updates with the states that they shall have.
            packages: the packages touched, whether or not they have updates that move.
        """
        try:
            self._collect(self._mark(moves))
            self._place([one.identity for one in packages])
        except (NotSupported, DamagedInput) as error:
            self.findings.append(finding_of(error))

    @cached_property
    def references(self) -> dict[str, list[str]]:
        """Keys of the deployments that an update refers to, by `package.update` in lower case."""
        found: dict[str, list[str]] = {}
        for key in self.context.before.components.subkeys(DEPLOYMENTS):
            for reference in _references(self.context.before, key):
                keys = found.setdefault(reference.identifier.lower(), [])
                if key not in keys:
                    keys.append(key)
        return found

    def updates_of(self, package: str) -> tuple[str, ...]:
        """Names of the updates of a package that deployments carry a reference of."""
        pairs = (split_identifier(identifier) for identifier in self.references)
        return tuple(update for name, update in pairs if name == package.lower())

    def _mark(self, moves: Iterable[Move]) -> dict[str, AssemblyIdentity]:
        """Write the references; returns the deployments that have changed, by key."""
        touched: dict[str, AssemblyIdentity] = {}
        for move in moves:
            for key in self.references.get(move.identifier.lower(), ()):
                path = rf"{DEPLOYMENTS}\{key}"
                value = self.context.before.components.value(path, "appid")
                identity = stated_identity(value)
                if identity is None:
                    text = f"the deployment {key} does not say which one it is"
                    raise NotSupported("image-damaged", text)
                touched[key] = identity
                self._rewrite(path, move)
        return touched

    def _rewrite(self, path: str, move: Move) -> None:
        hive = self.context.store.components
        for value in list(hive.values(path)):
            reference = parse_reference(value)
            own = reference and reference.identifier.lower() == move.identifier.lower()
            if reference and own and not _stays(reference.mark, move.state):
                hive.delete_value(path, value.name)
        if move.state >= PackageState.INSTALLED:
            assert move.update is not None, "what is installed is described"
            self._installs = True
            name = reference_value_name(_INSTALLED_MARK, move.identifier)
            if hive.value(path, name) is None:
                data = self.context.siblings.reference_data(_INSTALLED_MARK, move.update)
                reference = Reference(_INSTALLED_MARK, move.identifier, data)
                hive.set_value(path, name, ValueType.BINARY, reference.to_bytes())

    def _collect(self, deployments: dict[str, AssemblyIdentity]) -> None:
        """Drop deployments that nobody refers to; note every component that may change."""
        self.stored.load(deployments.values())
        for key, identity in deployments.items():
            component = self.stored.component(identity)
            members = (identity, *component.manifest.installs)
            self._listed |= {keyform(one): one for one in members}
            if next(_references(self.context.store, key), None) is None:
                self._drop_deployment(key, members)

    def _drop_deployment(self, key: str, members: Sequence[AssemblyIdentity]) -> None:
        hive = self.context.store.components
        hive.delete_key(rf"{DEPLOYMENTS}\{key}")
        for one in members:
            hive.delete_value(rf"{COMPONENTS}\{keyform(one)}", f"c!{key}")
        for catalog in list(hive.subkeys(CATALOGS)):
            hive.delete_value(rf"{CATALOGS}\{catalog}", f"c!{key}")
        log.info("Exec: deployment %s has no reference left", key)

    def _place(self, packages: Sequence[AssemblyIdentity]) -> None:
        """Settle components: absent, staged or installed; then what is seen of them."""
        absent: list[AssemblyIdentity] = []
        moved: list[AssemblyIdentity] = []
        lacking: list[AssemblyIdentity] = []
        self.stored.load(self._listed.values())
        for done, (key, identity) in enumerate(self._listed.items(), 1):
            self._progress(Event("settle components", done, len(self._listed)))
            if not self.context.before.has_component(identity):
                lacking.append(identity)
                continue
            was = self._state(self.context.before, key)
            now = self._state(self.context.store, key)
            if was != now:
                moved.append(identity)
                self._settle(identity, was, now)
            if now == PackageState.ABSENT:
                absent.append(identity)
        families = tuple(self._families(moved))
        leaving, entering = self._planned(moved, families)
        self._check(moved, families)
        self.findings += self._not_there(lacking)
        if not self.findings:
            touched = (*self._listed.values(), *packages)
            self.findings += calibration_findings(self.context.before, touched, self._progress)
        if self.findings:
            return
        project(self.context, Others(self.context, self.stored, self._progress), leaving, entering)
        for done, identity in enumerate(absent, 1):
            self._erase(keyform(identity))
            self._progress(Event("remove components", done, len(absent)))

    def _state(self, store: Store, key: str) -> int:
        """The best state in which a deployment holds a component."""
        state = PackageState.ABSENT
        for value in store.components.values(rf"{COMPONENTS}\{key}"):
            if value.name[:2] == "c!":
                marks = {one.mark for one in _references(store, value.name[2:])}
                found = PackageState.INSTALLED if _INSTALLED_MARK in marks else PackageState.STAGED
                state = max(state, found)
        return state

    def _settle(self, identity: AssemblyIdentity, was: int, now: int) -> None:
        component = self.stored.component(identity)
        if now >= PackageState.INSTALLED:
            if not component.manifest.is_deployment or self.context.siblings.deployments_win:
                winners.enter(self.context.store, identity)
        elif was >= PackageState.INSTALLED:
            winners.leave(self.context.store, identity)
        if now != PackageState.ABSENT and component.manifest.files:
            self._flag_files(component, now)

    def _flag_files(self, component: Component, state: int) -> None:
        number = self.context.siblings.file_flags(is_installed=state >= PackageState.INSTALLED)
        for file in component.manifest.files:
            path = rf"{COMPONENTS}\{component.key}"
            self.context.store.components.set_value(
                path, file_value_name(file.name), ValueType.DWORD, encode_dword(number)
            )

    def _families(self, moved: Iterable[AssemblyIdentity]) -> Iterator[_Family]:
        names = {keyform_without_version(one): one for one in moved}
        for identity in names.values():
            before = winners.shown(self.context.before, identity)
            after = winners.shown(self.context.store, identity)
            if before != after and not self.stored.component(identity).manifest.is_deployment:
                yield _Family(
                    self._versions(identity, before - after),
                    self._versions(identity, after - before),
                )

    def _versions(
        self, identity: AssemblyIdentity, versions: Iterable[Version]
    ) -> tuple[Component, ...]:
        return tuple(self.stored.component(_at(identity, one)) for one in sorted(versions))

    def _planned(
        self, moved: Iterable[AssemblyIdentity], families: Iterable[_Family]
    ) -> tuple[tuple[Shown, ...], tuple[Shown, ...]]:
        """Where everything of the components is that go or come; what hinders is a finding.

        Versions that were installed beneath others have left values behind when those came; so
        they go as well, before the ones that were in sight.
        """
        in_sight = [one for family in families for one in family.leaving]
        hidden = [one for one in self._uninstalled(moved) if one not in in_sight]
        leaving: list[Shown] = []
        entering: list[Shown] = []
        try:
            leaving += [self.stored.shown(one.identity) for one in (*hidden, *in_sight)]
            for one in (one for family in families for one in family.entering):
                self.stored.check_payload(one, self._missing)
                entering.append(self.stored.shown(one.identity))
        except (NotSupported, DamagedInput) as error:
            self.findings.append(finding_of(error))
        return tuple(leaving), tuple(entering)

    def _uninstalled(self, moved: Iterable[AssemblyIdentity]) -> Iterator[Component]:
        """Components that were installed and are so no longer, lowest version first."""
        for identity in sorted(moved, key=lambda one: one.version):
            was, now = (
                self._state(store, keyform(identity)) >= PackageState.INSTALLED
                for store in (self.context.before, self.context.store)
            )
            component = self.stored.component(identity)
            if was and not now and not component.manifest.is_deployment:
                yield component

    def _check(self, moved: Iterable[AssemblyIdentity], families: Iterable[_Family]) -> None:
        """Elements that need an installer of Windows, and versions that should be there."""
        alone: list[AssemblyIdentity] = []
        for family in families:
            self.findings += self._advanced(family.leaving, family.entering)
            if not family.entering:
                alone += [one.identity for one in family.leaving]
        for identity in moved:
            component = self.stored.component(identity)
            if component.manifest.is_deployment and component.manifest.advanced:
                self.findings += self._advanced_deployment(component)
        self.findings += self._reset(alone)

    def _advanced(
        self, leaving: Sequence[Component], entering: Sequence[Component]
    ) -> Iterator[Finding]:
        for new in entering:
            if not leaving:
                yield from _elements("advanced-new", new.manifest.advanced, new)
        for old in leaving:
            if not entering:
                yield from _elements("advanced-gone", old.manifest.advanced, old)
            for new in entering:
                changed = changed_elements(old.data, old.manifest, new.data, new.manifest)
                yield from _elements("advanced-changed", changed, new)

    def _advanced_deployment(self, component: Component) -> Iterator[Finding]:
        was, now = (
            self._state(store, component.key) >= PackageState.INSTALLED
            for store in (self.context.before, self.context.store)
        )
        if was == now:
            return
        twin = self._other_version(component.identity)
        if twin is None:
            code = "advanced-new" if now else "advanced-gone"
            yield from _elements(code, component.manifest.advanced, component)
        else:
            changed = changed_elements(component.data, component.manifest, twin.data, twin.manifest)
            yield from _elements("advanced-changed", changed, component)

    def _other_version(self, identity: AssemblyIdentity) -> Component | None:
        """The highest version of a deployment that is installed beside one, before and after."""
        before, after = (
            store.installed_versions(identity)
            for store in (self.context.before, self.context.store)
        )
        both = [one for one in before if one in after and one != identity.version]
        return self.stored.component(_at(identity, both[-1])) if both else None

    def _reset(self, alone: Sequence[AssemblyIdentity]) -> Iterator[Finding]:
        """Components of which an installed deployment lists a lower version that is gone."""
        wanted = {keyform_without_version(one): one for one in alone}
        names = {one.name.lower().encode() for one in alone}
        installed = {keyform(one): one for one in self._installed_deployments()} if wanted else {}
        for key, text in self.stored.texts(installed, "look for older versions", self._progress):
            if text is not None and not any(name in text.lower() for name in names):
                continue
            for one in self.stored.component(installed[key]).manifest.installs:
                going = wanted.get(keyform_without_version(one))
                if going and _should_return(one, going) and not self._has(one):
                    about = f"{keyform(one)}, which would have to come back, is gone from the store"
                    yield Finding(Verdict.NOT_SUPPORTED, self._missing, about)

    def _installed_deployments(self) -> Iterator[AssemblyIdentity]:
        store = self.context.store
        for key in store.components.subkeys(DEPLOYMENTS):
            value = store.components.value(rf"{DEPLOYMENTS}\{key}", "appid")
            identity = stated_identity(value)
            if identity and any(one.mark == _INSTALLED_MARK for one in _references(store, key)):
                yield identity

    def _has(self, identity: AssemblyIdentity) -> bool:
        return self.context.store.has_component(identity)

    def _not_there(self, lacking: Iterable[AssemblyIdentity]) -> Iterator[Finding]:
        """Components that shall be installed and are not in the store, nor newer ones of them."""
        for identity in lacking if self._installs else ():
            versions = self.context.store.installed_versions(identity)
            if not any(one >= identity.version for one in versions):
                text = f"{keyform(identity)} is gone from the store"
                yield Finding(Verdict.NOT_SUPPORTED, self._missing, text)

    def _erase(self, key: str) -> None:
        """Take a component out of the store."""
        store, draft = self.context.store, self.context.draft
        drop_backups(self.context, key)
        draft.remove(store.payload_path(key))
        draft.remove(store.manifest_path(key))
        store.components.delete_key(rf"{COMPONENTS}\{key}")


def _references(store: Store, key: str) -> Iterator[Reference]:
    for value in store.components.values(rf"{DEPLOYMENTS}\{key}"):
        reference = parse_reference(value)
        if reference is not None:
            yield reference


def _stays(mark: str, state: int) -> bool:
    """Whether a reference with a mark belongs to an update in a state."""
    if mark == _INSTALLED_MARK:
        return state >= PackageState.INSTALLED
    return state >= PackageState.STAGED


def _should_return(older: AssemblyIdentity, going: AssemblyIdentity) -> bool:
    """Whether a version shows itself again once another has gone, if it is installed."""
    lower = older.version < going.version
    return lower and (older.is_alone or older.version.branch == going.version.branch)


def _at(identity: AssemblyIdentity, version: Version) -> AssemblyIdentity:
    return replace(identity, version=version)


def _elements(code: str, elements: Iterable[str], component: Component) -> Iterator[Finding]:
    for element in elements:
        text = f"{component.key} has the element {element}, which needs an installer of Windows"
        yield Finding(Verdict.NOT_SUPPORTED, f"{code}:{element}", text)
