"""Packages whose manifests are deltas against a text of the image, and images that hold it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from offline.components.kit import files_of, outcome_of, package_of
from offline.packages.made import Copy, delta, patch_stream
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.components.outcome import Outcome
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.practice.image import build_image
from wimsmith.practice.maker import Maker
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Generation, ImageSpec

MAKER = Maker(Generation.WINDOWS_10)
BASE = (
    b'<?xml version="1.0" encoding="UTF-8"?>\r\n<assembly xmlns="urn:schemas-microsoft-com:asm.v3" '
    b'manifestVersion="1.0" description="Deployment">\r\n</assembly>\r\n'
    b"words to copy from follow the text, and they count as well\r\n"
)


@pytest.fixture(scope="module")
def bases(
    tmp_path_factory: pytest.TempPathFactory, codec: WorkerCodec, practice_signer: PracticeRoot
) -> Iterator[dict[bytes | None, ImageView]]:
    """Images with the base, with another text in its place, and without any."""
    folder = tmp_path_factory.mktemp("bases")
    views, opened = {}, []
    for number, base in enumerate((BASE, BASE.replace(b"words", b"other"), None)):
        path = folder / f"{number}.wim"
        spec = ImageSpec(size_bytes=1 << 19, components=3, base_manifest=base, seed=f"{number}")
        build_image(spec, path, root=practice_signer, codec=codec)
        opened.append(open_wim(path, codec))
        views[base] = open_view(opened[-1].__enter__(), 1)
    yield views
    for wim in opened:
        wim.__exit__(None, None, None)


def compressed(data: bytes) -> bytes:
    """DCM that takes its beginning from the base text, and the rest as it is."""
    same = next(n for n, (one, other) in enumerate(zip(data, BASE, strict=False)) if one != other)
    operations: list[bytes | Copy] = [Copy(same, slot=3), data[same:]] if same > 1 else [data]
    tail = delta(patch_stream(operations), data, digest=b"", algorithm=0)
    return b"DCM\x01" + tail


@pytest.fixture
def files(practice_signer: PracticeRoot) -> dict[str, bytes]:
    parts = [MAKER.component(f"Practice-Packed-{number}", 300) for number in range(3)]
    made = files_of(package_of(MAKER, *parts), practice_signer, MAKER)
    return {
        name: compressed(data) if name.endswith(".manifest") else data
        for name, data in made.items()
    }


def outcome(files: dict[str, bytes], folder: Path, view: ImageView, root: PracticeRoot) -> Outcome:
    trust = TrustPolicy(Anchors(), test=Anchors((root.certificate,)), allow_test_roots=True)
    return outcome_of(files, folder, view, ApplyOptions(trust, 133_600_000_000_000_000))


def test_the_text_in_the_image_is_found_and_proved(
    tmp_path: Path,
    bases: dict[bytes | None, ImageView],
    files: dict[str, bytes],
    practice_signer: PracticeRoot,
) -> None:
    assert outcome(files, tmp_path, bases[BASE], practice_signer).verdict is Verdict.APPLIED


def test_a_changed_manifest_is_no_fault_of_the_image(
    tmp_path: Path,
    bases: dict[bytes | None, ImageView],
    files: dict[str, bytes],
    practice_signer: PracticeRoot,
) -> None:
    for number, name in enumerate(sorted(one for one in files if one.endswith(".manifest"))):
        other = compressed(b'<assembly xmlns="urn:schemas-microsoft-com:asm.v3"/>')
        done = outcome(files | {name: other}, tmp_path / str(number), bases[BASE], practice_signer)
        assert (done.verdict, done.code) == (Verdict.FAILED, "untrusted:manifest-hash")


@pytest.mark.parametrize("base", [BASE.replace(b"words", b"other"), None], ids=["other", "none"])
def test_without_the_text_signatures_are_checked_all_the_same(
    tmp_path: Path,
    bases: dict[bytes | None, ImageView],
    files: dict[str, bytes],
    practice_signer: PracticeRoot,
    base: bytes | None,
) -> None:
    done = outcome(files, tmp_path / "1", bases[base], practice_signer)
    expected = (Verdict.NOT_SUPPORTED, "calibration:base-manifest")
    if base is not None:  # the bytes in use are the same
        expected = (Verdict.APPLIED, "applied")
    assert (done.verdict, done.code) == expected
    stranger = outcome(files, tmp_path / "2", bases[base], PracticeRoot.new("somebody else"))
    assert (stranger.verdict, stranger.code) == (Verdict.FAILED, "untrusted:catalog-chain")
