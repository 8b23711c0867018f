"""kill -9 in every step of every kind of job, then a restart: the old or the new, never a mix."""

import contextlib
import hashlib
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from journeys.live import LiveSite
from sitekit import Practice, sha256
from wimsmith.app import job_steps
from wimsmith.db.engine import Database
from wimsmith.images.models import Image, ImageVersion
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.verbs.export import export_images
from wimsmith.offline.wim.writing.making import Packing
from wimsmith.site.drive import FOLDER
from wimsmith.storage.models import BlobLease

CASES: dict[str, tuple[str, ...]] = {
    "add-image": ("extract", "convert", "store", "register"),
    "reload-image": ("convert", "store", "register"),
    "extract-index": ("extract", "store", "register"),
    "export-image": ("copy", "note"),
    "import-updates": ("scan", "import", "cleanup"),
    "service-image": (
        "plan",
        "stage",
        "gate",
        "apply",
        "act",
        "optimize",
        "commit",
        "export",
        "verify",
        "store",
        "publish",
        "cleanup",
    ),
}
SERVICING = "service-image"
OF_ONE_INDEX = frozenset({"act", "optimize", "export"})
"""Steps of servicing that are there where packages are removed, and where one index is cleaned."""
REMOVED = "Package_for_KB4000001~31bf3856ad364e35~amd64~~10.0.1.2"


def _cases() -> list[Any]:
    """During every step of servicing on both databases; the rest of the points where it counts."""
    found = []
    for kind, steps in CASES.items():
        for step in steps:
            for database in ("sqlite", "postgresql"):
                for point in ("during", "before", "after"):
                    quick = point == "during" and (kind == SERVICING or database == "sqlite")
                    marks = [] if quick else [pytest.mark.slow]
                    name = f"{database}-{kind}-{step}-{point}"
                    found.append(pytest.param(database, kind, step, point, id=name, marks=marks))
    return found


def test_every_step_of_the_registry_has_a_case() -> None:
    assert job_steps() == CASES


@dataclass
class Scene:
    """One job that is killed, and what it works on."""

    site: LiveSite
    practice: Practice
    kind: str
    step: str
    point: str

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.step}-{self.point}"

    @property
    def number(self) -> int:
        """A number of this scene alone."""
        return zlib.crc32(self.name.encode()) % 1_000_000

    @property
    def indexes(self) -> int:
        return 1 if self.kind == SERVICING and self.step in OF_ONE_INDEX else 2

    @property
    def media(self) -> Path:
        folder = self.site.folder / self.name
        folder.mkdir(exist_ok=True)
        return folder

    def source(self, indexes: int = 1, seed: str = "practice", *, solid: bool = False) -> Path:
        target = self.media / "install.wim"
        made = self.practice.image(indexes, seed)
        if solid:
            packing = Packing(solid=True)
            export_images(made, None, target, packing=packing, overwrite=True)
        else:
            shutil.copyfile(made, target)
        return target

    def added(self, indexes: int = 1) -> str:
        body = {"path": os.fspath(self.source(indexes)), "name": self.name}
        job = self.site.done("POST", "/images", body)
        return str(job["result"]["package_id"])

    def start(self, kind: str) -> None:
        """Start a job of a kind."""
        {
            "add-image": self._add,
            "reload-image": self._reload,
            "extract-index": self._extract,
            "export-image": self._export,
            "import-updates": self._import,
            SERVICING: self._service,
        }[kind]()

    def prepare(self, kind: str) -> None:
        """Do beforehand what the job needs, so that only the job itself is killed."""
        if kind in {"reload-image", "extract-index", "export-image", SERVICING}:
            self.package_id = self.added(self.indexes)
        if kind == "reload-image":
            self.source(seed="other", solid=self.step == "convert")
        if kind == SERVICING:
            found = self.site.done(
                "POST", "/updates/import", {"path": os.fspath(self.practice.update("rollup"))}
            )["result"]
            self.update = (found["imported"] + found["known"])[0]
            fingerprint = self.practice.fingerprint
            self.site.send("PUT", "/settings/trusted_test_roots", {"value": [fingerprint]})
            self.site.send("PUT", "/settings/experimental_native_servicing", {"value": True})

    def _add(self) -> None:
        solid = self.step == "convert"
        body: dict[str, Any] = {"path": os.fspath(self.source(2, solid=solid)), "name": self.name}
        self.site.send("POST", "/images", body if solid else body | {"index": 2})

    def _reload(self) -> None:
        self.site.send("POST", f"/images/{self.package_id}/reload")

    def _extract(self) -> None:
        path = f"/images/{self.package_id}/extract"
        self.site.send("POST", path, {"index": 1})

    def _export(self) -> None:
        body = {"path": os.fspath(self.media / "out.wim")}
        self.site.send("POST", f"/images/{self.package_id}/export", body)

    def _import(self) -> None:
        first = 7_000_000 + 2 * self.number
        for article in (first, first + 1):
            self.practice.new_update(f"KB{article}", self.media / f"{article}.cab")
        self.site.send("POST", "/updates/import", {"path": os.fspath(self.media)})

    def _service(self) -> None:
        body = {"image": self.package_id, "updates": [self.update], "run_now": True}
        if self.step in OF_ONE_INDEX:
            body |= {"remove": ["KB4000001"], "remove_superseded": True}
        self.site.send("POST", "/servicing/schedules", body)


