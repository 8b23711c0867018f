"""Updates extracted into folders: every file as stated, or no folder at all."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from offline.packages.made import MadePackage, mum
from oracle.package import expand_cabinet
from wimsmith.errors import AlreadyExists, Cancelled, DamagedPackage, NotSupported
from wimsmith.offline.packages.containers.hashlist import parse_hash_list
from wimsmith.offline.packages.extract import ExtractReport, extract_update
from wimsmith.offline.progress import Event
from wimsmith.practice.cabinet import build_cabinet
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.updates import build_update, cabinet_files


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stored(made: MadePackage) -> dict[str, bytes]:
    return {name.replace("\\", "/"): data for name, data in made.files.items()}


def hash_list(algorithm: str, files: dict[str, bytes]) -> bytes:
    lines = [f"[{algorithm}]"]
    for name, data in files.items():
        lines.append(f"{name}={hashlib.new(algorithm, data).hexdigest()},{len(data):x}")
    return "\r\n".join(lines).encode("utf-16")


def extracted(made: MadePackage, folder: Path) -> ExtractReport:
    return extract_update(made.write(folder / "made.cab"), folder / "out")


def test_a_package_comes_out_as_it_went_in(made: MadePackage, tmp_path: Path) -> None:
    report = extracted(made, tmp_path)
    assert tree(tmp_path / "out") == stored(made)
    assert (report.files, report.folders) == (len(made.files), ())
    assert report.size_bytes == sum(map(len, made.files.values()))
    assert report.proofs == {"catalog": 4, "manifest": 1}
    assert set(report.unproved) == {name for name in made.files if name.endswith(".cat")}
    assert names_in(tmp_path) == ["made.cab", "out"]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_the_list_of_hashes_is_compared(made: MadePackage, algorithm: str, tmp_path: Path) -> None:
    files = {**made.files, "extra.bin": b"extra"}
    listed = made.changed({"extra.bin": b"extra", "$filehashes$.dat": hash_list(algorithm, files)})
    report = extracted(listed, tmp_path)
    assert report.proofs == {"catalog": 4, "manifest": 1, "hash-list": 3}
    assert report.unproved == ("$filehashes$.dat",)
    other = listed.changed({"extra.bin": b"Extra"})
    (tmp_path / "spoilt").mkdir()
    with pytest.raises(DamagedPackage, match=r"extra\.bin is not what the list of hashes states"):
        extracted(other, tmp_path / "spoilt")
    assert names_in(tmp_path / "spoilt") == ["made.cab"]


def test_payload_that_is_not_what_its_manifest_states_ends_it(
    made: MadePackage, tmp_path: Path
) -> None:
    with pytest.raises(DamagedPackage, match=r"tool\.exe is not what its manifest states"):
        extracted(made.changed({made.payload_name: b"MZ other"}), tmp_path)
    assert names_in(tmp_path) == ["made.cab"]


@pytest.mark.parametrize("line", ["a.dll", "a.dll=00,1", "a.dll=" + "0" * 40, "=00,1", "a=x,y"])
def test_a_malformed_list_of_hashes_is_damage(line: str) -> None:
    with pytest.raises(DamagedPackage, match="list of hashes"):
        parse_hash_list(f"[sha1]\r\n{line}\r\n".encode("utf-16"))


def test_other_sections_of_a_list_of_hashes_mean_nothing() -> None:
    digest = "ab" * 20
    text = f"[md5]\r\na=?\r\n[SHA1]\r\nFolder\\a=b.dll={digest},ff\r\n"
    (listed,) = parse_hash_list(text.encode("utf-16")).items()
    assert listed[0] == "FOLDER/A=B.DLL"
    assert (listed[1].digest.hex(), listed[1].size_bytes) == (digest, 255)


def test_deltas_are_expanded_and_every_file_is_proved(root: PracticeRoot, tmp_path: Path) -> None:
    spec = preset("container-index")
    path = build_update(spec, tmp_path / spec.file_name, root=root)
    report = extract_update(path, tmp_path / "out")
    files = tree(tmp_path / "out")
    assert report.proofs == {"container-index": len(files)}
    assert report.unproved == ()
    assert files == {
        name.replace("\\", "/"): data for name, data in cabinet_files(spec, root).items()
    }
    inodes = [path.stat().st_ino for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(set(inodes)) == len(files), "files with the same bytes are files of their own"


@pytest.mark.parametrize("name", ["every-element", "rollup", "corrupt-manifest", "unsigned"])
def test_the_tree_is_that_of_cabextract(name: str, root: PracticeRoot, tmp_path: Path) -> None:
    spec = preset(name)
    path = build_update(spec, tmp_path / spec.file_name, root=root)
    extract_update(path, tmp_path / "out")
    other = expand_cabinet(path, tmp_path / "cabextract")
    assert tree(tmp_path / "out") == tree(other)
    for one in (tmp_path / "out").rglob("*"):
        if one.is_file():
            there = (other / one.relative_to(tmp_path / "out")).stat().st_mtime
            assert one.stat().st_mtime == there, "the time is the one the cabinet states, in UTC"


def test_several_packages_get_a_folder_each(made: MadePackage, tmp_path: Path) -> None:
    inside = {
        "WSUSSCAN.cab": b"",
        "x-pkgProperties.txt": b"",
        "a.cab": build_cabinet({"update.mum": mum("Second")}),
        "b.cab": build_cabinet(made.files),
        "PkgInstallOrder.txt": b"b.cab\r\na.cab\r\n",
    }
    (tmp_path / "a.msu").write_bytes(build_cabinet(inside))
    report = extract_update(tmp_path / "a.msu", tmp_path / "out")
    assert report.folders == ("1-Made-Package", "2-Second")
    assert tree(tmp_path / "out/1-Made-Package") == stored(made)
    assert tree(tmp_path / "out/2-Second") == {"update.mum": mum("Second")}


def test_folders_that_differ_by_case_are_one(made: MadePackage, tmp_path: Path) -> None:
    extracted(made.changed({"Some\\a.txt": b"a", "SOME\\b.txt": b"b"}), tmp_path)
    files = tree(tmp_path / "out")
    assert (files["Some/a.txt"], files["Some/b.txt"]) == (b"a", b"b")


def test_a_refused_package_leaves_nothing(tmp_path: Path) -> None:
    files = {"update.mum": mum("P"), "express.psf.cix.xml": b""}
    (tmp_path / "a.cab").write_bytes(build_cabinet(files))
    with pytest.raises(NotSupported):
        extract_update(tmp_path / "a.cab", tmp_path / "out")
    assert names_in(tmp_path) == ["a.cab"]


def fill(folder: Path) -> None:
    folder.mkdir()
    (folder / "precious").write_text("precious")


def stand_in(file: Path) -> None:
    file.write_text("precious")


@pytest.mark.parametrize("make", [fill, stand_in])
def test_what_stands_at_the_target_is_left_alone(
    made: MadePackage, make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "out")
    with pytest.raises(AlreadyExists):
        extracted(made, tmp_path)
    out = tmp_path / "out"
    assert (out / "precious" if out.is_dir() else out).read_text() == "precious"
    assert names_in(tmp_path) == ["made.cab", "out"]


def test_an_empty_folder_is_taken(made: MadePackage, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    extracted(made, tmp_path)
    assert tree(tmp_path / "out") == stored(made)


@pytest.mark.parametrize("phase", ["expand", "read manifests", "compare", "write"])
def test_cancelling_in_any_phase_leaves_nothing(
    made: MadePackage, phase: str, tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if event.phase == phase:
            raise Cancelled("by a test")

    path = made.write(tmp_path / "made.cab")
    with pytest.raises(Cancelled):
        extract_update(path, tmp_path / "out", progress=stop)
    assert names_in(tmp_path) == ["made.cab"]


def test_real_packages_come_out_as_their_index_states(real: Path, tmp_path: Path) -> None:
    expected = json.loads((real / "vectors" / "ipd_expected.json").read_text())
    sources = [*(real / "msu").glob("*.msu"), *(real / "cbs").glob("*KB*.cab")]
    assert len(sources) == len(expected) == 2
    for source in sources:
        (name,) = [one for one in expected if one in source.name]
        extract_update(source, tmp_path / name)
        found = {
            path: {
                "alg": "SHA1",
                "hash": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
                "length": len(data),
            }
            for path, data in tree(tmp_path / name).items()
        }
        assert found == {key.replace("\\", "/"): value for key, value in expected[name].items()}
