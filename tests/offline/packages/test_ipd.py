"""Cabinets with a container index, expanded to what they say, or not at all."""

import hashlib
import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from offline.packages.made import MadePackage, mum
from offline.packages.madeindex import FIRST, SECOND, MadeIndex, digest, made_index
from offline.packages.madepa19 import Source, compressed, patch
from wimsmith.errors import (
    Cancelled,
    DamagedDelta,
    DamagedInput,
    DamagedPackage,
    LimitExceeded,
    NotSupported,
)
from wimsmith.offline.packages.branches import Branch, branches_of, forced_packages
from wimsmith.offline.packages.containers.ipd import IndexSummary
from wimsmith.offline.packages.containers.kinds import ContainerKind
from wimsmith.offline.packages.containers.unwrapping import unwrap
from wimsmith.offline.packages.limits import PackageLimits
from wimsmith.offline.packages.package import ExpandedPackage, expand
from wimsmith.offline.packages.trust.following import TrustPolicy, verify
from wimsmith.offline.progress import Event
from wimsmith.practice.deltas import build_delta
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import Container, Generation
from wimsmith.practice.updates import build_update, cabinet_files

TOP = mum("Made-Package")


def contents(package: ExpandedPackage) -> dict[str, bytes]:
    return {file.name: file.path.read_bytes() for file in package.files.values()}


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256"])
def test_members_copies_and_deltas_become_files(tmp_path: Path, algorithm: str) -> None:
    path = made_index(TOP, algorithm).write(tmp_path / "made.cab")
    package = expand(path, tmp_path / "work")
    assert contents(package) == {
        "update.mum": TOP,
        "made/first.dll": FIRST,
        "made/second.dll": SECOND,
        "made/copy of the second.dll": SECOND,
        "made/copy of a copy.dll": SECOND,
        "made/empty.txt": b"",
    }
    assert package.kind is ContainerKind.CABINET
    assert package.index == IndexSummary(files=6, members=2, copies=2, deltas={"PA30": 2})
    file = package.files["MADE/SECOND.DLL"]
    assert (file.written, file.attributes) == (130818897022739288, 32)
    assert all(tmp_path / "work" in file.path.parents for file in package.files.values())


def test_members_beside_the_index_are_no_part_of_the_package(tmp_path: Path) -> None:
    index = made_index(TOP)
    index.members["smuggled.mum"] = mum("Smuggled")
    package = expand(index.write(tmp_path / "made.cab"), tmp_path / "work")
    assert "smuggled.mum" not in contents(package)
    assert len(package.packages) == 1


@pytest.mark.parametrize("generation", list(Generation))
def test_a_generated_package_holds_the_same_with_an_index_and_without(
    generation: Generation, root: PracticeRoot, policy: TrustPolicy, tmp_path: Path
) -> None:
    spec = preset("container-index", generation)
    path = build_update(spec, tmp_path / "update.cab", root=root)
    package = expand(path, tmp_path / "work")
    assert package.index is not None
    assert package.index.copies >= 2
    assert package.index.deltas == {"PA30": 2}
    wanted = cabinet_files(spec, root)
    found = contents(package)
    assert found.keys() == {name.replace("\\", "/") for name in wanted}
    signed_anew = {name for name in wanted if name.endswith((".cat", ".dat"))}
    for name in wanted.keys() - signed_anew:
        assert found[name.replace("\\", "/")] == wanted[name]
    verify(package, policy)


def test_branches_of_a_generated_package(root: PracticeRoot, tmp_path: Path) -> None:
    path = build_update(preset("container-index"), tmp_path / "update.cab", root=root)
    package = expand(path, tmp_path / "work")
    found = branches_of(package)
    assert found.keys() == package.manifests.keys()
    for key, branches in found.items():
        assert branches == {Branch.LDR if ".901_" in key else Branch.GDR}
    (forced,) = forced_packages(package)
    assert forced is package.branch_forward
    assert forced.name.startswith("Package_for_KB5000040_BF~")
    assert [update.name for update in forced.manifest.updates] == ["5000040-1_neutral_LDR"]
    assert package.top.name.startswith("Package_for_KB5000040~")