def _current_blobs_are_whole(site: LiveSite) -> None:
    """Every image has a current version, and its content is what its hash says."""
    database = Database(site.database_url)
    with database.read() as session:
        for image in session.scalars(select(Image)):
            statement = select(ImageVersion).where(
                ImageVersion.image_id == image.id, ImageVersion.number == image.current_version
            )
            version = session.scalars(statement).one()
            blob = site.state / "content" / "blobs" / version.digest[:2] / version.digest
            assert hashlib.sha256(blob.read_bytes()).hexdigest() == version.digest
    database.close()


def _nothing_is_left(scene: Scene) -> None:
    site = scene.site
    drive = site.state / FOLDER
    assert not drive.exists() or list(drive.iterdir()) == []
    assert list((site.state / "content" / "incoming").iterdir()) == []
    assert [path.name for path in scene.media.iterdir() if path.name.startswith(".")] == []
    database = Database(site.database_url)
    with database.read() as session:
        assert session.scalars(select(BlobLease)).all() == []
    database.close()


@pytest.mark.parametrize(("database", "kind", "step", "point"), _cases())
def test_kill_and_restart(
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
    practice: Practice,
    database: str,
    kind: str,
    step: str,
    point: str,
) -> None:
    site: LiveSite = request.getfixturevalue(f"{database}_site")
    site.revive()
    scene = Scene(site, practice, kind, step, point)
    scene.prepare(kind)
    site.arm(kind, step, point)
    with contextlib.suppress(httpx2.TransportError):  # death may be faster than the answer
        scene.start(kind)
    site.wait_for_death()
    _current_blobs_are_whole(site)

    site.start()
    job = site.ended(site.get("/jobs", kind=kind)["items"][0]["id"])

    assert job["state"] == "succeeded", job
    _current_blobs_are_whole(site)
    _nothing_is_left(scene)
    _CHECKS[kind](scene, job)
    record_property("killed on", database)


def _check_added(scene: Scene, job: Any) -> None:
    image = scene.site.get(f"/images/{scene.name}")
    extracted = scene.media / "install-index2.wim"
    assert image["package_id"] == job["result"]["package_id"]
    if scene.step == "convert":
        _check_converted(scene, image["sha256"], scene.practice.image(2))
        return
    assert image["source_path"] == os.fspath(extracted)
    assert image["sha256"] == sha256(extracted)
    assert sha256(scene.media / "install.wim") == sha256(scene.practice.image(2))


def _check_reloaded(scene: Scene, job: Any) -> None:
    image = scene.site.get(f"/images/{scene.package_id}")
    assert (image["current_version"], job["result"]["changed"]) == (2, True)
    made = scene.practice.image(seed="other")
    if scene.step == "convert":
        _check_converted(scene, image["sha256"], made)
    else:
        assert image["sha256"] == sha256(made)


def _check_converted(scene: Scene, digest: str, made: Path) -> None:
    """The library has an ordinary file with the images of what was once made solid."""
    blob = scene.site.state / "content" / "blobs" / digest[:2] / digest
    with open_wim(blob) as found, open_wim(made) as wanted:
        assert (found.kinds, found.compression) == ((), Compression.LZX)
        assert found.blobs.keys() == wanted.blobs.keys()
        assert len(found.images) == len(wanted.images)


def _check_extracted(scene: Scene, job: Any) -> None:
    image = scene.site.get(f"/images/{scene.package_id}")
    assert (image["current_version"], image["index_count"]) == (2, 1)
    assert image["source_path"] == job["result"]["path"]
    assert sha256(Path(image["source_path"])) == image["sha256"]


def _check_exported(scene: Scene, job: Any) -> None:
    assert sha256(Path(job["result"]["path"])) == sha256(scene.practice.image(2))
    events = scene.site.get(f"/images/{scene.package_id}/lineage")["items"]
    assert [event["kind"] for event in events] == ["import", "export"]


def _check_imported(scene: Scene, job: Any) -> None:
    found = job["result"]["imported"] + job["result"]["known"]
    updates = [scene.site.get(f"/updates/{number}") for number in found]
    assert len({update["identity"] for update in updates}) == 2
    assert {update["state"] for update in updates} == {"ready"}
    for update in updates:
        digest = update["sha256"]
        blob = scene.site.state / "content" / "blobs" / digest[:2] / digest
        assert sha256(blob) == digest


def _check_serviced(scene: Scene, job: Any) -> None:
    site = scene.site
    image = site.get(f"/images/{scene.package_id}")
    run = site.get(f"/servicing/runs/{job['result']['run']}")
    indexes = site.get(f"/images/{scene.package_id}/indexes")["items"]
    assert (run["status"], image["current_version"]) == ("Successful", 2)
    assert {result["word"] for result in run["results"]} == {"Installed"}
    assert {index["revision"] for index in indexes} == {501}
    assert [one["number"] for one in site.get(f"/images/{scene.package_id}/versions")["items"]] == [
        2,
        1,
    ]
    assert sha256(scene.media / "install.wim") == sha256(scene.practice.image(scene.indexes))
    if scene.step in OF_ONE_INDEX:
        packages = site.get(f"/images/{scene.package_id}/packages", q="KB4000001", limit=500)
        assert {action["word"] for action in run["actions"]} == {"Removed"}
        assert REMOVED not in {one["identity"] for one in packages["items"]}
        blob = scene.site.state / "content" / "blobs" / image["sha256"][:2] / image["sha256"]
        assert run["clean_up"]["after_bytes"] == blob.stat().st_size


_CHECKS = {
    "add-image": _check_added,
    "reload-image": _check_reloaded,
    "extract-index": _check_extracted,
    "export-image": _check_exported,
    "import-updates": _check_imported,
    SERVICING: _check_serviced,
}
