"""The site as it goes in and out over HTTP."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class SettingOut(BaseModel):
    name: str
    value: Any
    default: Any
    text: str


class Settings(BaseModel):
    items: list[SettingOut]


class SettingIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    value: Any


class SiteOut(BaseModel):
    version: str
    state_dir: str
    logs_dir: str
    servicing_dir: str
    servicing_warning: str
    database: str
    server_time: datetime
    time_zone: str
    settings: dict[str, Any]


class Health(BaseModel):
    status: str
    version: str
