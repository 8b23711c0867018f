"""Generates Windows-like images."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from wimsmith.errors import AlreadyExists
from wimsmith.offline.progress import Event, Progress, silent
from wimsmith.offline.wim.format.codec import Codec
from wimsmith.offline.wim.format.document import ImageEdit, WindowsInfo
from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.writing.write import WriteReport, write_wim
from wimsmith.practice.baseline import FEATURES_OFF, Baseline
from wimsmith.practice.content import ContentPool
from wimsmith.practice.generations import facts
from wimsmith.practice.install import Assembled, Installer, assembler
from wimsmith.practice.model import ImageModel
from wimsmith.practice.root import PracticeRoot, practice_root
from wimsmith.practice.skeleton import Skeleton
from wimsmith.practice.spec import ImageSpec
from wimsmith.practice.writer import TreeMaker, extended_attribute, object_id, put_hives

_GUID_BYTES = 16


def build_image(
    spec: ImageSpec,
    target: Path,
    *,
    root: PracticeRoot | None = None,
    codec: Codec | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> WriteReport:
    """Write the image that `spec` describes to `target`.

    The same specification and root give the same bytes.

    Args:
        spec: what to generate.
        target: path of the new WIM; large content is spooled in its folder meanwhile.
        root: signs the catalogs inside; by default the practice root of the target's folder,
            which is made when the folder has none.
        codec: compresses with LZX; without one the image is not compressed.
        overwrite: whether a file at `target` is replaced.
        progress: told of the phases; may raise to cancel.

    Raises:
        AlreadyExists: a file stands at `target`.
        OSError: the disk is full, or the like; no image is left behind.
    """
    if target.exists() and not overwrite:
        raise AlreadyExists(str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    signer = root or practice_root(target.parent)
    with tempfile.TemporaryDirectory(prefix=".practice-", dir=target.parent) as spool:
        pool = ContentPool(Path(spool), _told(progress, spec.size_bytes))
        trees = dict(_trees(spec, pool, signer))
        return write_wim(
            target,
            trees=trees,
            new_content=pool.contents,
            images={number: _edit(spec, number) for number in trees},
            codec=codec,
            overwrite=overwrite,
            guid=hashlib.sha256(repr(spec).encode()).digest()[:_GUID_BYTES],
            progress=progress,
        )


def _told(progress: Progress, total_bytes: int) -> Callable[[int], None]:
    done_bytes = 0

    def generated(size_bytes: int) -> None:
        nonlocal done_bytes
        done_bytes += size_bytes
        progress(Event("generate", done_bytes, max(total_bytes, done_bytes), "bytes"))

    return generated


def image_model(
    spec: ImageSpec, number: int, pool: ContentPool, assembled: Assembled
) -> ImageModel:
    """Everything in index `number`, before it becomes a tree; hives are still keys."""
    generation = facts(spec.generation)
    edition, label = _edition(spec, number)
    image = ImageModel()
    Skeleton(spec, edition, f"{generation.product} {label}").fill(image, pool)
    installer = Installer(
        image=image,
        pool=pool,
        flags=spec.flags,
        assembled=assembled,
        installed=generation.filetime,
        features={**FEATURES_OFF, **spec.features},
        detections=spec.detections,
    )
    for package in Baseline(spec).packages(edition):
        installer.install(package)
    image.tagged.update(_tagged(image))
    return image


def _tagged(image: ImageModel) -> Iterator[tuple[str, bytes]]:
    """The kernel gets an extended attribute, as system files have them, the shell an object id."""
    for path in image.files:
        if path.endswith("/ntoskrnl.exe"):
            yield path, extended_attribute("$KERNEL.PRACTICE.ESBCACHE", path.encode()[-24:])
        elif path.endswith("/explorer.exe"):
            yield path, object_id(hashlib.sha256(path.encode()).digest()[:16])


def package_assembler(spec: ImageSpec, pool: ContentPool, root: PracticeRoot) -> Assembled:
    """Assembles the packages of an image the way its generation does."""
    generation = facts(spec.generation)
    return assembler(pool, root, sha256=generation.sha256_catalogs, created=generation.created)


def _trees(spec: ImageSpec, pool: ContentPool, root: PracticeRoot) -> Iterator[tuple[int, Tree]]:
    generation = facts(spec.generation)
    assembled = package_assembler(spec, pool, root)
    for number in range(1, spec.indexes + 1):
        image = image_model(spec, number, pool, assembled)
        put_hives(image, pool, generation.filetime, version_minor=generation.hive_minor)
        yield number, TreeMaker(image, pool, generation.filetime).tree()


def _edition(spec: ImageSpec, number: int) -> tuple[str, str]:
    """Edition of an index; a number is added when there are more indexes than editions."""
    editions = facts(spec.generation).editions
    edition, label = editions[(number - 1) % len(editions)]
    again = (number - 1) // len(editions)
    return (f"{edition}{again + 1}", f"{label} {again + 1}") if again else (edition, label)


def _edit(spec: ImageSpec, number: int) -> ImageEdit:
    generation = facts(spec.generation)
    edition, label = _edition(spec, number)
    name = f"{generation.marketing} {label}"
    return ImageEdit(
        name=name,
        description=name,
        flags=edition,
        display_name=name,
        display_description=name,
        created=generation.filetime,
        modified=generation.filetime,
        windows=_windows(spec, edition),
    )


def _windows(spec: ImageSpec, edition: str) -> WindowsInfo:
    generation = facts(spec.generation)
    major, minor, build = generation.numbers
    return WindowsInfo(
        architecture=9,
        product_name="Microsoft® Windows® Operating System",
        edition_id=edition,
        installation_type="Client",
        product_type="WinNT",
        product_suite="Terminal Server",
        languages=(spec.language,),
        default_language=spec.language,
        major=major,
        minor=minor,
        build=build,
        service_pack_build=max(spec.revision or 0, generation.revision),
        service_pack_level=generation.service_pack,
        branch=generation.branch.partition(".")[0] if major >= 10 else None,
        system_root="WINDOWS",
    )
