"""Adding an image: what is stored, what is refused, and that the source stays as it is."""

import os
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from offline.wim.handmade import Handmade
from sitekit import Api, Practice, sha256
from wimsmith.offline.wim.format.header import HEADER_BYTES, VERSION_SOLID, Header, Location
from wimsmith.offline.wim.verbs.split import split_wim


def test_inspecting_shows_the_indexes_and_stores_nothing(api: Api, practice: Practice) -> None:
    source = practice.image(3)

    found = api.post("/images/inspect", {"path": os.fspath(source)})

    assert [index["number"] for index in found["indexes"]] == [1, 2, 3]
    assert found["indexes"][0]["os_version"] == "10.0.19041.1"
    assert found["suggested"] == {
        "name": "practice-3",
        "architecture": "amd64",
        "language": "en-US",
        "kind": "unknown",
    }
    assert api.get("/images")["items"] == []
    assert list(api.site.store.list()) == []


def test_an_added_image_has_the_defaults_of_its_file(api: Api, practice: Practice) -> None:
    source = api.copy(practice.image(2), "sources/install.wim")
    before = sha256(source), source.stat().st_mtime_ns

    job = api.job("/images", {"path": os.fspath(source)})

    assert job["result"] == {"package_id": "WIM00001", "version": 1}
    image = api.get("/images/WIM00001")
    assert image["name"] == "install"
    assert image["kind"] == "default"
    assert (image["architecture"], image["language"]) == ("amd64", "en-US")
    assert image["source_path"] == os.fspath(source)
    assert image["sha256"] == before[0]
    assert image["index_count"] == 2
    assert (sha256(source), source.stat().st_mtime_ns) == before


def test_the_content_is_in_the_library_as_a_read_only_blob(api: Api, practice: Practice) -> None:
    source = practice.image()
    api.add(source)

    blob = api.site.store.path(sha256(source))

    assert blob.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(blob.stat().st_mode) == 0o444
    assert blob.stat().st_ino != source.stat().st_ino


def test_what_is_installed_is_read_from_every_index(api: Api, practice: Practice) -> None:
    image = api.add(practice.image(2))

    indexes = api.get(f"/images/{image}/indexes")["items"]
    packages = api.get(f"/images/{image}/packages", index=2)["items"]

    assert [index["edition"] for index in indexes] == ["Professional", "Enterprise"]
    assert len(packages) == indexes[1]["package_count"] > 5
    assert {package["source"] for package in packages} == {"import"}
    assert all(package["identity"].count("~") == 4 for package in packages)


def test_packages_are_listed_page_by_page(api: Api, practice: Practice) -> None:
    image = api.add(practice.image(2))
    everything = [one["identity"] for one in api.get(f"/images/{image}/packages")["items"]]

    paged: list[str] = []
    cursor = None
    while True:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        answer = api.get(f"/images/{image}/packages", **query)
        paged += [one["identity"] for one in answer["items"]]
        cursor = answer["next"]
        if cursor is None:
            break

    assert paged == everything


def test_properties_are_kept_as_given(api: Api, practice: Practice) -> None:
    image = api.add(
        practice.image(),
        name="Office PCs",
        version="2026-11",
        comment="for the second floor",
        kind="captured",
        language="de-DE",
    )

    shown = api.get(f"/images/{image}")

    assert (shown["name"], shown["version"], shown["kind"]) == ("Office PCs", "2026-11", "captured")
    assert (shown["comment"], shown["language"]) == ("for the second floor", "de-DE")
    assert api.get("/images/office pcs")["package_id"] == image


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"name": "x" * 51}, "invalid-input", "51 characters, the limit is 50"),
        ({"name": " "}, "invalid-input", "empty"),
        ({"version": "x" * 33}, "invalid-input", "the limit is 32"),
        ({"comment": "x" * 128}, "invalid-input", "the limit is 127"),
        ({"index": 7}, "no-such-index", "it has 1 ("),
        ({"index": 0}, "invalid-input", "greater than or equal to 1"),
        ({"nmae": "x"}, "invalid-input", "nmae"),
    ],
)
def test_bad_properties_are_refused_with_their_limit(
    api: Api, practice: Practice, change: dict[str, object], code: str, words: str
) -> None:
    problem = api.refused("POST", "/images", {"path": os.fspath(practice.image()), **change})

    assert problem["code"] == code
    assert words in problem["detail"]
    assert api.get("/jobs")["items"] == []


def test_a_name_is_used_once_whatever_its_case(api: Api, practice: Practice) -> None:
    api.add(practice.image(), name="Golden")

    problem = api.refused(
        "POST", "/images", {"path": os.fspath(practice.image()), "name": "GOLDEN"}
    )

    assert (problem["status"], problem["code"]) == (409, "name-in-use")
    assert "WIM00001" in problem["detail"]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("missing.wim", "path-unreachable", "No such file"),
        ("missing.esd", "path-unreachable", "No such file"),
        ("image.swm", "not-supported", "split"),
        ("image.iso", "invalid-input", "does not end in the name of a .wim file"),
        ("", "invalid-input", "does not end in the name of a .wim file"),
        ("text.wim", "damaged-wim", "MSWIM"),
        ("folder.wim", "path-unreachable", "directory"),
    ],
)
def test_a_path_that_is_no_image_is_refused_with_the_reason(
    api: Api, name: str, code: str, words: str
) -> None:
    (api.media / "text.wim").write_text("not a WIM" * 100, encoding="utf-8")
    (api.media / "folder.wim").mkdir()
    path = os.fspath(api.media / name) if name else f"{api.media}/"

    problem = api.refused("POST", "/images", {"path": path})

    assert problem["code"] == code
    assert words.lower() in problem["detail"].lower()
    assert api.get("/jobs")["items"] == []


