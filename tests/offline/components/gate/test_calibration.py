"""What a report says of sound images, of content that was changed since, and of rare kinds."""

import hashlib
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from offline.components.gate.breaking import COMPONENTS, ForeignImage, binary
from offline.components.gate.conftest import SMALL, Gate
from offline.components.test_compressed import BASE, compressed
from wimsmith.errors import Cancelled
from wimsmith.offline.components.gate.calibration import FAMILIES_ONLY, Sample, calibrate
from wimsmith.offline.components.gate.report import CalibrationReport, Word
from wimsmith.offline.components.store.draft import Draft
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.image import open_view
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.practice import expand
from wimsmith.practice import image as practice_image
from wimsmith.practice.content import ContentPool
from wimsmith.practice.image import build_image
from wimsmith.practice.install import Assembled
from wimsmith.practice.maker import program
from wimsmith.practice.model import DirectoryModel, FileModel, ImageModel
from wimsmith.practice.names import Identity
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.security import ADMIN_DIRECTORY, ADMIN_FILE
from wimsmith.practice.spec import (
    DESCRIPTORS,
    FLAGS_A,
    FLAGS_B,
    ComponentSpec,
    DeploymentSpec,
    FileSpec,
    Generation,
    ImageSpec,
    PackageSpec,
    StoreFlags,
    UpdateEntry,
)

SEVERAL = replace(SMALL, components=48)
MANIFESTS = "Windows/WinSxS/Manifests"
SHELL = AssemblyIdentity(
    "Practice-Windows-Shell", Version(10, 0, 0, 0), "amd64", "neutral", "7072616374696365", "nonSxS"
)
Change = Callable[[ImageModel, ContentPool], None]
Generated = Callable[[ImageSpec, Change], Path]
Report = Callable[..., CalibrationReport]


@pytest.fixture
def generated(
    tmp_path: Path, practice_signer: PracticeRoot, monkeypatch: pytest.MonkeyPatch
) -> Generated:
    """An image in whose model one fact is changed before it is written: what no tool sets."""

    def make(spec: ImageSpec, change: Change) -> Path:
        original = practice_image.image_model

        def changed(
            spec: ImageSpec, number: int, pool: ContentPool, assembled: Assembled
        ) -> ImageModel:
            model = original(spec, number, pool, assembled)
            change(model, pool)
            return model

        monkeypatch.setattr(practice_image, "image_model", changed)
        build_image(spec, tmp_path / "generated.wim", root=practice_signer)
        return tmp_path / "generated.wim"

    return make


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """The report of the first index of a file."""

    def ask(path: Path, **how: object) -> CalibrationReport:
        with open_wim(path) as wim:
            store = Store(Draft(open_view(wim, 1), tmp_path / "spool", 0))
            return calibrate(store, **how)  # type: ignore[arg-type]

    return ask


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, practice_signer: PracticeRoot) -> Path:
    """An image with more of everything than a sample of the tests takes."""
    path = tmp_path_factory.mktemp("several") / "several.wim"
    build_image(SEVERAL, path, root=practice_signer)
    return path


@pytest.mark.parametrize("flags", [FLAGS_A, FLAGS_B], ids=["A", "B"])
@pytest.mark.parametrize("generation", Generation)
def test_every_generation_is_understood(
    tmp_path: Path,
    gate: Gate,
    practice_signer: PracticeRoot,
    generation: Generation,
    flags: StoreFlags,
) -> None:
    path = tmp_path / "image.wim"
    build_image(replace(SMALL, generation=generation, flags=flags), path, root=practice_signer)
    health, report = gate(path)
    assert (health, report.findings) == ((), ())
    words = {rule.name: rule.word for rule in report.rules}
    rare = [name for name, word in words.items() if word is Word.NO_EXAMPLE]
    assert rare == ["base-manifest", "detect"]
    assert all(rule.differing == 0 for rule in report.rules)
    assert report.rule("f!").figures["f! of staged components"] == {
        f"{flags.staged_file_flags:#x}": 3
    }
    assert report.rule("thumbprint").figures["rule"] == {
        str(flags.thumbprint): report.rule("thumbprint").matched
    }


def test_detect_indexes_of_the_public_forms_are_understood(
    tmp_path: Path, report: Report, practice_signer: PracticeRoot
) -> None:
    build_image(replace(SMALL, detections=True), tmp_path / "image.wim", root=practice_signer)
    rule = report(tmp_path / "image.wim").rule("detect")
    assert (rule.word, rule.differing) == (Word.UNDERSTOOD, 0)
    assert set(rule.figures) >= {"ComponentDetect", "PackageDetect"}


