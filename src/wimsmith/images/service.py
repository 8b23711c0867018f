"""Use cases of images that read or change rows; the long work is in `jobs`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from wimsmith.db.base import now
from wimsmith.db.engine import after_commit
from wimsmith.db.paging import Order, Page, PageQuery, page
from wimsmith.errors import ChangedMeanwhile, InvalidState, NameInUse, NotFound, VersionChanged
from wimsmith.images import rules
from wimsmith.images.facts import (
    FileFacts,
    IndexFacts,
    index_columns,
    package_columns,
    packed_snapshot,
)
from wimsmith.images.models import (
    Image,
    ImageEvent,
    ImageIndex,
    ImageVersion,
    IndexPackage,
    IndexSnapshot,
    Origin,
    PackageSource,
)
from wimsmith.jobs import ledger
from wimsmith.offline.planning.snapshot import FORMAT
from wimsmith.site import settings
from wimsmith.site.access import Actor, ObjectClass, Verb, require
from wimsmith.site.context import Site
from wimsmith.site.service import audit, next_package_id
from wimsmith.site.sources import to_local
from wimsmith.storage import library
from wimsmith.storage.store import LocalBlobStore


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image with its current version."""

    image: Image
    current: ImageVersion


@dataclass(frozen=True, slots=True)
class NewVersion:
    """Content that becomes a version of an image; `source_digest` if it was made of another."""

    digest: str
    facts: FileFacts
    origin: Origin
    actor: str
    job_id: str
    text: str
    parent_image: str | None = None
    parent_version: int | None = None
    parent_index: int | None = None
    run_id: int | None = None
    source_digest: str = ""


def find(session: Session, actor: Actor, reference: str) -> Image:
    """The image with this package id or exact name.

    Raises:
        NotFound: there is none.
    """
    require(actor, ObjectClass.IMAGE, Verb.READ)
    wanted = or_(Image.package_id == reference.upper(), Image.name_key == rules.name_key(reference))
    found = session.scalars(select(Image).where(wanted)).all()
    exact = [image for image in found if image.package_id == reference.upper()] or found
    if not exact:
        raise NotFound(f"image {reference}")
    return exact[0]


def view(session: Session, actor: Actor, reference: str) -> ImageView:
    """An image with its current version. Raises NotFound."""
    image = find(session, actor, reference)
    return ImageView(image, version_of(session, image))


def version_of(session: Session, image: Image, number: int | None = None) -> ImageVersion:
    """A version of an image, the current one if no number is given. Raises NotFound."""
    wanted = image.current_version if number is None else number
    statement = select(ImageVersion).where(
        ImageVersion.image_id == image.id, ImageVersion.number == wanted
    )
    found = session.scalars(statement).one_or_none()
    if found is None:
        raise NotFound(f"version {wanted} of image {image.package_id}")
    return found


def versions(session: Session, image: Image) -> Sequence[ImageVersion]:
    """Versions of an image, the newest first."""
    statement = select(ImageVersion).where(ImageVersion.image_id == image.id)
    return session.scalars(statement.order_by(ImageVersion.number.desc())).all()


def lineage(session: Session, image: Image) -> Sequence[ImageEvent]:
    """What happened to the content of an image, the oldest first."""
    statement = select(ImageEvent).where(ImageEvent.image_id == image.id)
    return session.scalars(statement.order_by(ImageEvent.id)).all()


def search(
    session: Session,
    actor: Actor,
    query: PageQuery,
    *,
    text: str = "",
    kind: str = "",
    architecture: str = "",
) -> Page[Image]:
    """Images whose name, comment, version or package id contain a text."""
    require(actor, ObjectClass.IMAGE, Verb.READ)
    statement = select(Image)
    if text:
        columns = (Image.name, Image.comment, Image.version, Image.package_id)
        found = (func.lower(column).contains(text.lower(), autoescape=True) for column in columns)
        statement = statement.where(or_(*found))
    if kind:
        statement = statement.where(Image.kind == kind)
    if architecture:
        statement = statement.where(Image.architecture == architecture.lower())
    order = Order(
        {"name": Image.name, "package_id": Image.package_id, "created_at": Image.created_at},
        Image.id,
        "name",
    )
    return page(session, statement, order, query)


