"""Stores whose manifests are deltas against a text of the servicing stack."""

from collections.abc import Callable
from pathlib import Path

import pytest

from offline.components.gate.breaking import ForeignImage
from offline.components.test_compressed import BASE, compressed
from offline.verification.kit import codes, examined
from wimsmith.practice.image import build_image
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation, ImageSpec

FOLDER = "Windows/WinSxS/Manifests"
SHELL = "practice-windows-shell"


@pytest.fixture(scope="module")
def compressed_path(
    tmp_path_factory: pytest.TempPathFactory, practice_signer: PracticeRoot
) -> Path:
    """An image in which every manifest is compressed."""
    folder = tmp_path_factory.mktemp("compressed")
    spec = ImageSpec(
        Generation.WINDOWS_10, size_bytes=1 << 19, components=4, base_manifest=BASE, revision=600
    )
    build_image(spec, folder / "plain.wim", root=practice_signer)
    image = ForeignImage(folder / "plain.wim", folder / "image")
    repack(image, compressed)
    return image.path


@pytest.fixture
def packed(compressed_path: Path, tmp_path: Path) -> ForeignImage:
    return ForeignImage(compressed_path, tmp_path / "image")


def repack(image: ForeignImage, change: Callable[[bytes], bytes], part: str = "") -> None:
    """Change the manifests with a part in their names, in one go."""
    lines = []
    for name in image.names(FOLDER):
        if part in name:
            source = image.folder / name
            source.write_bytes(change(image.read(f"{FOLDER}/{name}")))
            lines.append(f'add "{source}" "/{FOLDER}/{name}"')
    image.update("\n".join(lines))


def test_a_store_of_compressed_manifests_is_sound(packed: ForeignImage) -> None:
    assert packed.read(f"{FOLDER}/{packed.names(FOLDER)[0]}").startswith(b"DCM\x01")
    report = examined(packed.path)
    assert report.problems == ()
    checked = {one.area.value: one.checked for one in report.areas}
    assert checked["manifests"] == len(packed.names(FOLDER))
    assert checked["destinations"] > 10


def test_broken_deltas_are_named_and_the_rest_is_checked(packed: ForeignImage) -> None:
    repack(packed, lambda data: data[:60], SHELL)
    report = examined(packed.path)
    assert codes(report) == {"manifest-damaged"}
    (problem,) = report.problems
    assert problem.count == sum(SHELL in name for name in packed.names(FOLDER)) > 1
    assert all(SHELL in one for one in problem.examples)


def test_a_delta_of_another_text_is_not_the_manifest_of_the_store(packed: ForeignImage) -> None:
    repack(packed, lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], SHELL)
    assert codes(examined(packed.path)) <= {"manifest-hash", "manifest-damaged"}
    assert not examined(packed.path).is_sound


def test_without_the_text_no_manifest_can_be_read(packed: ForeignImage) -> None:
    stack = next(one for one in packed.names("Windows/WinSxS") if "servicingstack" in one)
    packed.delete(f"Windows/WinSxS/{stack}/wcp.dll")
    report = examined(packed.path)
    assert codes(report) == {"manifest-base"}
    assert report.problems[0].count == len(packed.names(FOLDER))
