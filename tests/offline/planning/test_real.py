"""Real updates: what planning keeps of them is enough to judge them as the files themselves."""

from dataclasses import replace
from pathlib import Path

import pytest

from offline.planning.kit import INSTALLED, STAGED, snapshot
from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.packages.facts import inspect_all
from wimsmith.offline.planning.description import UpdateDescription, describe
from wimsmith.offline.planning.plan import judge
from wimsmith.offline.planning.snapshot import Snapshot, pack, unpack
from wimsmith.offline.verdicts import Verdict

FEATURES = "Microsoft-Windows-Client-Features-Package~31bf3856ad364e35~amd64~~6.1.7601.17514"
LDR = "6.1.7601.23140"


@pytest.fixture(scope="module")
def runtime(real: Path, tmp_path_factory: pytest.TempPathFactory) -> UpdateDescription:
    """The Universal C Runtime for Windows 7, as it comes back from where it is kept."""
    (file,) = (real / "msu").glob("Windows6.1-KB2999226-x64.msu")
    facts, packages = inspect_all(file, tmp_path_factory.mktemp("runtime"))
    found = describe(facts, packages)
    assert found is not None
    packed = pack(found.as_data())
    assert len(packed) < 50_000
    kept = UpdateDescription.from_data(unpack(packed))
    assert kept.installs == found.installs
    assert len(kept.packages) == 3
    return kept


def seven(*components: AssemblyIdentity, parent: str = FEATURES) -> Snapshot:
    """Windows 7 with these components."""
    return snapshot(
        {parent: INSTALLED},
        *components,
        major=6,
        minor=1,
        build=7601,
        base_build=7601,
        revision=17514,
        stack="6.1.7601.17514",
    )


def branches(found: Snapshot, update: UpdateDescription) -> dict[str, int]:
    """States of the updates of each branch."""
    return {
        one.update.name.rpartition("_")[2]: one.state
        for package in judge(found, update).plan.packages
        for one in package.updates
        if one.update.components
    }


def test_on_a_stock_image_the_general_branch_is_installed_and_the_other_staged(
    runtime: UpdateDescription,
) -> None:
    assert judge(seven(), runtime).findings == ()
    assert branches(seven(), runtime) == {"GDR": INSTALLED, "LDR": STAGED}


def test_with_the_limited_branch_in_the_image_that_one_is_installed_too(
    runtime: UpdateDescription,
) -> None:
    lower = [
        replace(identity, version=Version(6, 1, 7601, 22000))
        for package in runtime.packages.values()
        for one in package.updates
        if one.applicable
        for condition in one.applicable.components
        for identity in condition.identities
        if str(identity.version) == LDR
    ]
    assert lower

    assert branches(seven(*lower), runtime) == {"GDR": INSTALLED, "LDR": INSTALLED}


def test_another_service_pack_is_another_build(runtime: UpdateDescription) -> None:
    older = FEATURES.replace("7601.17514", "7600.16385")

    found = judge(seven(parent=older), runtime).decisive

    assert found is not None
    assert (found.verdict, found.code) == (Verdict.NOT_APPLICABLE, "build")