def packages(
    session: Session,
    version: ImageVersion,
    query: PageQuery,
    *,
    index_number: int | None = None,
    text: str = "",
) -> Page[IndexPackage]:
    """Packages in a version, by identity."""
    statement = select(IndexPackage).join(IndexPackage.index)
    statement = statement.where(ImageIndex.version_id == version.id)
    if index_number is not None:
        statement = statement.where(ImageIndex.number == index_number)
    if text:
        lowered = func.lower(IndexPackage.identity)
        article = func.lower(IndexPackage.article)
        wanted = text.lower()
        statement = statement.where(
            or_(
                lowered.contains(wanted, autoescape=True), article.contains(wanted, autoescape=True)
            )
        )
    order = Order({"identity": IndexPackage.identity}, IndexPackage.id, "identity")
    return page(session, statement, order, query)


def check_name_free(session: Session, name: str, but: Image | None = None) -> None:
    """Raises NameInUse: another image has the name, whatever its case."""
    found = session.scalars(select(Image).where(Image.name_key == rules.name_key(name))).first()
    if found is not None and found is not but:
        raise NameInUse(f"{name} ({found.package_id})")


def edit(
    session: Session, actor: Actor, image: Image, changes: Mapping[str, Any], revision: int | None
) -> Image:
    """Change properties of an image.

    Args:
        session: A session that writes.
        actor: Who asks.
        image: The image.
        changes: Some of name, version, comment, kind, architecture, language, path.
        revision: The revision the changes were made to, None to overwrite.

    Raises:
        ChangedMeanwhile: the image has another revision by now.
        NameInUse, InvalidInput, NotSupported, PathNotMapped
    """
    require(actor, ObjectClass.IMAGE, Verb.MODIFY)
    if revision is not None and image.revision != revision:
        present = f"{image.package_id} is at revision {image.revision}"
        raise ChangedMeanwhile(f"{present}, not {revision}")
    checked = _checked(session, image, changes)
    before = {name: str(getattr(image, name)) for name in checked}
    _bump(session, image)
    for name, value in checked.items():
        setattr(image, name, value)
    audit(
        session,
        actor.name,
        "modify",
        f"image {image.package_id}",
        before,
        {name: str(value) for name, value in checked.items()},
    )
    session.flush()
    return image


def _checked(session: Session, image: Image, changes: Mapping[str, Any]) -> dict[str, Any]:
    checked = dict(changes)
    if "name" in checked:
        checked["name"] = rules.check_name(checked["name"])
        checked["name_key"] = rules.name_key(checked["name"])
        check_name_free(session, checked["name"], but=image)
    if "version" in checked:
        checked["version"] = rules.check_version(checked["version"])
    if "comment" in checked:
        checked["comment"] = rules.check_comment(checked["comment"])
    for field, most in (("architecture", 16), ("language", 35)):
        if field in checked:
            checked[field] = rules.check_text(field, checked[field], most)
    if "path" in checked:
        checked["source_path"] = checked.pop("path")
        rules.check_source(checked["source_path"])
        local_path(session, checked["source_path"])
    return checked


def local_path(session: Session, path: str) -> Path:
    """The local path of a path as an administrator wrote it. Raises PathNotMapped, InvalidInput."""
    return to_local(path, settings.get(session, settings.UNC_ROOTS))


def check_idle(session: Session, image: Image) -> None:
    """Raises InvalidState: a job works on the image."""
    job = ledger.active(session, image.package_id)
    if job is not None:
        raise InvalidState(
            f"image {image.package_id} is used by job {job.id} ({job.kind})",
            hint="Wait until the job has ended, or cancel it.",
        )


