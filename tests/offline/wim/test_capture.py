"""Folders and NTFS volumes as images: nothing is lost, and what is left out is said."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from offline.wim import ntfs
from offline.wim.images import Practice, rich, sha1, write
from offline.wim.judges import accept, link_groups, listing, run, xml
from offline.wim.rawmetadata import RawEntry, raw_entries
from offline.wim.test_apply_volume import NEW, NOT_ON_VOLUMES, attached
from offline.wim.test_capture_folder import make_folder
from offline.wim.test_unusual import LONE, plain, unusual
from offline.wim.verbs import fingerprint, strays
from wimsmith.cli.main import run as command
from wimsmith.errors import (
    AlreadyExists,
    Cancelled,
    InvalidInput,
    InvalidState,
    NotFound,
    VerificationFailed,
)
from wimsmith.offline.progress import Event
from wimsmith.offline.wim.format import tagged
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.verbs import capture as module
from wimsmith.offline.wim.verbs.apply import apply_new_volume
from wimsmith.offline.wim.verbs.capture import CaptureOptions, capture, capture_ntfs
from wimsmith.offline.wim.verbs.exclusions import exclusions
from wimsmith.offline.wim.verbs.verify import verify_wim
from wimsmith.offline.wim.workers._libwim import LibwimCodec

FAST = CaptureOptions("Captured", level=20)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with everything that a file can have, not compressed, `LONE` included."""
    path = tmp_path_factory.mktemp("full") / "full.wim"
    practice = unusual()
    practice.put(LONE, b"lone")
    write(path, practice)
    return path


@pytest.fixture(scope="module")
def made(full: Path) -> Path:
    """A volume with this image."""
    volume = full.with_name("volume.img")
    apply_new_volume(full, 1, volume, NEW)
    return volume


@pytest.fixture
def volume(made: Path) -> Iterator[Path]:
    """The same; whatever the test does, it stays as it is."""
    before = fingerprint(made)
    yield made
    assert fingerprint(made) == before


def small_volume(folder: Path, practice: Practice, size_bytes: int = 16 << 20) -> Path:
    source = folder / "first.wim"
    write(source, practice)
    target = ntfs.make_volume(folder / "volume.img", size_bytes)
    run("wimlib-imagex", "apply", source, 1, target)
    source.unlink()
    return target


def normal(entry: RawEntry) -> RawEntry:
    """Without what a volume cannot hold, and what a capture decides."""
    extended = tagged.extended_of(entry.tagged)
    object_id = dict(tagged.items(entry.tagged)).get(tagged.OBJECT_ID)
    return replace(
        entry,
        attributes=entry.attributes & ~NOT_ON_VOLUMES,
        reparse=entry.reparse[:4],
        tagged=repr((object_id, extended)).encode(),
        named=tuple(sorted(entry.named)),
        unused=b"",
    )


@pytest.mark.parametrize(
    "compression",
    [
        Compression.NONE,
        Compression.LZX,
        pytest.param(Compression.XPRESS, marks=pytest.mark.slow),
        pytest.param(Compression.LZMS, marks=pytest.mark.slow),
    ],
)
def test_a_volume_is_captured_with_all_it_holds(
    full: Path, volume: Path, tmp_path: Path, compression: Compression
) -> None:
    target = tmp_path / "new.wim"
    report = capture_ntfs(volume, target, replace(FAST, compression=compression))
    accept(target)
    with open_wim(target, LibwimCodec()) as wim:
        assert wim.compression is compression
    expected, found = raw_entries(full), raw_entries(plain(target, tmp_path))
    assert found.keys() == expected.keys()
    for path, entry in expected.items():
        assert normal(found[path]) == normal(entry), path
    assert link_groups(target) == link_groups(full)
    assert report.extended_attributes == 2
    assert report.left_out.count == 0
    assert report.special_links == {"system-compressed": 1}
    directories = sum(one.attributes & 0x410 == 0x10 for one in expected.values())
    assert (report.files, report.directories) == (len(expected) - directories, directories)
    assert strays(tmp_path) == []


