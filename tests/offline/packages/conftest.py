"""Fixtures of the tests of packages."""

from pathlib import Path

import pytest

from offline.packages.made import MadePackage, made_package
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.practice.root import PracticeRoot


@pytest.fixture(scope="session")
def root() -> PracticeRoot:
    return PracticeRoot.new()


@pytest.fixture(scope="session")
def stranger() -> PracticeRoot:
    return PracticeRoot.new("Nobody in particular")


@pytest.fixture
def made(root: PracticeRoot) -> MadePackage:
    return made_package(root)


@pytest.fixture
def policy(root: PracticeRoot) -> TrustPolicy:
    return TrustPolicy(
        microsoft=Anchors(), test=Anchors((root.certificate,)), allow_test_roots=True
    )


@pytest.fixture(scope="session")
def base_manifest(real: Path) -> bytes:
    return (real / "dcm" / "base_manifest.bin").read_bytes()