def remove(session: Session, site: Site, actor: Actor, image: Image) -> None:
    """Forget an image with all versions, and the content that nothing else needs.

    Raises:
        InvalidState: a job works on it.
    """
    require(actor, ObjectClass.IMAGE, Verb.DELETE)
    check_idle(session, image)
    digests = [version.digest for version in versions(session, image)]
    before = {"name": image.name, "source_path": image.source_path}
    audit(session, actor.name, "delete", f"image {image.package_id}", before)
    session.execute(delete(Image).where(Image.id == image.id))
    after_commit(session, partial(library.forget, site.database, site.store, digests))


def register(
    session: Session, store: LocalBlobStore, params: Mapping[str, Any], new: NewVersion
) -> Image:
    """A new image with its first version; the same job asking again gets the same image.

    Raises:
        NameInUse: somebody took the name meanwhile.
    """
    known = session.scalars(select(Image).where(Image.job_id == new.job_id)).one_or_none()
    if known is not None:
        return known
    check_name_free(session, params["name"])
    languages = [index.default_language for index in new.facts.indexes]
    architectures = [index.architecture for index in new.facts.indexes]
    image = Image(
        package_id=next_package_id(session),
        name=params["name"],
        name_key=rules.name_key(params["name"]),
        version=params["version"],
        comment=params["comment"],
        kind=params["kind"],
        architecture=params["architecture"] or rules.common(architectures),
        language=params["language"] or rules.common(languages),
        source_path=params["source_path"],
        source_digest=new.source_digest or new.digest,
        current_version=0,
        job_id=new.job_id,
    )
    session.add(image)
    session.flush()
    publish(session, store, image, new, base_version=0)
    audit(session, new.actor, "create", f"image {image.package_id}", None, dict(params))
    return image


def publish(
    session: Session, store: LocalBlobStore, image: Image, new: NewVersion, base_version: int
) -> ImageVersion:
    """Make content the current version of an image, if it still has the version it was made from.

    The same job asking again gets the same version.

    Raises:
        VersionChanged: the image has another current version; nothing is changed.
        DamagedContent: the content is not in the library.
    """
    known = session.scalars(
        select(ImageVersion).where(
            ImageVersion.image_id == image.id, ImageVersion.job_id == new.job_id
        )
    ).one_or_none()
    if known is not None:
        return known
    version = _add_version(session, store, image, new)
    swapped = session.execute(
        update(Image)
        .where(Image.id == image.id, Image.current_version == base_version)
        .values(current_version=version.number, refreshed_at=now())
        .execution_options(synchronize_session=False)
    )
    if swapped.rowcount != 1:  # type: ignore[attr-defined]  # an UPDATE gives a CursorResult
        raise VersionChanged(f"{image.package_id} was at version {base_version}")
    session.refresh(image)
    return version


def note_event(session: Session, image: Image, version: ImageVersion, new: ImageEvent) -> None:
    """Add to the lineage, once for each job and kind."""
    statement = select(ImageEvent.id).where(
        ImageEvent.image_id == image.id,
        ImageEvent.job_id == new.job_id,
        ImageEvent.kind == new.kind,
    )
    if session.scalars(statement).first() is None:
        new.image_id, new.version = image.id, version.number
        new.digest, new.size_bytes = version.digest, version.size_bytes
        session.add(new)
        session.flush()


def show_schedule(session: Session, image_id: int, at: Any, status: str) -> None:
    """Set the columns *Scheduled Updates Date* and *Scheduled Updates Status*."""
    session.execute(
        update(Image)
        .where(Image.id == image_id)
        .values(scheduled_at=at, scheduled_status=status)
        .execution_options(synchronize_session="fetch")
    )