def test_packages_without_branches(made: MadePackage, tmp_path: Path) -> None:
    package = expand(made.write(tmp_path / "made.cab"), tmp_path / "work")
    assert set(branches_of(package).values()) == {frozenset()}
    assert forced_packages(package) == ()


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"1": None}, DamagedPackage, "there is no member '1'"),
        ({"1": b"PA30 something else"}, DamagedPackage, "the member 1 of made/second.dll is not"),
        ({"update.mum": mum("Other")}, DamagedPackage, "the member update.mum of update.mum is"),
        ({"12": b"no longer empty"}, DamagedPackage, "the member 12 of made/empty.txt is not"),
    ],
)
def test_members_that_are_not_what_the_index_says(
    tmp_path: Path, changes: dict[str, bytes | None], error: type[DamagedInput], sentence: str
) -> None:
    path = made_index(TOP).write(tmp_path / "made.cab", changes)
    with pytest.raises(error, match=sentence):
        expand(path, tmp_path / "work")


def changed(number: int, **changes: str | bytes | None) -> MadeIndex:
    """The made index with fields of one entry changed; digests follow."""
    index = made_index(TOP)
    for name, value in changes.items():
        setattr(index.entries[number], name, value)
    return index


@pytest.mark.parametrize(
    ("index", "error", "sentence"),
    [
        (changed(4, value=digest(FIRST)), DamagedPackage, "made/second.dll is not"),
        (changed(0, value=digest(FIRST)), DamagedPackage, "update.mum is not"),
        (changed(1, value=digest(FIRST)), DamagedPackage, "copy of the second.dll is not"),
        (changed(1, length="5"), DamagedPackage, "copy of the second.dll is not"),
        (changed(0, length="5"), DamagedPackage, "update.mum is not"),
        (changed(4, length="5"), DamagedDelta, "made/second.dll: it states"),
        (changed(4, stored=b"PA30"), DamagedDelta, "made/second.dll"),
        (changed(4, stored=build_delta(SECOND, FIRST)), DamagedDelta, "made/second.dll"),
        (changed(4, basis=None), DamagedDelta, "made/second.dll"),
        (changed(5, basis="4"), DamagedPackage, "is made from itself"),
        (changed(2, basis="7"), DamagedPackage, "is made from itself"),
    ],
)
def test_files_that_do_not_come_out_as_the_index_says(
    tmp_path: Path, index: MadeIndex, error: type[DamagedInput], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        expand(index.write(tmp_path / "made.cab"), tmp_path / "work")


def test_older_patches_are_put_together_too(tmp_path: Path) -> None:
    stored = patch(SECOND, Source(FIRST, compressed([SECOND])))
    index = changed(4, kind="PA19", stored=stored)
    package = expand(index.write(tmp_path / "made.cab"), tmp_path / "work")
    assert contents(package)["made/second.dll"] == SECOND
    assert package.index is not None
    assert package.index.deltas == {"PA30": 1, "PA19": 1}


@pytest.mark.parametrize("kind", ["LZX", "XPRESS", "LZMS"])
def test_kinds_of_members_that_are_not_read(tmp_path: Path, kind: str) -> None:
    path = changed(4, kind=kind).write(tmp_path / "made.cab")
    with pytest.raises(NotSupported, match=f"made/second.dll is stored as {kind}") as refused:
        expand(path, tmp_path / "work")
    assert refused.value.reason == "delta-kind"
    container = unwrap(path, tmp_path / "again")
    assert container.top is not None
    assert container.top.identity.name == "Made-Package"


def test_of_several_ways_the_one_that_can_be_gone_is_taken(tmp_path: Path) -> None:
    index = changed(4, kind="LZX", member="lzx", stored=b"?")
    index.members["whole"] = SECOND
    way = f"<Delta><Source type='RAW' name='whole'><Hash alg='SHA1' value='{digest(SECOND)}'/>"
    index.entries[4].more = f"{way}</Source></Delta>"
    package = expand(index.write(tmp_path / "made.cab"), tmp_path / "work")
    assert contents(package)["made/second.dll"] == SECOND


def test_a_basis_outside_the_package(tmp_path: Path) -> None:
    index = changed(4, basis=None)
    ends = b"</Source></Delta></File>", b"</Source><Basis loc='0'/></Delta></File>"
    data = index.xml().replace(*ends)
    path = index.write(tmp_path / "made.cab", {"_manifest_.cix.xml": data})
    with pytest.raises(NotSupported, match="a file that the package does not hold") as refused:
        expand(path, tmp_path / "work")
    assert refused.value.reason == "express"


@pytest.mark.parametrize(
    "limits",
    [
        PackageLimits(total_bytes=20_000),
        PackageLimits(total_bytes=30_000),
        PackageLimits(files=5),
        PackageLimits(files=9),
        PackageLimits(file_bytes=6000),
        PackageLimits(ratio=2, ratio_free_bytes=0),
    ],
)
def test_limits_hold_for_cabinet_and_index_together(tmp_path: Path, limits: PackageLimits) -> None:
    path = made_index(TOP).write(tmp_path / "made.cab")
    with pytest.raises(LimitExceeded):
        expand(path, tmp_path / "work", limits=limits)


def test_a_bomb_of_copies_is_counted(tmp_path: Path) -> None:
    index = made_index(TOP)
    index.entries[5].length = str(2 << 30)
    index.entries[4].length = str(2 << 30)
    with pytest.raises(LimitExceeded, match="bytes made from"):
        expand(index.write(tmp_path / "made.cab"), tmp_path / "work")


def test_an_index_that_needs_more_than_the_disk_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil has it
    path = made_index(TOP).write(tmp_path / "made.cab")
    need = len(FIRST) + len(SECOND)
    free = {"level-0": 1 << 30, "level-1": need - 1}
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: usage(1 << 40, 0, free[Path(folder).name])
    )
    with pytest.raises(LimitExceeded, match=f"needs {need} bytes of disk"):
        expand(path, tmp_path / "work")