def test_a_sample_is_the_same_each_time_and_says_how_large_it_was(
    several: Path, report: Report
) -> None:
    sample = Sample(installed=10, staged=1, deployments=3, packages=4)
    first, second = (report(several, sample=sample) for _ in range(2))
    assert first == second
    assert first.findings == ()
    assert first.sample["packages"] == 4
    assert not first.is_full
    full = report(several, sample=None)
    assert full.is_full
    assert full.findings == ()
    assert full.sample["components"] == int(full.store["components"]) > first.sample["components"]


def test_one_changed_value_among_many_is_told_and_allowed(
    several: Path, tmp_path: Path, report: Report
) -> None:
    """Administrators change values; that says nothing about where and how they are written."""
    image = ForeignImage(several, tmp_path / "image")
    with image.hive("SOFTWARE") as hive:
        hive.set(r"Practice\Content\00003", "File", "string:changed by somebody")
    rule = report(image.path).rule("registry")
    assert (rule.word, rule.differing, rule.finding) == (Word.UNDERSTOOD, 1, None)
    assert "the value 'File' is something else" in rule.examples[0].text


def test_content_that_differs_in_a_sample_has_all_of_the_store_read(
    several: Path, tmp_path: Path, report: Report
) -> None:
    image = ForeignImage(several, tmp_path / "image")
    with image.hive("SOFTWARE") as hive:
        hive.set(r"Practice\Shell", "Command", binary(b"x\0", 2))
    small = Sample(installed=2, staged=0, deployments=0, packages=2)
    done = report(image.path, sample=small, families=[SHELL])
    assert done.is_full
    assert [one.code for one in done.findings] == ["calibration:registry"]


def test_values_that_may_change_say_nothing(image: ForeignImage, report: Report) -> None:
    with image.hive("SOFTWARE") as hive:
        hive.set(r"Practice\Shell", "UserChoice", "string:chosen by a user")
    rule = report(image.path).rule("registry")
    assert (rule.differing, rule.exempt) == (0, {"the value may change": 1})


def test_deleted_payload_says_nothing(image: ForeignImage, report: Report) -> None:
    """Windows deletes the payload of features that are off, and the entries of its files."""
    with image.hive("COMPONENTS") as hive:
        name = next(one for one in hive.keys(COMPONENTS) if "practice-games-component" in one)
        hive.remove(rf"{COMPONENTS}\{name}", "f!Practice-Games.exe")
    image.delete(f"Windows/WinSxS/{name}")
    done = report(image.path)
    assert done.findings == ()
    assert done.rule("f!").exempt["the payload has been deleted"] == 1
    assert done.rule("security").exempt == {"the payload has been deleted": 1}


def test_touched_families_are_looked_at_whatever_the_sample(
    image: ForeignImage, report: Report
) -> None:
    with image.hive("COMPONENTS") as hive:
        shells = [name for name in hive.keys(COMPONENTS) if "practice-windows-shell_" in name]
        hive.remove(rf"{COMPONENTS}\{shells[0]}", "S256H")
    assert len(shells) == 2
    untouched = report(image.path, sample=FAMILIES_ONLY)
    assert (untouched.findings, untouched.sample) == ((), {})
    touched = report(image.path, sample=FAMILIES_ONLY, families=[SHELL])
    assert [one.code for one in touched.findings] == ["calibration:S256H"]
    assert touched.rule("S256H").checked >= 2


def test_it_can_be_watched_and_cancelled(small_image: Path, report: Report) -> None:
    events: list[Event] = []
    report(small_image, progress=events.append)
    assert events[-1].phase == "calibrate"
    assert events[-1].done == events[-1].total == len(events)

    def cancel(event: Event) -> None:
        if event.done == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        report(small_image, progress=cancel)


@pytest.fixture
def packed(generated: Generated, tmp_path: Path) -> ForeignImage:
    """An image some of whose manifests are deltas against a text in its servicing stack."""

    def pack(model: ImageModel, pool: ContentPool) -> None:
        for path in sorted(one for one in model.files if one.startswith(MANIFESTS))[:12]:
            data = compressed(pool.read(model.files[path].content.sha1))
            model.files[path] = replace(model.files[path], content=pool.add(data))

    path = generated(replace(SMALL, base_manifest=BASE), pack)
    return ForeignImage(path, tmp_path / "image")


def test_compressed_manifests_are_expanded_and_proved(packed: ForeignImage, report: Report) -> None:
    done = report(packed.path)
    assert done.findings == ()
    assert (done.rule("base-manifest").word, done.rule("base-manifest").matched) == (
        Word.UNDERSTOOD,
        12,
    )


