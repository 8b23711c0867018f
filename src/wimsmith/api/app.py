"""The HTTP application of a site."""

from typing import Any

from fastapi import FastAPI

import wimsmith
from wimsmith.api import problems
from wimsmith.api.depends import PREFIX
from wimsmith.images import routes as images
from wimsmith.jobs import routes as jobs
from wimsmith.servicing import routes as servicing
from wimsmith.site import routes as site_routes
from wimsmith.site.context import Site
from wimsmith.updates import routes as updates

_PROBLEM: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong (RFC 9457)",
        "content": {problems.MEDIA_TYPE: {"schema": problems.Problem.model_json_schema()}},
    }
}


def build_api(site: Site | None) -> FastAPI:
    """The application for a site; without one it can only describe itself."""
    app = FastAPI(
        title="Wimsmith",
        version=wimsmith.__version__.partition(".dev")[0],
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        responses=_PROBLEM,
    )
    app.state.site = site
    problems.install(app)
    app.include_router(site_routes.health)
    routers = (
        site_routes.router,
        images.router,
        servicing.router,
        updates.router,
        jobs.router,
    )
    for router in routers:
        app.include_router(router, prefix=PREFIX)
    return app
