"""A site to test with: real database, real library, real engine, practice images and updates."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from wimsmith.api.app import build_api
from wimsmith.app import build_site
from wimsmith.config import Config
from wimsmith.jobs.engine_inline import InlineEngine
from wimsmith.practice import refused
from wimsmith.practice.image import build_image
from wimsmith.practice.maker import Maker
from wimsmith.practice.names import WINDOWS_TOKEN, Identity
from wimsmith.practice.presets import preset, stand_in
from wimsmith.practice.root import PracticeRoot, practice_root
from wimsmith.practice.spec import Generation, ImageSpec, PackageState, ParentSpec
from wimsmith.practice.updates import build_update
from wimsmith.servicing import service as servicing
from wimsmith.site.access import Actor, Role
from wimsmith.site.context import Site

KIB = 1024
ADMIN = Actor("alice", Role.FULL_ADMINISTRATOR)
STAGED_PARENT = Identity.package(f"Practice-Parent~{WINDOWS_TOKEN}~amd64~~10.0.19041.1")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Practice:
    """Generated images and updates, each made once; never written to after that."""

    folder: Path
    root: PracticeRoot = field(init=False)

    def __post_init__(self) -> None:
        self.root = practice_root(self.folder)

    @property
    def fingerprint(self) -> str:
        return self.root.fingerprint

    def image(self, indexes: int = 1, seed: str = "practice") -> Path:
        """A small image, packed not at all."""
        target = self.folder / f"{seed}-{indexes}.wim"
        if not target.exists():
            spec = ImageSpec(indexes=indexes, size_bytes=256 * KIB, seed=seed)
            build_image(spec, target, root=self.root)
        return target

    def staged_pair(self) -> tuple[Path, Path]:
        """An image that has a package staged only, and an update that belongs to that package."""
        parent = replace(stand_in(STAGED_PARENT, "off"), state=PackageState.STAGED)
        image, update = self.folder / "staged-parent.wim", self.folder / "staged-child.cab"
        if not image.exists():
            spec = ImageSpec(size_bytes=256 * KIB, extra_packages=(parent,))
            build_image(spec, image, root=self.root)
            child = refused.package("KB5077010", parents=(ParentSpec((STAGED_PARENT,)),))
            build_update(child(Maker(Generation.WINDOWS_10)), update, root=self.root)
        return image, update

    def update(self, name: str) -> Path:
        """The update package of a preset."""
        folder = self.folder / name
        if not folder.exists():
            folder.mkdir()
            build_update(preset(name), folder / "update.cab", root=self.root)
        return next(folder.iterdir())

    def new_update(self, article: str, target: Path) -> Path:
        """A small update that nobody has seen yet."""
        spec = refused.simple(article)(Maker(Generation.WINDOWS_10))
        return build_update(spec, target, root=self.root)


_made: list[Practice] = []


@pytest.fixture(scope="session")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Practice:
    """One for all test folders, each of which sees a session fixture of its own."""
    if not _made:
        _made.append(Practice(tmp_path_factory.mktemp("practice")))
    return _made[0]


@dataclass
class Api:
    """The HTTP face of a site, asked from inside the process."""

    site: Site
    engine: InlineEngine
    client: TestClient
    media: Path

    def get(self, path: str, **query: Any) -> Any:
        answer = self.client.get(f"/api/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self.client.post(f"/api/v1{path}", json=body or {})
        assert answer.status_code in {200, 201, 202}, answer.text
        return answer.json()

    def refused(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The problem document of a request that must fail."""
        answer = self.client.request(method, f"/api/v1{path}", json=body)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        problem = answer.json()
        assert problem["status"] == answer.status_code
        return problem

    def job(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Start work, which the inline engine has done when this returns; the ended job."""
        started = self.post(path, body)
        return self.get(f"/jobs/{started['id']}")

    def copy(self, source: Path, name: str = "install.wim") -> Path:
        """A file of its own for a test that looks at its folder."""
        target = self.media / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return target

    def add(self, source: Path, **more: Any) -> str:
        """Add an image; returns its package id."""
        job = self.job("/images", {"path": os.fspath(source), **more})
        assert job["state"] == "succeeded", job["error_text"]
        return str(job["result"]["package_id"])

    def import_update(self, source: Path) -> int:
        """Import one update; returns its number."""
        job = self.job("/updates/import", {"path": os.fspath(source)})
        result = job["result"]
        numbers = result["imported"] + result["known"] + [one["id"] for one in result["refused"]]
        return int(numbers[0])

    def setting(self, name: str, value: Any) -> None:
        answer = self.client.put(f"/api/v1/settings/{name}", json={"value": value})
        assert answer.status_code == 200, answer.text

    def allow_servicing(self, fingerprint: str) -> None:
        self.setting("experimental_native_servicing", True)
        self.setting("trusted_test_roots", [fingerprint])

    def service(self, image: str, *updates: int, **more: Any) -> Any:
        """Apply updates now; returns the run with its results."""
        body = {"image": image, "updates": list(updates), "run_now": True} | more
        schedule = self.post("/servicing/schedules", body)
        return self.get(f"/servicing/runs/{schedule['run']['id']}")

    def start_due(self) -> int:
        return servicing.start_due(self.site)


def make_config(folder: Path, url: str = "", **more: Any) -> Config:
    state = folder / "state"
    url = url or f"sqlite:///{state / 'site.sqlite'}"
    return Config(state_dir=state, logs_dir=state / "logs", database_url=url, **more)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest) -> str:
    """What the site of `api` keeps its rows in; empty for SQLite."""
    return request.getfixturevalue("postgresql_url") if request.param == "postgresql" else ""


@pytest.fixture
def api(tmp_path: Path, database_url: str) -> Iterator[Api]:
    """A site whose jobs run in the request that starts them."""
    engine = InlineEngine()
    site = build_site(make_config(tmp_path, database_url), engine)
    site.jobs.start()
    media = tmp_path / "media"
    media.mkdir()
    with TestClient(build_api(site), raise_server_exceptions=False) as client:
        yield Api(site, engine, client, media)
    site.jobs.stop(5)
    site.database.close()