def test_folders_with_streams_and_junctions_are_written_as_windows_wants(
    volume: Path, tmp_path: Path
) -> None:
    """libwim 1.13 writes a stream entry for the main content of folders, which they do not have."""
    target = tmp_path / "new.wim"
    capture_ntfs(volume, target, replace(FAST, compression=Compression.NONE))
    metadata = target.read_bytes()
    for name, streams in (("Windows", 1), ("Default", 2), ("Documents and Settings", 0)):
        raw = name.encode("utf-16-le")
        place = metadata.index(len(raw).to_bytes(2, "little") + raw)
        assert int.from_bytes(metadata[place - 4 : place - 2], "little") == streams, name


def test_the_captured_file_says_what_was_asked_for(volume: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.wim"
    options = replace(
        FAST, name="Über & <unter>", description="with text", flags="Enterprise", bootable=True
    )
    capture_ntfs(volume, target, options)
    text = run("wimlib-imagex", "info", target)
    assert re.search(r"^Name:\s+Über & <unter>$", text, re.MULTILINE)
    assert re.search(r"^Description:\s+with text$", text, re.MULTILINE)
    assert re.search(r"^Boot Index:\s+1$", text, re.MULTILINE)
    assert "<FLAGS>Enterprise</FLAGS>" in xml(target)
    assert "Integrity info" in text
    run("wimlib-imagex", "export", target, 1, tmp_path / "copy.wim", "--boot")


def test_a_solid_file_keeps_extended_attributes_too(volume: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.esd"
    report = capture_ntfs(volume, target, replace(FAST, compression=Compression.LZMS, solid=True))
    run("wimlib-imagex", "verify", target)
    assert "Everything is Ok" in run("7z", "t", target)
    found = raw_entries(plain(target, tmp_path))
    assert tagged.extended_of(found["/Windows/System32"].tagged)
    assert report.extended_attributes == 2
    with pytest.raises(InvalidInput, match="solid"):
        capture_ntfs(volume, target, replace(FAST, solid=True, overwrite=True))


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.LZX])
def test_an_empty_volume_is_captured(tmp_path: Path, compression: Compression) -> None:
    volume = ntfs.make_volume(tmp_path / "empty.img", 16 << 20)
    target = tmp_path / "empty.wim"
    report = capture_ntfs(volume, target, replace(FAST, compression=compression))
    assert (report.files, report.directories) == (0, 1)
    accept(target)
    assert set(listing(target)) == {""}


def test_what_windows_leaves_out_is_left_out(tmp_path: Path) -> None:
    practice = Practice()
    for path in (
        "pagefile.sys", "hiberfil.sys", "SwapFile.sys", "System Volume Information/x",
        "$Recycle.Bin/S-1-5/x", "RECYCLER/x", "windows/csc/x", "$ntfs.log",
        "kept/pagefile.sys", "Windows/System32/kept",
    ):  # fmt: skip
        practice.put(path, b"content")
    report = capture_ntfs(small_volume(tmp_path, practice), tmp_path / "new.wim", FAST)
    left = {path for path in listing(tmp_path / "new.wim") if path}
    assert left == {
        "kept", "kept/pagefile.sys", "windows", "windows/System32", "windows/System32/kept",
    }  # fmt: skip
    assert report.excluded.count == 8
    assert "/pagefile.sys" in {path.removeprefix(str(tmp_path)) for path in report.excluded.first}


