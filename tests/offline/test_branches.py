"""Two branches of one fix: the general one (GDR) for all, the limited one (LDR) for those on it.

Each story is told with KB2999226 as Microsoft signed it, and with a generated update of its shape.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from offline.workbench import Bench, agrees, bench, conventions, update_file
from oracle.compare import differences
from oracle.expect import expected_after
from oracle.names import component_key
from oracle.observe import observe
from oracle.package import UpdateFile, read_update
from oracle.state import ImageState
from wimsmith.offline.packages.extract import extract_update
from wimsmith.offline.verdicts import Verdict
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import Identity
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import (
    FLAGS_A,
    FLAGS_B,
    Applicable,
    ComponentSpec,
    DeploymentSpec,
    FileSpec,
    Generation,
    ImageSpec,
    PackageSpec,
    StoreFlags,
    UpdateEntry,
)
from wimsmith.practice.updates import build_update

SEVEN = Generation.WINDOWS_7
MAKER = Maker(SEVEN)
SMALL = ImageSpec(size_bytes=1 << 19, components=4, generation=SEVEN)
KB2999226 = "Windows6.1-KB2999226-x64.msu"
FLAGS = pytest.mark.parametrize("flags", [FLAGS_A, FLAGS_B], ids=["flags A", "flags B"])
INSTALLED_ON_THE_BRANCH = 22_000
NEWER = 24_000


@dataclass(frozen=True, slots=True)
class Update:
    """An update of two branches: its file, and as full payload on disk."""

    path: Path
    folder: Path
    general: str
    limited: str

    def read(self) -> UpdateFile:
        return read_update(self.folder)

    def families(self) -> Iterator[tuple[Identity, tuple[str, ...], str]]:
        """The components of the limited branch: identity, files, and where they go."""
        for one in self.read().components.values():
            if not one.is_deployment and one.identity.version == self.limited:
                identity = Identity(
                    one.identity.name,
                    one.identity.version,
                    one.identity.architecture,
                    one.identity.language,
                    one.identity.token,
                    one.identity.scope,
                )
                yield identity, tuple(file.name for file in one.files), one.files[0].destination


@pytest.fixture(scope="module")
def root() -> PracticeRoot:
    return PracticeRoot.new()


Source = Callable[[Path], Update]


def generated(root: PracticeRoot) -> Source:
    def make(folder: Path) -> Update:
        """The limited branch is numbered as Windows 7 did it: from 20000 on."""
        entries = []
        for number, (rule, revision) in enumerate((("revision", 23_140), ("install", 18_937)), 1):
            parts = tuple(
                ComponentSpec(
                    Identity(name, f"6.1.7601.{revision}", architecture),
                    (FileSpec(f"{name.lower()}.dll", program(f"{name} {revision}")),),
                )
                for name in ("Practice-Runtime", "Practice-Forwarder")
                for architecture in ("amd64", "x86")
            )
            identity = Identity(f"Practice-Runtime-Deployment-{rule}", f"6.1.7601.{revision}")
            applicable = Applicable(elevate=((rule, tuple(one.identity for one in parts)),))
            branch = "LDR" if rule == "revision" else "GDR"
            entries.append(
                UpdateEntry(
                    f"5079001-{number}_neutral_{branch}",
                    DeploymentSpec(identity, parts),
                    applicable=applicable,
                )
            )
        spec = MAKER.update("KB5079001", MAKER.package("KB5079001", "6.1.1.6", *entries))
        path = build_update(spec, folder / "branches.cab", root=root)
        extract_update(path, folder / "full")
        return Update(path, folder / "full", "6.1.7601.18937", "6.1.7601.23140")

    return make


@pytest.fixture(params=["generated", "KB2999226"])
def update(request: pytest.FixtureRequest, tmp_path: Path, root: PracticeRoot) -> Update:
    if request.param == "generated":
        return generated(root)(tmp_path)
    real: Path = request.getfixturevalue("real")
    extract_update(real / "msu" / KB2999226, tmp_path / "full")
    return Update(real / "msu" / KB2999226, tmp_path / "full", "6.1.7601.18937", "6.1.7601.23140")


def package(update: Update, revision: int, rule: str | None, article: str) -> PackageSpec:
    """A package of all components of an update in another version of the limited branch."""
    version = f"6.1.7601.{revision}"
    parts = tuple(
        ComponentSpec(
            identity.at(version),
            tuple(FileSpec(name, program(f"{name} {version}"), folder) for name in files),
        )
        for identity, files, folder in update.families()
    )
    assert parts
    deployment = DeploymentSpec(Identity(f"Practice-Of-{article}", version), parts)
    families = tuple(one.identity for one in parts)
    applicable = Applicable(elevate=((rule, families),)) if rule else None
    entry = UpdateEntry(f"{article[2:]}-1_neutral_LDR", deployment, applicable=applicable)
    return MAKER.package(article, "6.1.1.0", entry)


def expected(made: Bench, update: Update) -> list[str]:
    """Everything in which the result is other than the manifests of the update say."""
    want = expected_after(update.read(), observe(made.base, 1), conventions(made.flags))
    return differences(want, observe(made.serviced, 1))


def shown(state: ImageState, update: Update) -> set[str]:
    """Versions whose payload has a name in the system."""
    keys = {component_key(one.identity): one for one in update.read().components.values()}
    found = set()
    for path, entry in state.entries.items():
        if not path.startswith("windows/winsxs/"):
            continue
        outside = [name for name in entry.links if not name.startswith("windows/winsxs/")]
        key = path.split("/")[2]
        if outside and key in keys:
            found.add(keys[key].identity.version)
    return found


@FLAGS
def test_a_stock_image_gets_the_general_branch_and_keeps_the_other_in_reserve(
    tmp_path: Path, root: PracticeRoot, update: Update, flags: StoreFlags
) -> None:
    made = bench(tmp_path, root, replace(SMALL, flags=flags))
    assert made.apply(update.path).verdict is Verdict.APPLIED
    assert expected(made, update) == []
    after = observe(made.serviced, 1)
    assert shown(after, update) == {update.general}
    for one in update.read().components.values():
        assert f"windows/winsxs/manifests/{component_key(one.identity)}.manifest" in after.entries


@FLAGS
@pytest.mark.parametrize("rule", ["revision", "install", None])
def test_an_image_on_the_limited_branch_gets_the_limited_one(
    tmp_path: Path, root: PracticeRoot, update: Update, flags: StoreFlags, rule: str | None
) -> None:
    """However the version came there; no package need have asked for it by the same rule."""
    before = package(update, INSTALLED_ON_THE_BRANCH, rule, "KB5078100")
    made = bench(tmp_path, root, replace(SMALL, flags=flags, extra_packages=(before,)))
    assert made.apply(update.path).verdict is Verdict.APPLIED
    assert expected(made, update) == []
    assert shown(observe(made.serviced, 1), update) == {update.limited}


@FLAGS
def test_a_newer_package_of_the_same_components_replaces_them(
    tmp_path: Path, root: PracticeRoot, update: Update, flags: StoreFlags
) -> None:
    first = bench(tmp_path, root, replace(SMALL, flags=flags))
    assert first.apply(update.path).verdict is Verdict.APPLIED
    second = first.next("second")
    newer = update_file(second, package(update, NEWER, "install", "KB5078200"))
    assert agrees(second, newer) == []
    assert shown(observe(second.serviced, 1), update) == set()
    outcome = second.next("third").apply(update.path)
    assert outcome.verdict is Verdict.INSTALLED


@FLAGS
def test_an_update_after_a_newer_one_is_not_needed(
    tmp_path: Path, root: PracticeRoot, update: Update, flags: StoreFlags
) -> None:
    newer = package(update, NEWER, "install", "KB5078200")
    made = bench(tmp_path, root, replace(SMALL, flags=flags, extra_packages=(newer,)))
    outcome = made.apply(update.path)
    assert (outcome.verdict, outcome.code) == (Verdict.SUPERSEDED, "superseded")