def test_progress_may_cancel_at_every_step(tmp_path: Path) -> None:
    path = made_index(TOP).write(tmp_path / "made.cab")
    seen: list[Event] = []
    expand(path, tmp_path / "work", progress=seen.append)
    assert seen[-1] == Event("check", 6, 6, "files")
    stops = [("expand", "bytes", 0), ("expand", "files", 0), ("check", "files", 3)]
    for number, (phase, unit, least) in enumerate(stops):

        def cancel(event: Event, stop: tuple[str, str, int] = (phase, unit, least)) -> None:
            if (event.phase, event.unit) == stop[:2] and event.done >= stop[2]:
                raise Cancelled("by the user")

        with pytest.raises(Cancelled):
            expand(path, tmp_path / f"work-{number}", progress=cancel)


REAL = {
    "KB2999226": ("msu/Windows6.1-KB2999226-x64.msu", ContainerKind.MSU, 118, ("18937", "23140")),
    "KB2883457-amd64": (
        "cbs/Windows6.1-KB2883457-amd64.cab",
        ContainerKind.CABINET,
        22,
        ("18246", "22435"),
    ),
}


@pytest.mark.parametrize("name", list(REAL))
def test_real_packages_expand_with_every_digest(real: Path, tmp_path: Path, name: str) -> None:
    place, kind, count, (general, limited) = REAL[name]
    package = expand(real / place, tmp_path / "work")
    expected = json.loads((real / "vectors" / "ipd_expected.json").read_text("utf-8"))[name]
    assert len(expected) == count
    found = {}
    for file in package.files.values():
        data = file.path.read_bytes()
        algorithm = expected[file.name]["alg"]
        value = hashlib.new(algorithm, data).hexdigest()
        found[file.name] = {"alg": algorithm, "hash": value, "length": len(data)}
    assert found == expected
    assert package.kind is kind
    assert len(forced_packages(package)) == 3
    branches = branches_of(package)
    assert set(branches.values()) == {frozenset({Branch.GDR}), frozenset({Branch.LDR})}
    for key, of_key in branches.items():
        assert (general in key, limited in key) == (Branch.GDR in of_key, Branch.LDR in of_key)


def test_the_same_in_an_msu_with_a_signature(root: PracticeRoot, tmp_path: Path) -> None:
    spec = preset("container-index")
    assert spec.trailing_bytes
    in_set = replace(spec, container=Container.MSU)
    path = build_update(in_set, tmp_path / "update.msu", root=root)
    package = expand(path, tmp_path / "work")
    assert package.kind is ContainerKind.MSU
    assert package.description.article == "KB5000040"
    assert package.index is not None
