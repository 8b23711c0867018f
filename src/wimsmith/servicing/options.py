"""Who does a run, and what it is told besides the update and the image: alike for every step."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from sqlalchemy.orm import Session

from wimsmith.offline.backends.interface import Backend
from wimsmith.offline.backends.native import NativeBackend
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.filetime import from_datetime
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.roots import microsoft_anchors
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.site import settings

_BACKENDS: Mapping[str, Backend] = MappingProxyType({NativeBackend.name: NativeBackend()})


def backend_names() -> Sequence[str]:
    """The backends that this site has, the preferred one first."""
    return tuple(_BACKENDS)


def backend_called(name: str | None) -> Backend:
    """The backend that a run was given; `native` for runs that began before there was a choice."""
    return _BACKENDS[name or NativeBackend.name]


def apply_options(
    session: Session, started_at: datetime, *, allow_not_generalised: bool = False
) -> ApplyOptions:
    """Options of a run that began at `started_at`, so that a repeated step does the same."""
    own = frozenset(settings.get(session, settings.TRUSTED_ROOTS))
    practice = frozenset(settings.get(session, settings.TRUSTED_TEST_ROOTS))
    policy = TrustPolicy(
        microsoft=microsoft_anchors(),
        operator=Anchors(fingerprints=own),
        test=Anchors(fingerprints=practice),
        allow_test_roots=bool(practice),
        now=started_at,
    )
    return ApplyOptions(
        trust=policy,
        now=from_datetime(started_at),
        allow_not_generalised=allow_not_generalised,
    )
