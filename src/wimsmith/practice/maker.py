"""What presets have in common: packages, components and update files of one generation."""

from dataclasses import dataclass, replace

from wimsmith.practice.generations import GenerationFacts, facts
from wimsmith.practice.names import WINDOWS_TOKEN, Identity
from wimsmith.practice.spec import (
    ComponentSpec,
    Container,
    Content,
    DeploymentSpec,
    FileSpec,
    Generation,
    PackageSpec,
    ParentSpec,
    UpdateEntry,
    UpdateSpec,
)
from wimsmith.practice.updates import update_file_name


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the packages of presets for one generation."""

    generation: Generation

    @property
    def facts(self) -> GenerationFacts:
        return facts(self.generation)

    def version(self, revision: int) -> str:
        return f"{self.facts.version}.{self.facts.revision + revision}"

    def parent(
        self, name: str = "Microsoft-Windows-Foundation-Package", language: str = ""
    ) -> ParentSpec:
        text = f"{name}~{WINDOWS_TOKEN}~amd64~{language}~{self.facts.full_version}"
        return ParentSpec(
            (Identity.package(text),), compare={"buildCompare": "EQ", "revisionCompare": "GE"}
        )

    def deployment(self, name: str, revision: int, *components: ComponentSpec) -> DeploymentSpec:
        return DeploymentSpec(Identity(f"{name}-Deployment", self.version(revision)), components)

    def component(self, name: str, revision: int, **changes: object) -> ComponentSpec:
        file = FileSpec(f"{name.lower()}.dll", program(f"{name} {revision}"))
        spec = ComponentSpec(Identity(name, self.version(revision)), (file,))
        return replace(spec, **changes)  # type: ignore[arg-type]

    def package(
        self, article: str, version: str, *updates: UpdateEntry, **changes: object
    ) -> PackageSpec:
        identity = Identity.package(f"Package_for_{article}~{WINDOWS_TOKEN}~amd64~~{version}")
        spec = PackageSpec(
            identity,
            updates,
            (self.parent(),),
            identifier=article,
            description=f"Fix for {article}",
            offline_capable=True,
        )
        return replace(spec, **changes)  # type: ignore[arg-type]

    def simple(self, article: str, name: str, **changes: object) -> PackageSpec:
        """A package with one update of one new component."""
        deployment = self.deployment(name, 300, self.component(name, 300))
        update = UpdateEntry(f"{article}-1_neutral", deployment)
        return self.package(article, "1.0.0.0", update, **changes)

    def update(self, article: str, package: PackageSpec, **changes: object) -> UpdateSpec:
        architecture = package.identity.architecture
        container = Container(str(changes.get("container", Container.CAB)))
        name = update_file_name(article, architecture, container)
        spec = UpdateSpec(
            package,
            name,
            article=article,
            file_hashes=self.facts.sha256_catalogs,
            sha256=self.facts.sha256_catalogs,
        )
        return replace(spec, **changes)  # type: ignore[arg-type]


def program(seed: str, size_bytes: int = 6000) -> Content:
    return Content(size_bytes=size_bytes, seed=seed, kind="pe")
