"""Images over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status

from wimsmith.api.depends import ActorDep, IfMatch, PageDep, SiteDep, accepted
from wimsmith.images import requests, schemas, service
from wimsmith.images.models import Image, ImageVersion
from wimsmith.images.service import ImageView
from wimsmith.jobs.schemas import JobOut

router = APIRouter(prefix="/images", tags=["images"])
Text = Annotated[str, Query(max_length=200)]


@router.post("/inspect")
def inspect_path(site: SiteDep, actor: ActorDep, body: schemas.InspectRequest) -> schemas.Inspected:
    """Show what a WIM holds before it is added; nothing is stored."""
    with site.database.read() as session:
        return schemas.Inspected.model_validate(
            requests.inspect(session, actor, body.path), from_attributes=True
        )


@router.post("", status_code=status.HTTP_202_ACCEPTED)
def add_image(
    site: SiteDep, actor: ActorDep, response: Response, body: schemas.AddRequest
) -> JobOut:
    """Add a WIM, or one index of it."""
    with site.database.write() as session:
        job = requests.add(session, site, actor, body)
    return accepted(response, site, job)


@router.get("")
def list_images(
    site: SiteDep,
    actor: ActorDep,
    query: PageDep,
    q: Text = "",
    kind: Text = "",
    architecture: Text = "",
) -> schemas.Images:
    """List images."""
    with site.database.read() as session:
        found = service.search(session, actor, query, text=q, kind=kind, architecture=architecture)
        items = [
            _image_out(ImageView(image, service.version_of(session, image)))
            for image in found.items
        ]
    return schemas.Images(items=items, next=found.next)


@router.get("/{image}")
def show_image(site: SiteDep, actor: ActorDep, response: Response, image: str) -> schemas.ImageOut:
    """Show one image; the ETag is its revision."""
    with site.database.read() as session:
        return _with_etag(response, service.view(session, actor, image))


@router.patch("/{image}")
def edit_image(
    site: SiteDep,
    actor: ActorDep,
    response: Response,
    image: str,
    body: schemas.EditRequest,
    revision: IfMatch,
) -> schemas.ImageOut:
    """Change properties of an image."""
    with site.database.write() as session:
        row = service.find(session, actor, image)
        changes = body.model_dump(exclude_none=True)
        service.edit(session, actor, row, changes, revision.number)
        return _with_etag(response, service.view(session, actor, row.package_id))


@router.delete("/{image}", status_code=status.HTTP_204_NO_CONTENT)
def remove_image(site: SiteDep, actor: ActorDep, image: str) -> None:
    """Remove an image with all its versions."""
    with site.database.write() as session:
        service.remove(session, site, actor, service.find(session, actor, image))


@router.post("/{image}/reload", status_code=status.HTTP_202_ACCEPTED)
def reload_image(site: SiteDep, actor: ActorDep, response: Response, image: str) -> JobOut:
    """Read the source file again."""
    with site.database.write() as session:
        row = service.find(session, actor, image)
        job = requests.reload(session, site, actor, row)
    return accepted(response, site, job)


@router.post("/{image}/extract", status_code=status.HTTP_202_ACCEPTED)
def extract_index(
    site: SiteDep, actor: ActorDep, response: Response, image: str, body: schemas.ExtractRequest
) -> JobOut:
    """Take one index out into a new file in the source's folder; the image then points there."""
    with site.database.write() as session:
        row = service.find(session, actor, image)
        job = requests.extract(session, site, actor, row, body)
    return accepted(response, site, job)


@router.post("/{image}/export", status_code=status.HTTP_202_ACCEPTED)
def export_version(
    site: SiteDep, actor: ActorDep, response: Response, image: str, body: schemas.ExportRequest
) -> JobOut:
    """Write a version to a path."""
    with site.database.write() as session:
        row = service.find(session, actor, image)
        job = requests.export(session, site, actor, row, body)
    return accepted(response, site, job)


@router.get("/{image}/indexes")
def list_indexes(
    site: SiteDep, actor: ActorDep, image: str, version: int | None = None
) -> schemas.Indexes:
    """List the indexes of a version, the current one if none is named."""
    with site.database.read() as session:
        found = service.version_of(session, service.find(session, actor, image), version)
        items = [schemas.IndexRowOut.model_validate(row) for row in found.indexes]
    return schemas.Indexes(items=items)


@router.get("/{image}/packages")
def list_packages(
    site: SiteDep,
    actor: ActorDep,
    query: PageDep,
    image: str,
    index: int | None = None,
    version: int | None = None,
    q: Text = "",
) -> schemas.Packages:
    """List what is installed in a version, as read when the version was made."""
    with site.database.read() as session:
        found = service.version_of(session, service.find(session, actor, image), version)
        rows = service.packages(session, found, query, index_number=index, text=q)
        items = [
            schemas.PackageOut(
                index=row.index.number,
                identity=row.identity,
                state=row.state,
                release_type=row.release_type,
                article=row.article,
                is_update=row.is_update,
                installed_at=row.installed_at,
                source=row.source,
                run_id=row.run_id,
            )
            for row in rows.items
        ]
    return schemas.Packages(items=items, next=rows.next)


@router.get("/{image}/versions")
def list_versions(site: SiteDep, actor: ActorDep, image: str) -> schemas.Versions:
    """List the versions of an image, the newest first."""
    with site.database.read() as session:
        row = service.find(session, actor, image)
        items = [_version_out(row, version) for version in service.versions(session, row)]
    return schemas.Versions(items=items)


@router.get("/{image}/lineage")
def show_lineage(site: SiteDep, actor: ActorDep, image: str) -> schemas.Lineage:
    """Show what happened to the content of an image, the oldest first."""
    with site.database.read() as session:
        row = service.find(session, actor, image)
        items = [
            schemas.EventOut(
                at=event.at,
                kind=event.kind,
                version=event.version,
                sha256=event.digest,
                size_bytes=event.size_bytes,
                text=event.text,
                actor=event.actor,
                run_id=event.run_id,
            )
            for event in service.lineage(session, row)
        ]
    return schemas.Lineage(items=items)


def _with_etag(response: Response, found: ImageView) -> schemas.ImageOut:
    response.headers["ETag"] = f'"{found.image.revision}"'
    return _image_out(found)


def _image_out(found: ImageView) -> schemas.ImageOut:
    image, current = found.image, found.current
    columns = schemas.ImageOut.model_fields.keys() - {"sha256", "size_bytes", "index_count"}
    return schemas.ImageOut(
        **{name: getattr(image, name) for name in columns},
        sha256=current.digest,
        size_bytes=current.size_bytes,
        index_count=len(current.indexes),
    )


def _version_out(image: Image, version: ImageVersion) -> schemas.VersionOut:
    return schemas.VersionOut(
        number=version.number,
        origin=version.origin,
        parent_image=version.parent_image,
        parent_version=version.parent_version,
        parent_index=version.parent_index,
        run_id=version.run_id,
        sha256=version.digest,
        size_bytes=version.size_bytes,
        index_count=len(version.indexes),
        created_at=version.created_at,
        actor=version.actor,
        current=version.number == image.current_version,
    )
