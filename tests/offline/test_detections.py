"""The indexes of what packages look for: kept up as the image has them, or it is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from offline.workbench import agrees, bench
from oracle.observe import observe
from wimsmith.offline.changes import ChangeSet, SetValue
from wimsmith.offline.verdicts import Verdict
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import FLAGS_A, FLAGS_B, ImageSpec, StoreFlags
from wimsmith.practice.updates import build_update

CBS = r"Microsoft\Windows\CurrentVersion\Component Based Servicing"
SMALL = ImageSpec(size_bytes=1 << 19, components=4, detections=True)


@pytest.fixture(scope="module")
def root() -> PracticeRoot:
    return PracticeRoot.new()


@pytest.mark.parametrize("flags", [FLAGS_A, FLAGS_B], ids=["flags A", "flags B"])
@pytest.mark.parametrize("name", ["branches", "every-element", "feature-languages", "languages"])
def test_packages_are_entered_where_they_look_for_something(
    tmp_path: Path, root: PracticeRoot, name: str, flags: StoreFlags
) -> None:
    made = bench(tmp_path, root, replace(SMALL, flags=flags))
    assert agrees(made, build_update(preset(name), tmp_path / "update.cab", root=root)) == []
    before, after = (observe(path, 1).hives["SOFTWARE"] for path in (made.base, made.serviced))
    index = rf"{CBS}\PackageDetect".lower()
    count = [
        sum(len(key.values) for path, key in one.items() if path.startswith(index))
        for one in (before, after)
    ]
    assert count[1] > count[0]


def test_an_index_without_entries_is_left_alone(tmp_path: Path, root: PracticeRoot) -> None:
    made = bench(tmp_path, root, replace(SMALL, detections=False))
    assert agrees(made, build_update(preset("branches"), tmp_path / "u.cab", root=root)) == []
    after = observe(made.serviced, 1)
    for index in ("PackageDetect", "UpdateDetect", "ComponentDetect"):
        assert after.subkeys("SOFTWARE", rf"{CBS}\{index}") == []


@pytest.mark.parametrize(
    ("index", "key"),
    [
        ("PackageDetect", "Package_for_Nothing~31bf3856ad364e35~amd64~~0.0.0.0"),
        ("ComponentDetect", "amd64_nothing_31bf3856ad364e35_none_0123456789abcdef"),
    ],
)
def test_entries_that_no_manifest_explains_stop_the_update(
    tmp_path: Path, root: PracticeRoot, index: str, key: str
) -> None:
    first = bench(tmp_path, root, SMALL)
    name = "Package_1_for_KB4000001~31bf3856ad364e35~amd64~~10.0.1.2"
    assert first.apply(build_update(preset("small"), tmp_path / "s.cab", root=root)).changed
    entry = SetValue("SOFTWARE", rf"{CBS}\{index}\{key}", name, 4, b"\0\0\0\0")
    second = first.next("second", ChangeSet(registry=(entry,)))
    update = build_update(preset("branches"), second.folder / "u.cab", root=root)
    outcome = second.apply(update)
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_SUPPORTED, "calibration:detect")
    assert not outcome.changed
