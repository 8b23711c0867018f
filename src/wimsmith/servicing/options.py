"""What the engine is told besides the update and the image: the same for every step of a run."""

from datetime import datetime

from sqlalchemy.orm import Session

from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.filetime import from_datetime
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.roots import microsoft_anchors
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.site import settings


def apply_options(session: Session, started_at: datetime) -> ApplyOptions:
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
    return ApplyOptions(trust=policy, now=from_datetime(started_at))
