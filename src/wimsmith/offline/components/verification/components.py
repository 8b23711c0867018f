"""Component keys and winners: what they name exists, and what exists is named."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from wimsmith.errors import DamagedManifest
from wimsmith.offline.components.verification.manifests import ManifestFacts
from wimsmith.offline.components.verification.report import Area, Findings
from wimsmith.offline.components.verification.tables import ComponentRow, FamilyRow, Tables
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.names import file_value_name, keyform, keyform_without_version

_HASH_DIGITS = 16


def check_components(
    tables: Tables, manifests: Mapping[str, ManifestFacts], findings: Findings
) -> None:
    """Check every component key against its deployments and its manifest."""
    for key, row in tables.components.items():
        findings.checked(Area.COMPONENTS)
        if row.identity is None or keyform(row.identity).lower() != key:
            findings.add("component-identity", row.key, row.key)
        if not row.deployments:
            findings.add("component-unowned", row.key, row.key)
        for deployment in row.deployments:
            if deployment not in tables.deployments:
                about = f"{row.key}: {deployment}"
                findings.add("component-deployment-missing", about, row.key, deployment)
        if key in manifests:
            _check_marks(row, manifests[key], findings)


def _check_marks(row: ComponentRow, manifest: ManifestFacts, findings: Findings) -> None:
    """Compare the `f!` values of a component with the files of its manifest."""
    wanted = {file_value_name(one.name)[2:].lower(): one.name for one in manifest.files}
    for mark in wanted.keys() - row.files:
        findings.add("component-file-mark", f"{row.key}: {wanted[mark]}", row.key)
    for mark in row.files - wanted.keys():
        findings.add("component-extra-file-mark", f"{row.key}: f!{mark}", row.key)


class Winners:
    """Which components are in use."""

    def __init__(self, tables: Tables, manifests: Mapping[str, ManifestFacts]) -> None:
        """Identities come from component keys, or else from the manifests."""
        self._tables = tables
        self._members: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._families: dict[str, str] = {}
        self.in_use: set[str] = set()
        """Keys of the components that win in the branch in use of their family."""
        for key, row in tables.components.items():
            identity = row.identity or (manifests[key].identity if key in manifests else None)
            if identity is not None:
                self._add(key, identity)

    def _add(self, key: str, identity: AssemblyIdentity) -> None:
        family = keyform_without_version(identity).lower()
        self._families[key] = family
        self._members[family][str(identity.version)] = key
        row = self._tables.families.get(family)
        if row is not None and row.winner == str(identity.version):
            self.in_use.add(key)

    def is_same_family(self, key: str, other: str) -> bool:
        """Whether two components are versions of the same."""
        return other in self._families and self._families[other] == self._families.get(key)

    def check(self, findings: Findings) -> None:
        """Check every family: its versions exist, the highest is in use, and all are listed."""
        for family, row in self._tables.families.items():
            findings.checked(Area.WINNERS)
            self._check_family(family, row, findings)
        for family, members in self._members.items():
            listed = self._listed(family)
            for version, key in members.items():
                if version not in listed and self.is_installed(key):
                    findings.add("winner-unlisted", key, key, family)

    def _listed(self, family: str) -> set[str]:
        row = self._tables.families.get(family)
        branches = row.branches.values() if row else ()
        return {version for branch in branches for version in branch.versions}

    def _check_family(self, family: str, row: FamilyRow, findings: Findings) -> None:
        members = self._members.get(family, {})
        if row.branch not in row.branches or row.branch != _highest_branch(row.branches):
            findings.add("winner-branch", f"{family}: branch {row.branch!r}", family)
        for name, branch in row.branches.items():
            for version in branch.versions:
                if version not in members:
                    about = f"{family}: {version}"
                    findings.add("winner-missing", about, family)
            if branch.winner not in branch.versions:
                about = f"{family}\\{name}: version {branch.winner!r}"
                findings.add("winner-branch", about, family, members.get(branch.winner, ""))
            elif branch.winner != _highest(branch.versions):
                about = f"{family}: {branch.winner}"
                findings.add("winner-not-highest", about, family)

    def is_installed(self, key: str) -> bool:
        """Whether a deployment that has this component is installed.

        False for deployments themselves: not every Windows lists them among the winners.
        """
        row = self._tables.components.get(key)
        own = key[-_HASH_DIGITS:]
        return row is not None and any(
            name in self._tables.deployments
            and self._tables.deployments[name].is_installed
            and not name.endswith(own)
            for name in row.deployments
        )


def _highest(versions: Iterable[str]) -> str:
    return max(versions, key=_number)


def _highest_branch(branches: Iterable[str]) -> str:
    return max(branches, key=lambda name: _number(f"{name}.0.0"), default="")


def _number(text: str) -> Version:
    try:
        return Version.parse(text)
    except DamagedManifest:
        return Version(0, 0, 0, 0)