def test_a_list_in_place_of_the_usual_one(tmp_path: Path) -> None:
    practice = Practice()
    for path in ("pagefile.sys", "a.bak", "folder/b.BAK", "temp/x", "temp/keep/y", "other"):
        practice.put(path, b"content")
    config = tmp_path / "list.ini"
    config.write_bytes(
        "\ufeff; mine\r\n[ExclusionList]\r\n*.bak\r\nC:\\temp\r\n"
        "[ExclusionException]\r\n\\temp\\keep\r\n[CompressionExclusionList]\r\n*.zip\r\n".encode(
            "utf-16-le"
        )
    )
    chosen = exclusions(config, ["\\other"])
    assert chosen.ignored == ("CompressionExclusionList",)
    target = tmp_path / "new.wim"
    capture_ntfs(small_volume(tmp_path, practice), target, replace(FAST, exclude=chosen))
    assert set(listing(target)) == {
        "", "pagefile.sys", "folder", "temp", "temp/keep", "temp/keep/y",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("[Exclusion]\nx\n", r"line 1: section \[Exclusion\]"),
        ("x\n[ExclusionList]\n", "line 1: a line in no section"),
        ("[ExclusionList]\n\\\n", "line 2: the pattern"),
        ("[ExclusionList]\nC:\\\n", "line 2: the pattern"),
    ],
)
def test_a_list_that_means_nothing_is_refused(tmp_path: Path, text: str, about: str) -> None:
    config = tmp_path / "list.ini"
    config.write_text(text)
    with pytest.raises(InvalidInput, match=about):
        exclusions(config, [])
    config.write_bytes(b"[ExclusionList]\n\xff\xfe\xfd\n")
    with pytest.raises(InvalidInput, match="neither UTF-8 nor UTF-16"):
        exclusions(config, [])


def test_targets_and_sources_that_make_no_sense(volume: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "tree")
    with pytest.raises(InvalidInput, match="in the folder to capture"):
        capture(folder, folder / "new.wim", FAST)
    with pytest.raises(InvalidInput, match="in the folder to capture"):
        capture(folder, folder / "Windows/System32/new.wim", FAST)
    with pytest.raises(InvalidInput, match="without a name"):
        capture(folder, tmp_path / "new.wim", replace(FAST, name=""))
    with pytest.raises(NotFound):
        capture(tmp_path / "nowhere", tmp_path / "new.wim", FAST)
    with pytest.raises(InvalidInput, match="source itself"):
        capture(volume, volume, replace(FAST, overwrite=True))
    target = tmp_path / "new.wim"
    target.write_text("precious")
    with pytest.raises(AlreadyExists) as caught:
        capture(folder, target, FAST)
    assert "--overwrite" in (caught.value.hint or "")
    assert target.read_text() == "precious"
    capture(folder, target, replace(FAST, overwrite=True))
    accept(target)
    assert strays(tmp_path) == []


def test_a_volume_in_use_is_not_captured(tmp_path: Path) -> None:
    volume = small_volume(tmp_path, rich())
    with attached(volume) as device:
        with pytest.raises(InvalidState, match="attached"):
            capture(volume, tmp_path / "new.wim", FAST)
        capture(device, tmp_path / "new.wim", FAST)
    accept(tmp_path / "new.wim")


def test_a_volume_windows_did_not_close_is_captured_only_on_demand(tmp_path: Path) -> None:
    practice = rich()
    practice.put("hiberfil.sys", b"HIBR" + bytes(8192))
    volume, target = small_volume(tmp_path, practice), tmp_path / "new.wim"
    with pytest.raises(InvalidState, match="hibernated") as caught:
        capture(volume, target, FAST)
    assert "shutdown /s /t 0" in (caught.value.hint or "")
    assert capture(volume, target, replace(FAST, as_is=True)).not_closed is False
    assert "hiberfil.sys" not in listing(target)
    (tmp_path / "dirty").mkdir()
    volume = small_volume(tmp_path / "dirty", rich())
    data = volume.read_bytes()
    record = data[4 * 4096 + 3 * 1024 :][:1024]
    dirty = record.replace(bytes(8) + b"\x03\x01\0", bytes(8) + b"\x03\x01\1")
    assert data.count(record) == 2, "in the table and in its mirror"
    volume.write_bytes(data.replace(record, dirty))
    assert ntfs.flags(volume) == 1
    with pytest.raises(InvalidState, match="did not close"):
        capture(volume, target, replace(FAST, overwrite=True))
    assert capture(volume, target, replace(FAST, overwrite=True, as_is=True)).not_closed


