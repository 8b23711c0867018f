"""Rules of what components show outside the store: where their files are, and who may use them."""

from collections import Counter

from wimsmith.errors import DamagedSecurity, NotSupported, UnknownAlias, UnsafePath
from wimsmith.offline import paths
from wimsmith.offline.components.gate.report import RuleReport
from wimsmith.offline.components.gate.rules.base import Rule
from wimsmith.offline.components.gate.subjects import Component, Inventory
from wimsmith.offline.components.install.descriptions import places
from wimsmith.offline.components.install.destinations import Places
from wimsmith.offline.components.store.draft import File
from wimsmith.offline.descriptors import SecurityDescriptor
from wimsmith.offline.manifests.component import ComponentFile
from wimsmith.offline.security import FILE_RIGHTS, is_inherit, stored_descriptor

_PROTECTED = 0x3000
_UNDECIDED = frozenset(["runtime.startmenu", "runtime.userprofile"])
"""Public sources say different things about these: packages that use them are refused."""


class LinksRule(Rule):
    """Destinations in manifests of winners: hard links to the payload in the store.

    The classes of content are the folders that the destinations start in.
    """

    name = "links"
    is_content = True

    def __init__(self, inventory: Inventory) -> None:
        super().__init__(inventory)
        self._claims: Counter[int] = Counter()
        self._odd: list[tuple[int, str, str, str]] = []

    def component(self, one: Component) -> None:
        if one.identity is None or one.manifest is None or not self.inventory.wins(one):
            return
        seen = places(self.store, one.identity)
        for file in one.manifest.files:
            payload = self.store.draft.find(paths.join(self.store.payload_path(one.key), file.name))
            for text in _destinations(file):
                self._destination(one, file, payload, text, seen)

    def _destination(
        self, one: Component, file: ComponentFile, payload: File | None, text: str, seen: Places
    ) -> None:
        try:
            path = seen.in_image(text)
        except (NotSupported, UnsafePath):
            self.tally.exempts("the destination is not known")
            return
        claim, kind = hash(paths.fold(path)), _folder_of(text)
        self._claims[claim] += 1
        found = self.store.draft.find(path)
        if payload is None:
            self.tally.exempts("the payload has been deleted")
        elif found is payload:
            self.tally.matches(kind)
        elif file.writeable_type and found is not None:
            self.tally.exempts("the file may be written to")
        else:
            what = "is not there" if found is None else "is no link to the payload"
            self._odd.append((claim, one.key, f"{path} {what}", kind))

    def report(self) -> RuleReport:
        for claim, key, text, kind in self._odd:
            if self._claims[claim] > 1:
                self.tally.exempts("several components have the same destination")
            else:
                self.tally.differs(key, text, kind)
        return self.tally.report()


class DestinationsRule(Rule):
    """Macros at the beginning of destinations: which folders they mean is known."""

    name = "destinations"

    def component(self, one: Component) -> None:
        if one.identity is None or one.manifest is None:
            return
        seen = places(self.store, one.identity)
        texts = [text for file in one.manifest.files for text in _destinations(file)]
        texts += [directory.destination_path for directory in one.manifest.directories]
        for text in texts:
            folder = _folder_of(text)
            if folder.lower() in _UNDECIDED:
                self.tally.exempts(f"nothing certain is known of $({folder})")
                continue
            try:
                seen.in_image(text)
            except (NotSupported, UnsafePath) as error:
                self.tally.differs(one.key, str(error))
            else:
                self.tally.matches()
                self.tally.saw("folders", folder.lower())


class SecurityRule(Rule):
    """Descriptors that manifests name for files: the SDDL compiled, as the file has it.

    The classes of content are the names of the definitions.
    """

    name = "security"
    is_content = True

    def component(self, one: Component) -> None:
        if one.manifest is None:
            return
        for file in one.manifest.files:
            name = file.security_descriptor
            definition = one.manifest.security_descriptors.get(name or "")
            if definition is None or is_inherit(definition.sddl):
                self.tally.exempts("no descriptor of its own")
                continue
            stored = self.store.draft.find(paths.join(self.store.payload_path(one.key), file.name))
            if stored is None:
                self.tally.exempts("the payload has been deleted")
                continue
            self._compare(one, file, definition.sddl, stored)

    def _compare(self, one: Component, file: ComponentFile, sddl: str, stored: File) -> None:
        kind = file.security_descriptor or ""
        text = f"{file.name} has another descriptor than {file.security_descriptor}"
        try:
            compiled = stored_descriptor(sddl, FILE_RIGHTS)
            holds = stored.security is not None and _meaning(stored.security) == _meaning(compiled)
        except UnknownAlias:
            self.tally.exempts("it names an account of a domain or machine")
        except DamagedSecurity as error:
            self.tally.differs(one.key, f"{file.security_descriptor}: {error}", kind)
        else:
            self.tally.expect(holds, one.key, text, kind)


def _destinations(file: ComponentFile) -> list[str]:
    """Full destinations of a file, with their macros."""
    here = [rf"{file.destination_path}\{file.name}"] if file.destination_path else []
    return [*here, *file.links]


def _meaning(descriptor: bytes) -> tuple[object, ...]:
    """What a descriptor grants and audits, without the marks of how it came to be."""
    parts = SecurityDescriptor.from_bytes(descriptor)
    return parts.owner, parts.group, parts.dacl, parts.sacl, parts.control & _PROTECTED


def _folder_of(text: str) -> str:
    """The macro that a destination starts with."""
    head, _, _ = text.removeprefix("$(").partition(")")
    return head[:60]
