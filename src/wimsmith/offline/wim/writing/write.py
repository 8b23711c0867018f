"""Writing a WIM from a base and changed trees, or from nothing.

Content that is not touched is copied as it is packed, the rest is packed anew. The file grows in a
private folder beside its target, is read again, and appears under its name whole or not at all.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from wimsmith.errors import AlreadyExists, InvalidInput, NoSuchIndex
from wimsmith.offline.progress import Progress, silent
from wimsmith.offline.wim.format.codec import Codec, Compression
from wimsmith.offline.wim.format.container import Wim, naming
from wimsmith.offline.wim.format.document import ImageEdit
from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.writing.assembly import WriteReport, assemble
from wimsmith.offline.wim.writing.form import FAST_LEVEL, Form, form_of, make_form
from wimsmith.offline.wim.writing.plan import NO_EDIT, KeepSolid, NewImage, Plan, Recipe, plan_file
from wimsmith.offline.wim.writing.replacing import check_replaceable
from wimsmith.offline.wim.writing.watch import Watch

__all__ = ["DEFAULT_LEVEL", "WriteReport", "write_wim"]

DEFAULT_LEVEL = FAST_LEVEL

_NOTHING: Mapping[int, ImageEdit] = MappingProxyType({})
_NO_TREES: Mapping[int, Tree] = MappingProxyType({})
_NO_CONTENT: Mapping[bytes, Path | bytes] = MappingProxyType({})


def write_wim(
    target: Path,
    *,
    base: Wim | None = None,
    trees: Mapping[int, Tree] = _NO_TREES,
    new_content: Mapping[bytes, Path | bytes] = _NO_CONTENT,
    images: Mapping[int, ImageEdit] = _NOTHING,
    indexes: Sequence[int] | None = None,
    codec: Codec | None = None,
    compression: Compression | None = None,
    level: int = DEFAULT_LEVEL,
    boot_index: int | None = None,
    with_integrity: bool = True,
    drop_unreferenced: bool = True,
    overwrite: bool = False,
    in_place: bool = False,
    guid: bytes | None = None,
    guid_seed: bytes | None = None,
    prove: Callable[[Wim], None] | None = None,
    progress: Progress = silent,
) -> WriteReport:
    """Write a new WIM from a base, or from nothing.

    What cannot be copied as it is packed (of a pipable base, or in chunks that Windows does not
    accept) is packed anew. Solid resources of the base are copied whole while any of their content
    is named; new content stands beside them.

    Args:
        target: path of the new file, never that of the base unless `in_place`.
        base: open WIM whose images and content are taken over, or None.
        trees: changed images by their number in the base; numbers above add images.
        new_content: content by its 20-byte SHA-1; what the base has already is not written.
        images: what to write into the XML document, by the same numbers.
        indexes: numbers of the images that the new file gets, in this order; None for all.
        codec: needed when the file is compressed; by default that of the base. Packs as many
            chunks at once as it has workers.
        compression: of a file without a base; LZX with a codec, else none.
        level: how hard the codec tries; 20 is quick, 50 what wimlib does by itself.
        boot_index: number of the bootable image, 0 for none, None for that of the base.
        with_integrity: whether to write an integrity table.
        drop_unreferenced: whether content that no image names is left out.
        overwrite: whether a file at `target` is replaced.
        in_place: the file at `target` is the base, and is replaced; its owner and mode are kept.
        guid: 16 bytes for the header; random by default.
        guid_seed: instead of `guid`: it is made of this and of what changed images say.
        prove: looks at the new file, opened as any other, before it gets its name; may refuse it.
        progress: told of the phases; may raise to cancel.

    Returns:
        Size, SHA-256 and images of the new file, and what was copied and written.

    Raises:
        AlreadyExists: a file stands at `target`, or it is the base.
        NotSupported: content that neither the base nor `new_content` has; a base that may not be
            replaced (also InvalidInput).
        DamagedInput: new content that does not have its SHA-1; a damaged base.
        VerificationFailed: the new file, read again, is not what was written.
        NotEnoughSpace: the disk is full.
        OSError: it cannot be written, or the like. No file is left behind.
    """
    if not in_place:
        _check_target(target, base, overwrite=overwrite)
    elif base is not None:
        check_replaceable(base)
    if base is not None and compression not in {None, base.compression}:
        raise InvalidInput(f"a copy of a WIM stays {base.compression.upper()}")
    codec = codec if codec is not None or base is None else base.resources.codec
    numbers = image_numbers(base, trees, indexes)
    recipe = Recipe(
        images=tuple(_image(base, number, trees, images) for number in numbers),
        form=_form(base, compression, codec, level),
        base=base,
        boot=boot_position(numbers, base, boot_index),
        new_content=new_content,
        keep_solid=KeepSolid.ANY,
        keep_unreferenced=not drop_unreferenced,
        with_integrity=with_integrity,
        guid=guid,
    )
    watch = Watch(progress)
    with naming(base.path if base else target):
        plan = plan_file(recipe, watch.tell)
    if guid_seed is not None:
        recipe = replace(recipe, guid=_guid(guid_seed, plan))
    return assemble(
        target,
        recipe,
        plan,
        codec=codec,
        watch=watch,
        overwrite=overwrite or in_place,
        with_sha256=True,
        replaces=base if in_place else None,
        prove=prove,
    )


def _guid(seed: bytes, plan: Plan) -> bytes:
    digest = hashlib.sha256(seed)
    for image in plan.images:
        if image.image.tree is not None and image.metadata is not None:
            digest.update(hashlib.sha256(image.metadata).digest())
    return digest.digest()[:16]


def _check_target(target: Path, base: Wim | None, *, overwrite: bool) -> None:
    if not target.exists():
        return
    is_base = base is not None and any(
        os.path.samestat(target.stat(), os.fstat(file.descriptor)) for file in base.files
    )
    if is_base or not overwrite:
        raise AlreadyExists(f"{target}")


def _form(
    base: Wim | None, compression: Compression | None, codec: Codec | None, level: int
) -> Form:
    if base is not None:
        return replace(form_of(base, level), solid_chunk_bytes=0)
    if compression is None:
        compression = Compression.NONE if codec is None else Compression.LZX
    return make_form(compression, level=level)


def _image(
    base: Wim | None, number: int, trees: Mapping[int, Tree], edits: Mapping[int, ImageEdit]
) -> NewImage:
    is_old = base is not None and number <= len(base.images)
    return NewImage(base if is_old else None, number, trees.get(number), edits.get(number, NO_EDIT))


def image_numbers(
    base: Wim | None, trees: Mapping[int, Tree], indexes: Sequence[int] | None
) -> tuple[int, ...]:
    """Numbers of the images that the new file gets, in its order.

    Raises:
        NoSuchIndex: a number without image or tree, a repeated one, a gap, or none at all.
    """
    present = len(base.images) if base else 0
    known = sorted(set(range(1, present + 1)) | set(trees))
    if known != list(range(1, len(known) + 1)):
        raise NoSuchIndex(f"{known}: images are numbered from 1 without gaps")
    numbers = tuple(known if indexes is None else indexes)
    if not numbers or len(set(numbers)) != len(numbers) or not set(numbers) <= set(known):
        raise NoSuchIndex(f"{list(numbers)} of {len(known)} images")
    return numbers


def boot_position(numbers: Sequence[int], base: Wim | None, boot_index: int | None) -> int:
    """Position of the bootable image in the new file, 0 for none.

    Raises:
        NoSuchIndex: the image that is to be bootable is not among them.
    """
    if boot_index is None:
        boot_index = base.header.boot_index if base else 0
        return numbers.index(boot_index) + 1 if boot_index in numbers else 0
    if boot_index and boot_index not in numbers:
        raise NoSuchIndex(f"{boot_index}, which is to be the bootable image")
    return numbers.index(boot_index) + 1 if boot_index else 0