@pytest.mark.parametrize(
    ("flags", "parts", "words"),
    [(0x8, 2, "part of a split set"), (0x20, 1, "whose content is in another one")],
)
def test_a_file_that_is_not_whole_is_refused(api: Api, flags: int, parts: int, words: str) -> None:
    for part in range(parts, 0, -1):
        made = Handmade(flags=flags, part=part, parts=parts, image_count=1)
        made.raw(b"content of part %d" % part)
        if part == 1:
            made.image(b"")
        path = made.write(api.media / f"image{part if part > 1 else ''}.wim")

    problem = api.refused("POST", "/images", {"path": os.fspath(path)})

    assert problem["code"] == "not-supported"
    assert words in problem["detail"]
    assert "wimsmith wim" in problem["hint"]
    assert api.get("/jobs")["items"] == []


def test_a_part_of_a_split_image_is_refused_with_the_command_that_joins_it(
    api: Api, practice: Practice
) -> None:
    part = api.media / "two parts" / "install.swm"
    part.parent.mkdir()
    whole = practice.image(2)
    split_wim(whole, part, whole.stat().st_size * 2 // 3)
    hint = api.refused("POST", "/images", {"path": os.fspath(part)})["hint"]

    command = hint.partition("`")[2].partition("`")[0].replace("TARGET", f"{api.media}/joined")
    arguments = shlex.split(command)[1:]
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = [sys.executable, "-m", "wimsmith.cli", *arguments]
    subprocess.run(run, check=True, env=environment, capture_output=True)

    assert len(list(part.parent.iterdir())) > 1
    assert api.get(f"/images/{api.add(api.media / 'joined.wim')}")["index_count"] == 2


def test_an_encrypted_esd_is_refused_by_name(api: Api, practice: Practice) -> None:
    data = practice.image().read_bytes()
    document = "<WIM><ESD><ENCRYPTED/></ESD></WIM>".encode("utf-16")
    xml = Location(len(document), 2, len(data), len(document))
    header = replace(Header.parse(data), xml=xml, version=VERSION_SOLID)
    path = api.media / "download.esd"
    path.write_bytes(header.pack() + data[HEADER_BYTES:] + document)

    problem = api.refused("POST", "/images", {"path": os.fspath(path)})

    assert problem["code"] == "not-supported"
    assert "encrypted-esd" in problem["detail"]
    assert "ISO" in problem["hint"]
    assert api.get("/jobs")["items"] == []


def test_a_relative_path_is_refused(api: Api) -> None:
    problem = api.refused("POST", "/images", {"path": "install.wim"})

    assert "not absolute" in problem["detail"]


def test_a_unc_path_needs_its_root_mapped(api: Api, practice: Practice) -> None:
    share = api.media / "share"
    (share / "sources").mkdir(parents=True)
    shutil.copyfile(practice.image(), share / "sources" / "install.wim")
    path = "\\\\FILES\\images\\sources\\install.wim"

    problem = api.refused("POST", "/images", {"path": path})
    assert problem["code"] == "path-not-mapped"
    assert "\\\\FILES\\images" in problem["hint"]

    api.setting("unc_roots", {"\\\\files\\Images": os.fspath(share)})
    image = api.add(Path(path))
    shown = api.get(f"/images/{image}")
    assert shown["source_path"] == path
    assert shown["kind"] == "default"


def test_package_ids_are_never_given_again(api: Api, practice: Practice) -> None:
    first = api.add(practice.image())
    assert api.client.delete(f"/api/v1/images/{first}").status_code == 204

    assert api.add(practice.image()) == "WIM00002"


def test_the_site_code_is_in_front_of_package_ids(api: Api, practice: Practice) -> None:
    api.setting("site_code", "abc")

    assert api.add(practice.image()) == "ABC00001"


def test_smsprov_log_tells_of_the_file_its_indexes_and_the_package_id(
    api: Api, practice: Practice, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "wimsmith.images"):
        api.add(practice.image(2), name="Told")

    text = "\n".join(caplog.messages)
    assert f"Opened {practice.image(2)}" in text
    assert "Index 2: Windows 10 Enterprise, 10.0.19041.1" in text
    assert "Image Told has package id WIM00001" in text


def test_a_failed_job_leaves_no_image(api: Api, practice: Practice) -> None:
    broken = api.copy(practice.image(), "broken.wim")
    with broken.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (broken.stat().st_size // 2))

    job = api.job("/images", {"path": os.fspath(broken)})

    assert job["state"] == "failed"
    assert job["error_code"].startswith("damaged")
    assert api.get("/images")["items"] == []