def test_deltas_of_a_real_windows_are_expanded(
    generated: Generated, report: Report, real: Path
) -> None:
    """Their names and the hash of the one whose text is known are those that rules compute."""
    folder = real / "dcm"
    golden = hashlib.sha256(lzma.decompress((folder / "wow64_golden.xml.xz").read_bytes())).digest()
    stored = sorted(folder.glob("*.manifest"))

    def change(model: ImageModel, pool: ContentPool) -> None:
        for path in stored:
            name = f"{MANIFESTS}/{path.name}"
            model.files[name] = FileModel(pool.add(path.read_bytes()))
            key = model.hive("COMPONENTS").key(f"{COMPONENTS}\\{path.stem}")
            key.binary("S256H", golden if path.name.startswith("wow64") else bytes(32))

    base = (folder / "base_manifest.bin").read_bytes()
    done = report(generated(replace(SMALL, base_manifest=base), change))
    assert done.rule("base-manifest").matched == len(stored)
    assert done.rule("keyform").word is Word.UNDERSTOOD
    assert done.rule("S256H").differing == len(stored) - 1


def test_a_stack_without_the_base_text_is_named(packed: ForeignImage, report: Report) -> None:
    stack = next(name for name in packed.names("Windows/WinSxS") if "servicingstack" in name)
    packed.put(f"Windows/WinSxS/{stack}/wcp.dll", b"MZ and nothing of use")
    done = report(packed.path)
    assert [one.code for one in done.findings] == ["calibration:base-manifest"]
    assert done.rule("S256H").exempt == {"the base text of its manifest is not known": 12}


def test_one_broken_delta_does_not_hide_the_others(packed: ForeignImage, report: Report) -> None:
    names = packed.names(MANIFESTS)
    path = next(one for one in (f"{MANIFESTS}/{name}" for name in names) if _is_packed(packed, one))
    packed.put(path, packed.read(path)[:40])
    done = report(packed.path)
    assert [one.code for one in done.findings] == ["calibration:S256H"]
    assert done.rule("S256H").differing == 1


def _is_packed(image: ForeignImage, path: str) -> bool:
    return image.read(path).startswith(b"DCM")


def with_component(component: ComponentSpec) -> ImageSpec:
    """An image that holds a package with one more component."""
    deployment = DeploymentSpec(Identity("Practice-More-Deployment", "1.0.0.0"), (component,))
    identity = Identity.package("Practice-More~31bf3856ad364e35~amd64~~1.0.0.0")
    package = PackageSpec(identity, (UpdateEntry("more", deployment),))
    return replace(SMALL, extra_packages=(package,))


def test_a_descriptor_that_is_not_as_its_text_says_is_named(
    generated: Generated, gate: Gate
) -> None:
    file = FileSpec("more.dll", program("more"), security="ITS_OWN")
    component = ComponentSpec(
        Identity("Practice-More", "1.0.0.0"),
        (file,),
        descriptors={**DESCRIPTORS, "ITS_OWN": DESCRIPTORS["WRP_FILE_DEFAULT_SDDL"]},
    )

    def change(model: ImageModel, _pool: ContentPool) -> None:
        path = next(path for path in model.files if path.endswith("/more.dll"))
        model.files[path] = replace(model.files[path], security=ADMIN_FILE.of_file)

    health, report = gate(generated(with_component(component), change))
    assert health == ()
    assert [one.code for one in report.findings] == ["calibration:security"]


def test_a_store_that_belongs_to_somebody_else_is_named(generated: Generated, gate: Gate) -> None:
    def change(model: ImageModel, _pool: ContentPool) -> None:
        model.directories["Windows/WinSxS"] = DirectoryModel(ADMIN_DIRECTORY.of_file)

    health, report = gate(generated(SMALL, change))
    assert health == ()
    assert [one.code for one in report.findings] == ["calibration:store-security"]


def test_a_folder_that_nobody_knows_is_named(
    generated: Generated, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {**expand._FOLDERS, "elsewhere": "Windows\\Elsewhere"}
    monkeypatch.setattr(expand, "_FOLDERS", folders)
    file = FileSpec("more.dll", program("more"), "$(runtime.elsewhere)\\")
    component = ComponentSpec(Identity("Practice-More", "1.0.0.0"), (file,))
    health, report = gate(generated(with_component(component), lambda _model, _pool: None))
    assert health == ()
    assert [one.code for one in report.findings] == ["calibration:destinations"]
    assert report.rule("links").exempt == {"the destination is not known": 1}
