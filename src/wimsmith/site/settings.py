"""Site settings: what an administrator changes while the site runs."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy.orm import Session

from wimsmith.errors import InvalidInput, NotFound
from wimsmith.site.drive import check_drive
from wimsmith.site.models import Setting
from wimsmith.site.sources import check_root

_SITE_CODE = re.compile(r"[A-Z0-9]{3}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Definition:
    """A setting that exists: its default, what it does, and how a new value is checked."""

    default: Any
    text: str
    check: Callable[[Any], Any]


def _site_code(value: Any) -> str:
    code = _text(value).upper()
    if not _SITE_CODE.fullmatch(code):
        raise InvalidInput("site_code must be three letters or digits")
    return code


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("the value must be true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput("the value must be text")
    return value


def _drive(value: Any) -> str:
    return check_drive(_text(value))


def _roots(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InvalidInput(r"the value must be an object such as {'\\server\share': '/mnt/share'}")
    checked = {check_root(_text(root)): _text(folder) for root, folder in value.items()}
    for folder in checked.values():
        if not Path(folder).is_absolute():
            raise InvalidInput(f"{folder!r} is not an absolute path")
    return checked


def _fingerprints(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise InvalidInput("the value must be a list of SHA-256 fingerprints")
    digests = [_text(one).replace(":", "").lower() for one in value]
    for digest in digests:
        if not _FINGERPRINT.fullmatch(digest):
            raise InvalidInput(f"{digest[:80]!r} is not a SHA-256 fingerprint")
    return digests


SITE_CODE = "site_code"
NATIVE_SERVICING = "experimental_native_servicing"
SERVICING_DRIVE = "servicing_drive"
UNC_ROOTS = "unc_roots"
TRUSTED_ROOTS = "trusted_roots"
TRUSTED_TEST_ROOTS = "trusted_test_roots"

DEFINITIONS: Mapping[str, Definition] = MappingProxyType(
    {
        SITE_CODE: Definition("WIM", "Three characters in front of new package ids", _site_code),
        NATIVE_SERVICING: Definition(
            default=False,
            text="Experimental: apply updates with Wimsmith's own engine, without Windows",
            check=_switch,
        ),
        SERVICING_DRIVE: Definition(
            "", "Local folder for the work of servicing runs; empty means Automatic", _drive
        ),
        UNC_ROOTS: Definition(
            {}, r"Where UNC roots such as \\server\share are mounted here", _roots
        ),
        TRUSTED_ROOTS: Definition(
            [], "SHA-256 fingerprints of further root certificates to trust", _fingerprints
        ),
        TRUSTED_TEST_ROOTS: Definition(
            [],
            "SHA-256 fingerprints of practice roots whose generated packages are trusted",
            _fingerprints,
        ),
    }
)


def definition(name: str) -> Definition:
    """Raises NotFound."""
    if name not in DEFINITIONS:
        raise NotFound(f"setting {name}", hint=f"Settings: {', '.join(DEFINITIONS)}.")
    return DEFINITIONS[name]


def get(session: Session, name: str) -> Any:
    """Present value of a setting."""
    row = session.get(Setting, name)
    return definition(name).default if row is None else row.value


def put(session: Session, name: str, value: Any) -> Any:
    """Change a setting; returns the value as it is kept.

    Raises:
        NotFound: there is no such setting.
        InvalidInput: the value is not acceptable.
    """
    checked = definition(name).check(value)
    row = session.get(Setting, name)
    if row is None:
        session.add(Setting(name=name, value=checked))
    else:
        row.value = checked
    session.flush()
    return checked
