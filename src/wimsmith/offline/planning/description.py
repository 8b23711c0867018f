"""What planning needs of an update, as a value that outlives the file it was read from."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from wimsmith.errors import DamagedInput, LimitExceeded, UnreadableFacts, WimsmithError
from wimsmith.offline.manifests.component import ComponentManifest, parse_component
from wimsmith.offline.manifests.identity import AssemblyIdentity
from wimsmith.offline.manifests.names import keyform
from wimsmith.offline.manifests.package import PackageManifest
from wimsmith.offline.manifests.xmlreader import MAX_XML_BYTES
from wimsmith.offline.packages.compdb import BuildStep
from wimsmith.offline.packages.facts import UpdateFacts
from wimsmith.offline.packages.obstacles import manifests_in_use
from wimsmith.offline.packages.package import ExpandedPackage, PackagePart
from wimsmith.offline.planning.kinds import UpdateKind, kind_of
from wimsmith.offline.planning.manifestdata import (
    identity_data,
    identity_from,
    manifest_data,
    manifest_from,
)
from wimsmith.offline.planning.plaindata import (
    findings_from,
    flag,
    listed,
    text,
    texts,
    version_or_none,
)
from wimsmith.offline.verdicts import Finding, Verdict

FORMAT = 1


@dataclass(frozen=True)
class UpdateDescription:
    """An update with all of its package manifests.

    Attributes:
        packages: manifests by package name in lower case, the top one included.
        installs: components that deployments install, by keyform of the deployment; those whose
            manifests are stored compressed, against a base text of the image, are not in it.
        findings: what the file alone decides against it.
        article: number of the knowledge base article, or empty.
        step: what it does to the build of Windows, where a composition database says so.
        is_whole: whether the file could be opened; if not, only the top manifest is known.
        name: of the cabinet, for one of several packages in a file.
        parts: the packages of a file with several, in the order in which they are installed. Its
            `top`, `step` and kind are those of the main part, `packages` those of all.
    """

    top: PackageManifest
    packages: Mapping[str, PackageManifest] = field(repr=False)
    installs: Mapping[str, tuple[AssemblyIdentity, ...]] = field(default_factory=dict, repr=False)
    findings: tuple[Finding, ...] = ()
    article: str = ""
    step: BuildStep | None = None
    is_whole: bool = True
    name: str = ""
    parts: "tuple[UpdateDescription, ...]" = ()

    @property
    def tops(self) -> tuple[PackageManifest, ...]:
        """The top manifest of each of its packages, the one package or several."""
        return tuple(one.top for one in self.parts) or (self.top,)

    @property
    def identity(self) -> AssemblyIdentity:
        return self.top.identity

    @cached_property
    def kind(self) -> UpdateKind:
        """What it is for the order of a run."""
        return kind_of(self.top, self.step.kind if self.step else "")

    def as_data(self) -> dict[str, Any]:
        """The description as plain data, which JSON can hold."""
        if self.parts:
            parts = [one.as_data() for one in self.parts]
            return {"format": FORMAT, "article": self.article, "parts": parts}
        others = (one for one in self.packages.values() if one is not self.top)
        step = self.step
        return {
            "format": FORMAT,
            "name": self.name,
            "manifests": [manifest_data(one) for one in (self.top, *others)],
            "installs": {
                key: [identity_data(one) for one in found] for key, found in self.installs.items()
            },
            "findings": [[one.verdict.value, one.code, one.text] for one in self.findings],
            "article": self.article,
            "step": step
            and [step.kind, step.article, str(step.needs or ""), str(step.leads_to or "")],
            "whole": self.is_whole,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """The description that `as_data` wrote.

        Raises:
            UnreadableFacts: it is of another format, or not whole.
        """
        if data.get("format") != FORMAT:
            raise UnreadableFacts(f"a description of format {str(data.get('format'))[:40]}")
        try:
            if "parts" in data:
                return cls.of_parts(
                    [cls.from_data(one) for one in listed(data["parts"])], text(data["article"])
                )
            manifests = [manifest_from(one) for one in data["manifests"]]
            return cls(
                top=manifests[0],
                packages=_by_name(manifests),
                installs={
                    key: tuple(identity_from(one) for one in listed(found))
                    for key, found in data["installs"].items()
                },
                findings=findings_from(data["findings"]),
                article=text(data["article"]),
                step=_step_from(data["step"]),
                is_whole=flag(data["whole"]),
                name=text(data.get("name", "")),
            )
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise UnreadableFacts(f"a description that cannot be read: {error}") from error
        except WimsmithError as error:
            raise UnreadableFacts(f"a description that cannot be read: {error}") from error

    @classmethod
    def of_parts(cls, parts: Sequence[Self], article: str) -> Self:
        """A file with several packages, at least one, in the order in which they are installed."""
        others = [one for one in parts if one.kind is not UpdateKind.SERVICING_STACK]
        main = (others or parts)[-1]
        return cls(
            top=main.top,
            packages={name: found for one in parts for name, found in one.packages.items()},
            article=article,
            step=main.step,
            is_whole=all(one.is_whole for one in parts),
            parts=tuple(parts),
        )


def describe(facts: UpdateFacts, packages: Sequence[ExpandedPackage]) -> UpdateDescription | None:
    """What planning needs of an update.

    Args:
        facts: what the file says about itself.
        packages: content of those of its packages that could be expanded, as `inspect_all` gives
            them.

    Returns:
        None if the file is no package at all, or holds one that does not say what it is.
    """
    if not facts.parts:
        return _described(facts, packages[0] if packages else None)
    opened = iter(packages)
    parts = []
    for part in facts.parts:
        found = _described(part, next(opened) if part.is_whole else None)
        if found is None:
            return None
        parts.append(replace(found, name=part.name))
    return UpdateDescription.of_parts(parts, facts.article)


def describe_part(part: PackagePart) -> UpdateDescription | None:
    """The same of one of the packages in a file that cannot be opened, from its top manifest."""
    if part.top is None or part.obstacle is None:
        return None
    finding = Finding(Verdict.NOT_SUPPORTED, part.obstacle.code, part.obstacle.text)
    return UpdateDescription(
        top=part.top,
        packages=_by_name([part.top]),
        findings=(finding,),
        is_whole=False,
        name=part.name,
    )


def _described(facts: UpdateFacts, package: ExpandedPackage | None) -> UpdateDescription | None:
    findings = tuple(
        dict.fromkeys(Finding(Verdict.NOT_SUPPORTED, one.code, one.text) for one in facts.obstacles)
    )
    planned = facts.planning
    step = planned.update if planned is not None else None
    if package is not None:
        manifests = manifests_in_use(package)
        top = manifests[0]
    elif planned is not None and planned.top is not None:
        manifests, top = (planned.top,), planned.top
    elif facts.identity is not None:
        top = PackageManifest(
            facts.identity,
            release_type=facts.release_type,
            parents=facts.parents,
            installer_assembly=facts.installer_assembly,
        )
        manifests = (top,)
    else:
        return None
    return UpdateDescription(
        top=top,
        packages=_by_name(manifests),
        installs={} if package is None else _installs(package, manifests),
        findings=findings,
        article=facts.article,
        step=step and replace(step, architecture="", packages=()),
        is_whole=package is not None,
    )


def _by_name(manifests: Iterable[PackageManifest]) -> dict[str, PackageManifest]:
    return {one.identity.package_name.lower(): one for one in manifests}


def _step_from(data: Sequence[str] | None) -> BuildStep | None:
    if data is None:
        return None
    kind, article, needs, leads_to = texts(data)
    return BuildStep(
        kind=kind,
        article=article,
        needs=version_or_none(needs),
        leads_to=version_or_none(leads_to),
    )


def _installs(
    package: ExpandedPackage, manifests: Iterable[PackageManifest]
) -> dict[str, tuple[AssemblyIdentity, ...]]:
    """Components of all deployments whose manifests, and those they lead to, can be read."""
    reader = _Deployments(package)
    keys = {keyform(one) for manifest in manifests for one in manifest.deployments}
    found = {key: reader.components(key) for key in sorted(keys)}
    return {key: components for key, components in found.items() if components is not None}


class _Deployments:
    """Reads the deployments of a package, each once."""

    def __init__(self, package: ExpandedPackage) -> None:
        self._package = package
        self._known: dict[str, ComponentManifest | None] = {}

    def components(self, top: str) -> tuple[AssemblyIdentity, ...] | None:
        """What a deployment installs, nested ones included; None if one cannot be read."""
        found: dict[AssemblyIdentity, None] = {}
        seen, pending = {top}, [top]
        while pending:
            manifest = self._read(pending.pop())
            if manifest is None:
                return None
            for identity in manifest.installs:
                key = keyform(identity)
                if not self._is_deployment(key):
                    found[identity] = None
                elif key not in seen:
                    seen.add(key)
                    pending.append(key)
        return tuple(found)

    def _is_deployment(self, key: str) -> bool:
        manifest = self._read(key)
        return manifest is not None and manifest.is_deployment

    def _read(self, key: str) -> ComponentManifest | None:
        if key not in self._known:
            stored = self._package.manifests.get(key)
            self._known[key] = None
            if stored and not stored.compressed and stored.size_bytes <= MAX_XML_BYTES:
                # what is damaged is named by the chain of trust when the update is applied
                with suppress(DamagedInput, LimitExceeded):
                    self._known[key] = parse_component(stored.raw)
        return self._known[key]