def test_files_encrypted_on_the_volume_are_left_out_by_name(tmp_path: Path) -> None:
    """An EFS attribute is set on the volume, as Windows would; without Windows nobody reads it."""
    practice = rich()
    practice.put("secret.txt", b"secret", attributes=0x2020)
    practice.put("secret folder/inside", b"i")
    volume = small_volume(tmp_path, practice)
    data = volume.read_bytes()
    changed = data.replace(b"\x20\x20\0\0", b"\x20\x60\0\0")
    assert changed != data
    volume.write_bytes(changed)
    report = capture(volume, tmp_path / "new.wim", FAST)
    assert report.left_out.count == 1
    assert report.left_out.first[0].endswith("/secret.txt")
    assert "secret.txt" not in listing(tmp_path / "new.wim")


def test_a_spoiled_result_gets_no_name(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changes the file between writing and reading again."""
    usual = verify_wim

    def spoiled(part: Path, **options: object) -> object:
        data = bytearray(part.read_bytes())
        data[3000] ^= 1
        part.write_bytes(data)
        return usual(part, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "verify_wim", spoiled)
    with pytest.raises(VerificationFailed, match=r"new\.wim"):
        capture(volume, tmp_path / "new.wim", FAST)
    assert list(tmp_path.iterdir()) == []


def test_the_facts_of_windows_are_read_from_its_files(tmp_path: Path) -> None:
    """A practice image, applied and captured: hives and kernel say what Windows it is."""
    source, volume, target = (tmp_path / name for name in ("p.wim", "p.img", "new.wim"))
    assert command(["practice", "image", str(source)]) == 0
    apply_new_volume(source, 1, volume, replace(NEW, size_bytes=64 << 20))
    capture(volume, target, FAST)
    with open_wim(source, LibwimCodec()) as before, open_wim(target, LibwimCodec()) as after:
        old, new = before.image(1).windows, after.image(1).windows
        assert old is not None
        assert new is not None
        assert new.product_name == "Windows 10 Pro", "what the hive says"
        assert new.edition_id == old.edition_id
        assert new.installation_type == old.installation_type
        assert new.system_root is not None
        assert sha1(b"") not in after.blobs


def test_an_image_is_appended_to_a_file_that_is_there(volume: Path, tmp_path: Path) -> None:
    target, folder = tmp_path / "both.wim", make_folder(tmp_path / "tree")
    capture(volume, target, replace(FAST, compression=Compression.XPRESS))
    first, size_bytes = listing(target), target.stat().st_size
    report = capture(folder, target, replace(FAST, name="Second", append=True, bootable=True))
    assert report.index == 2
    accept(target)
    assert listing(target).keys() == first.keys()
    assert "Windows/notepad.exe" in listing(target, 2)
    text = run("wimlib-imagex", "info", target)
    assert re.findall(r"^Name:\s+(.*)$", text, re.MULTILINE) == ["Captured", "Second"]
    assert re.search(r"^Boot Index:\s+2$", text, re.MULTILINE)
    grown = target.stat().st_size - size_bytes
    capture(volume, target, replace(FAST, name="Third", append=True))
    assert target.stat().st_size - size_bytes - grown < 20_000, "all content was there"
    before = fingerprint(target)
    with pytest.raises(AlreadyExists, match="an image called 'Second'"):
        capture(folder, target, replace(FAST, name="Second", append=True))
    with pytest.raises(NotFound, match="nowhere"):
        capture(folder, tmp_path / "nowhere.wim", replace(FAST, append=True))

    def stop(event: Event) -> None:
        if event.phase not in {"Starting", "Scanning"}:
            raise Cancelled("by the test")

    with pytest.raises(Cancelled):
        capture(folder, target, replace(FAST, name="New", append=True), progress=stop)
    assert fingerprint(target) == before
    assert strays(tmp_path) == []
