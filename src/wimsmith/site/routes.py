"""The site over HTTP: what it is, its settings, whether it lives."""

import os
from datetime import datetime

from fastapi import APIRouter
from sqlalchemy import text

import wimsmith
from wimsmith.api.depends import ActorDep, SiteDep
from wimsmith.site import schemas, service, settings
from wimsmith.site.access import ObjectClass, Verb, require
from wimsmith.site.drive import resolve_drive

router = APIRouter(tags=["site"])
health = APIRouter(tags=["site"])


@health.get("/healthz")
def healthz(site: SiteDep) -> schemas.Health:
    """Tell that the service answers and its database too."""
    with site.database.read() as session:
        session.execute(text("SELECT 1"))
    return schemas.Health(status="ok", version=wimsmith.__version__)


@router.get("/site")
def show_site(site: SiteDep, actor: ActorDep) -> schemas.SiteOut:
    """Show what site this is and where it keeps its things."""
    require(actor, ObjectClass.SETTING, Verb.READ)
    with site.database.read() as session:
        values = {name: settings.get(session, name) for name in settings.DEFINITIONS}
    drive = resolve_drive(values[settings.SERVICING_DRIVE], site.config.state_dir)
    local = datetime.now().astimezone()
    return schemas.SiteOut(
        version=wimsmith.__version__,
        state_dir=os.fspath(site.config.state_dir),
        logs_dir=os.fspath(site.config.logs_dir),
        servicing_dir=os.fspath(drive.folder),
        servicing_warning=drive.warning,
        database=site.database.url.render_as_string(hide_password=True),
        server_time=local,
        time_zone=local.tzname() or "",
        settings=values,
    )


@router.get("/settings")
def list_settings(site: SiteDep, actor: ActorDep) -> schemas.Settings:
    """List the site settings."""
    require(actor, ObjectClass.SETTING, Verb.READ)
    with site.database.read() as session:
        items = [_shown(name, settings.get(session, name)) for name in settings.DEFINITIONS]
    return schemas.Settings(items=items)


@router.get("/settings/{name}")
def show_setting(site: SiteDep, actor: ActorDep, name: str) -> schemas.SettingOut:
    """Show one setting."""
    require(actor, ObjectClass.SETTING, Verb.READ)
    with site.database.read() as session:
        return _shown(name, settings.get(session, name))


@router.put("/settings/{name}")
def change_setting(
    site: SiteDep, actor: ActorDep, name: str, body: schemas.SettingIn
) -> schemas.SettingOut:
    """Change one setting."""
    with site.database.write() as session:
        return _shown(name, service.change_setting(session, actor, name, body.value))


def _shown(name: str, value: object) -> schemas.SettingOut:
    known = settings.definition(name)
    return schemas.SettingOut(name=name, value=value, default=known.default, text=known.text)