def _add_version(
    session: Session, store: LocalBlobStore, image: Image, new: NewVersion
) -> ImageVersion:
    library.adopt(session, store, new.digest)
    newest = select(func.max(ImageVersion.number)).where(ImageVersion.image_id == image.id)
    before = _run_sources(session, image) if new.origin is Origin.SERVICED else {}
    version = ImageVersion(
        image_id=image.id,
        number=(session.scalar(newest) or 0) + 1,
        origin=new.origin,
        digest=new.digest,
        parent_image=new.parent_image,
        parent_version=new.parent_version,
        parent_index=new.parent_index,
        run_id=new.run_id,
        job_id=new.job_id,
        actor=new.actor,
        guid=new.facts.guid,
        compression=new.facts.compression,
        chunk_size=new.facts.chunk_size,
    )
    session.add(version)
    session.flush()
    _add_indexes(session, version, new, before)
    session.refresh(version)
    event = ImageEvent(
        kind=new.origin, text=new.text, actor=new.actor, run_id=new.run_id, job_id=new.job_id
    )
    note_event(session, image, version, event)
    return version


def _add_indexes(
    session: Session,
    version: ImageVersion,
    new: NewVersion,
    before: Mapping[tuple[int, str], tuple[PackageSource, int | None]],
) -> None:
    default: tuple[PackageSource, int | None] = (PackageSource.IMPORT, None)
    if new.origin is Origin.SERVICED:
        default = (PackageSource.RUN, new.run_id)
    for facts in new.facts.indexes:
        index = ImageIndex(version_id=version.id, **index_columns(facts))
        session.add(index)
        session.flush()
        _add_snapshot(session, index, facts)
        rows = [
            {"index_id": index.id, "source": source, "run_id": run_id, **package_columns(package)}
            for package in facts.packages
            for source, run_id in [before.get((facts.number, package.identity.lower()), default)]
        ]
        if rows:
            session.execute(insert(IndexPackage), rows)


def _add_snapshot(session: Session, index: ImageIndex, facts: IndexFacts) -> None:
    data = packed_snapshot(facts)
    session.merge(IndexSnapshot(index_id=index.id, format=FORMAT, data=data))


def lacks_snapshots(session: Session, version: ImageVersion) -> bool:
    """Whether an index of a version has no snapshot that this program reads."""
    return len(snapshots(session, version)) < len(version.indexes)


def add_snapshots(session: Session, version: ImageVersion, facts: FileFacts) -> None:
    """Keep the snapshots of a version whose content was read again."""
    found = {index.number: index for index in facts.indexes}
    for index in version.indexes:
        _add_snapshot(session, index, found[index.number])


def snapshots(session: Session, version: ImageVersion) -> dict[int, bytes]:
    """Packed snapshots of the indexes of a version, by number; empty where none can be taken.

    Indexes that an earlier program has read are not in it.
    """
    statement = (
        select(ImageIndex.number, IndexSnapshot.data)
        .join(ImageIndex, ImageIndex.id == IndexSnapshot.index_id)
        .where(ImageIndex.version_id == version.id, IndexSnapshot.format == FORMAT)
    )
    return {number: packed for number, packed in session.execute(statement)}  # noqa: C416 - rows


def _run_sources(
    session: Session, image: Image
) -> dict[tuple[int, str], tuple[PackageSource, int | None]]:
    """Who brought the packages of the current version, by index and identity."""
    if not image.current_version:
        return {}
    statement = (
        select(IndexPackage)
        .join(IndexPackage.index)
        .where(ImageIndex.version_id == version_of(session, image).id)
    )
    return {
        (row.index.number, row.identity.lower()): (row.source, row.run_id)
        for row in session.scalars(statement)
    }


def _bump(session: Session, image: Image) -> None:
    """Raise the revision, unless somebody else has done so since the image was read."""
    bumped = session.execute(
        update(Image)
        .where(Image.id == image.id, Image.revision == image.revision)
        .values(revision=image.revision + 1, changed_at=now())
        .execution_options(synchronize_session=False)
    )
    if bumped.rowcount != 1:  # type: ignore[attr-defined]  # an UPDATE gives a CursorResult
        raise ChangedMeanwhile(f"{image.package_id} was changed at the same time")
    session.refresh(image)
