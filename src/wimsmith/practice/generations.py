"""What tells the generations apart: versions, names, times, and how catalogs are made."""

from dataclasses import dataclass
from datetime import UTC, datetime

from wimsmith.practice.spec import Generation

_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GenerationFacts:
    """Facts of one generation; `revision` is that of the release, before any update."""

    version: str
    revision: int
    product: str
    marketing: str
    display_version: str
    release_id: str
    branch: str
    service_pack: int
    superseded_actions: int
    sha256_catalogs: bool
    os_versions: str
    hive_minor: int
    released: datetime
    editions: tuple[tuple[str, str], ...]

    @property
    def full_version(self) -> str:
        return f"{self.version}.{self.revision}"

    @property
    def filetime(self) -> int:
        """The release as FILETIME: 100 ns since 1601."""
        return int((self.released - _FILETIME_EPOCH).total_seconds()) * 10_000_000

    @property
    def created(self) -> str:
        return self.released.strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def numbers(self) -> tuple[int, int, int]:
        major, minor, build = (int(part) for part in self.version.split("."))
        return major, minor, build


_MODERN_EDITIONS = (
    ("Professional", "Pro"),
    ("Enterprise", "Enterprise"),
    ("Education", "Education"),
    ("Core", "Home"),
    ("ProfessionalWorkstation", "Pro for Workstations"),
)

_FACTS = {
    Generation.WINDOWS_7: GenerationFacts(
        version="6.1.7601",
        revision=17514,
        product="Windows 7",
        marketing="Windows 7",
        display_version="",
        release_id="",
        branch="win7sp1_rtm.101119-1850",
        service_pack=1,
        superseded_actions=1,
        sha256_catalogs=False,
        os_versions="2:5.1,2:5.2,2:6.0,2:6.1",
        hive_minor=3,
        released=datetime(2010, 11, 20, 18, 50, 0, tzinfo=UTC),
        editions=(
            ("Professional", "Professional"),
            ("Ultimate", "Ultimate"),
            ("HomePremium", "Home Premium"),
            ("Enterprise", "Enterprise"),
        ),
    ),
    Generation.WINDOWS_10: GenerationFacts(
        version="10.0.19041",
        revision=1,
        product="Windows 10",
        marketing="Windows 10",
        display_version="",
        release_id="2004",
        branch="vb_release.191206-1406",
        service_pack=0,
        superseded_actions=3,
        sha256_catalogs=True,
        os_versions="2:10.0,2:6.3,2:6.2,2:6.1,2:6.0",
        hive_minor=5,
        released=datetime(2019, 12, 6, 14, 6, 0, tzinfo=UTC),
        editions=_MODERN_EDITIONS,
    ),
    Generation.WINDOWS_11: GenerationFacts(
        version="10.0.26100",
        revision=1,
        product="Windows 10",
        marketing="Windows 11",
        display_version="24H2",
        release_id="2009",
        branch="ge_release.240331-1435",
        service_pack=0,
        superseded_actions=3,
        sha256_catalogs=True,
        os_versions="2:10.0,2:6.3,2:6.2,2:6.1,2:6.0",
        hive_minor=5,
        released=datetime(2024, 3, 31, 14, 35, 0, tzinfo=UTC),
        editions=_MODERN_EDITIONS,
    ),
}


def facts(generation: Generation) -> GenerationFacts:
    return _FACTS[generation]
