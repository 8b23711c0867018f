"""Packages installed end to end, against what independent code derives from their manifests.

The expectation (`oracle`) knows the package, the image before and the flags of the generated image;
the result is read by other people's programs. Compared both ways: nothing missing, nothing extra.
"""

import shutil
import subprocess
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from regipy.registry import RegistryHive

from offline.workbench import agrees, bench
from oracle.compare import differences
from oracle.observe import HIVE_PATHS, observe
from wimsmith.offline.verdicts import Verdict
from wimsmith.practice.presets import internet_explorer, preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import FLAGS_A, FLAGS_B, Generation, ImageSpec, StoreFlags
from wimsmith.practice.updates import build_update

FEATURE = "Internet-Explorer-Optional-amd64"
WRAPPER = "Microsoft-Windows-InternetExplorer-Package-ua"
EN_US = "Microsoft-Windows-InternetExplorer-Optional-Package~31bf3856ad364e35~amd64~en-US~.cab"
NEUTRAL = "microsoft-windows-internetexplorer-optional-package~31bf3856ad364e35~amd64~~.cab"
FLAGS = pytest.mark.parametrize("flags", [FLAGS_A, FLAGS_B], ids=["flags A", "flags B"])


@pytest.fixture(scope="module")
def root() -> PracticeRoot:
    return PracticeRoot.new()


def explorer_image(
    real: Path, flags: StoreFlags, *, enabled: bool, parents: bool = True
) -> ImageSpec:
    """An image of Windows 10 with the parents of the real language package, if wanted."""
    return ImageSpec(
        flags=flags,
        base_manifest=(real / "dcm" / "base_manifest.bin").read_bytes(),
        extra_packages=internet_explorer() if parents else (),
        features={FEATURE: enabled, WRAPPER: enabled},
    )


def others_accept(wim: Path, folder: Path) -> None:
    """Programs that know nothing of us read the file and its hives without complaint."""
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    run(["wimlib-imagex", "verify", wim])
    if shutil.which("7z"):
        run(["7z", "t", wim])
    run(["wimlib-imagex", "extract", wim, "1", *HIVE_PATHS.values(), f"--dest-dir={folder}"])
    regipy: Any = RegistryHive
    for hive in folder.iterdir():
        done = run(["reglookup", hive])
        assert "ERROR" not in done.stderr
        assert len(list(regipy(str(hive)).recurse_subkeys())) > 5


@FLAGS
@pytest.mark.parametrize("enabled", [True, False], ids=["feature on", "feature off"])
def test_a_real_language_package_is_installed_as_its_manifests_say(
    real: Path, tmp_path: Path, root: PracticeRoot, flags: StoreFlags, *, enabled: bool
) -> None:
    made = bench(tmp_path, root, explorer_image(real, flags, enabled=enabled))
    digest = sha256(made.base.read_bytes()).digest()
    update = real / "cbs" / EN_US
    outcome = made.apply(update)
    assert (outcome.verdict, outcome.code) == (Verdict.APPLIED, "applied")
    want = made.expected(update, (real / "dcm" / "base_manifest.bin").read_bytes())
    assert differences(want, observe(made.serviced, 1)) == []
    assert len(differences(want, observe(made.base, 1))) > 30, "there was much to do"
    linked = "program files/internet explorer/en-us/iexplore.exe.mui"
    assert (linked in observe(made.serviced, 1).entries) == enabled
    assert sha256(made.base.read_bytes()).digest() == digest, "the base is only read"
    others_accept(made.serviced, tmp_path / "hives")


def test_a_real_package_without_its_parent_names_it(
    real: Path, tmp_path: Path, root: PracticeRoot
) -> None:
    made = bench(tmp_path, root, explorer_image(real, FLAGS_A, enabled=True, parents=False))
    outcome = made.apply(real / "cbs" / EN_US)
    assert outcome.verdict is Verdict.PREREQUISITE_MISSING
    assert "Microsoft-Windows-InternetExplorer-Optional-Package" in outcome.text
    assert not outcome.changed
    assert not made.serviced.exists()


def test_a_real_package_that_runs_installers_is_refused_by_their_names(
    real: Path, tmp_path: Path, root: PracticeRoot
) -> None:
    made = bench(tmp_path, root, explorer_image(real, FLAGS_A, enabled=True, parents=False))
    outcome = made.apply(real / "cbs" / NEUTRAL)
    codes = {finding.code for finding in outcome.findings}
    assert {
        "advanced-new:configuration",
        "advanced-new:ConfigureIEOptionalComponentsAI",
        "advanced-new:SetIEInstalledDateAI",
        "advanced-new:feature",
    } <= codes
    assert not outcome.changed


@pytest.mark.parametrize(
    ("generation", "name", "flags"),
    [
        (Generation.WINDOWS_7, "every-element", FLAGS_A),
        (Generation.WINDOWS_10, "every-element", FLAGS_A),
        (Generation.WINDOWS_10, "every-element", FLAGS_B),
        (Generation.WINDOWS_11, "every-element", FLAGS_B),
        (Generation.WINDOWS_10, "small", FLAGS_B),
        (Generation.WINDOWS_10, "small-msu", FLAGS_A),
        (Generation.WINDOWS_11, "rollup", FLAGS_A),
        (Generation.WINDOWS_10, "feature-languages", FLAGS_B),
        (Generation.WINDOWS_7, "branches", FLAGS_B),
        (Generation.WINDOWS_10, "branches", FLAGS_A),
        (Generation.WINDOWS_10, "languages", FLAGS_A),
    ],
)
def test_a_generated_update_is_installed_as_its_manifests_say(
    tmp_path: Path, root: PracticeRoot, generation: Generation, name: str, flags: StoreFlags
) -> None:
    made = bench(tmp_path, root, ImageSpec(generation=generation, flags=flags))
    spec = preset(name, generation)
    update = build_update(spec, tmp_path / spec.file_name, root=root)
    assert agrees(made, update) == []
