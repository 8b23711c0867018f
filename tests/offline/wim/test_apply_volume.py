"""Images on NTFS volumes: all of a file arrives, or it is said what does not."""

import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offline.wim import ntfs
from offline.wim.images import TIMES, Practice, rich, sha1, write
from offline.wim.judges import run
from offline.wim.rawmetadata import raw_entries
from offline.wim.test_unusual import LONE, TAGGED, unusual
from offline.wim.verbs import fingerprint, strays
from wimsmith.errors import (
    AlreadyExists,
    InvalidInput,
    InvalidState,
    NoSuchIndex,
    NotEnoughSpace,
    NotSupported,
    UnsafePath,
    VerificationFailed,
)
from wimsmith.offline.wim.format import tagged
from wimsmith.offline.wim.format.tree import Attribute
from wimsmith.offline.wim.verbs import apply
from wimsmith.offline.wim.verbs.apply import Check, NewVolume, apply_new_volume, apply_ntfs
from wimsmith.offline.wim.workers._libwim import LibwimCodec

NEW = NewVolume(16 << 20, "Windows")
NOT_ON_VOLUMES = 0x200 | 0x800


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with everything that a file can have."""
    path = tmp_path_factory.mktemp("full") / "full.wim"
    practice = unusual()
    practice.put(LONE, b"lone")
    write(path, practice, codec=LibwimCodec())
    return path


def uncompressed(practice: Practice, path: Path) -> Path:
    write(path, practice)
    return path


def test_everything_of_every_file_arrives_on_a_new_volume(tmp_path: Path) -> None:
    """wimlib and the tools of ntfs-3g read the volume; extended attributes wimlib cannot see."""
    practice = unusual()
    practice.put(LONE, b"lone")
    source = uncompressed(practice, tmp_path / "full.wim")
    before, target = fingerprint(source), tmp_path / "volume.img"
    report = apply_new_volume(source, 1, target, NEW, check=Check.CONTENT)
    assert fingerprint(source) == before
    assert target.stat().st_size == NEW.size_bytes
    assert target.stat().st_blocks * 512 < NEW.size_bytes / 2, "it is sparse"
    assert "Volume Name: Windows" in run("ntfsinfo", "-m", target)
    assert ntfs.flags(target) == 0
    run("ntfsfix", "-n", target)
    expected, found = raw_entries(source), ntfs.read_back(target)
    assert found.keys() == expected.keys()
    for path, entry in expected.items():
        seen = found[path].raw
        assert seen.attributes == entry.attributes & ~NOT_ON_VOLUMES, path
        assert (seen.security, seen.times, seen.short_name) == (
            entry.security, entry.times, entry.short_name,
        )  # fmt: skip
        assert (seen.hashes, sorted(seen.named)) == (entry.hashes, sorted(entry.named)), path
        assert seen.reparse[:4] == entry.reparse[:4]
        assert tagged.from_volume(found[path].extended) == tagged.extended_of(entry.tagged), path
    assert len(found["/many/first"].links) == 63
    assert ntfs.content(target, "/Windows/System32/tool.dll") == b"MZ library" * 5000
    assert ntfs.content(target, "/Windows/System32/tool.dll", "Zone.Identifier") == (
        b"[ZoneTransfer]"
    )
    names = {path for path in expected if path and LONE not in path}
    assert ntfs.names(target) >= {path for path in names if path.isascii()}
    assert report.entries == len(expected)
    assert report.extended_attributes == sum(
        any(tag == tagged.EXTENDED for tag, _ in tagged.items(data)) for data in TAGGED.values()
    )
    assert report.not_kept == {
        "sparse attribute": 1, "compressed attribute": 1, "unknown items": 1,
    }  # fmt: skip
    assert strays(tmp_path) == []


def test_the_attributes_that_windows_sets_arrive(tmp_path: Path) -> None:
    practice = Practice()
    for bits in (0x20, 0x80, 0x1, 0x2 | 0x4, 0x100 | 0x20, 0x1000, 0x2000, 0x2000 | 0x27):
        practice.put(f"{bits:x}", b"content", attributes=bits)
    practice.put("pinned", b"content", attributes=0x80020)
    source = uncompressed(practice, tmp_path / "attributes.wim")
    report = apply_new_volume(source, 1, tmp_path / "volume.img", NEW)
    found = ntfs.read_back(tmp_path / "volume.img")
    for path, entry in raw_entries(source).items():
        wanted = entry.attributes & ~0x80000
        assert found[path].raw.attributes & ~0x80 == wanted & ~0x80, path
    assert report.not_kept == {"other attributes": 1}


def test_a_volume_knows_the_place_it_is_made_for(full: Path, tmp_path: Path) -> None:
    target = tmp_path / "volume.img"
    apply_new_volume(full, 1, target, NewVolume(16 << 20, "", 567_296))
    heads, hidden = struct.unpack_from("<HI", target.read_bytes()[:512], 26)
    assert (heads, hidden) == (255, 567_296)


def test_an_existing_volume_is_filled_in_place(full: Path, tmp_path: Path) -> None:
    volume = ntfs.make_volume(tmp_path / "volume.img", 16 << 20, "-L", "Mine")
    place = volume.stat().st_ino
    report = apply_ntfs(full, 1, volume)
    assert volume.stat().st_ino == place
    assert report.entries == len(ntfs.read_back(volume))
    assert "Volume Name: Mine" in run("ntfsinfo", "-m", volume)
    run("ntfsfix", "-n", volume)
    with pytest.raises(AlreadyExists, match=r"not empty: Documents and Settings") as caught:
        apply_ntfs(full, 1, volume)
    assert "--format" in (caught.value.hint or "")


def test_a_volume_that_is_not_empty_can_be_made_anew(full: Path, tmp_path: Path) -> None:
    geometry = ("-p", 4096, "-H", 16, "-S", 63, "-c", 8192)
    volume = ntfs.make_volume(tmp_path / "volume.img", 16 << 20, *geometry)
    before = volume.read_bytes()[11:48]
    other = uncompressed(rich(), tmp_path / "rich.wim")
    apply_ntfs(full, 1, volume)
    apply_ntfs(other, 1, volume, format_first=True)
    assert volume.read_bytes()[11:48] == before, "sector, cluster, geometry and size are kept"
    assert ntfs.read_back(volume).keys() == raw_entries(other).keys()


def test_what_windows_puts_on_every_volume_does_not_count(full: Path, tmp_path: Path) -> None:
    volume, practice = ntfs.make_volume(tmp_path / "volume.img"), Practice()
    practice.put("System Volume Information/WPSettings.dat", b"settings")
    run("wimlib-imagex", "apply", uncompressed(practice, tmp_path / "small.wim"), 1, volume)
    with pytest.raises(VerificationFailed, match="is on the volume only"):
        apply_ntfs(full, 1, volume)
    assert "/Windows/System32/tool.dll" in ntfs.read_back(volume)


def test_a_difference_is_found_and_named(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changes the volume between writing and reading back."""
    usual = apply._read_back

    def spoiled(image: object, volume: Path, *rest: object) -> object:
        data = volume.read_bytes()
        volume.write_bytes(data.replace(b"MZ library", b"MZ LIBRARY", 1))
        return usual(image, volume, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(apply, "_read_back", spoiled)
    apply_new_volume(full, 1, tmp_path / "unread.img", NEW, check=Check.ENTRIES)
    with pytest.raises(VerificationFailed, match=r"tool\.dll: content of the stream ''"):
        apply_new_volume(full, 1, tmp_path / "volume.img", NEW, check=Check.CONTENT)
    assert not (tmp_path / "volume.img").exists()
    assert strays(tmp_path) == []


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le")


FIELDS = {
    "attributes": (b"\x26\0\0\0", b"\x24\0\0\0"),
    "times": (struct.pack("<Q", TIMES.created), struct.pack("<Q", TIMES.created + 10)),
    "short name": (utf16("NOTESW~1"), utf16("NOTESX~1")),
    "object id": (bytes(range(16)), bytes(range(1, 17))),
    "reparse data": (bytes(range(16)) + b"after a", bytes(range(16)) + b"AFTER A"),
    "extended attributes": (b"SECOND\x0022", b"SECOND\x0033"),
    "streams": (utf16("Zone."), utf16("Zona.")),
    "is on the volume only": (utf16("notes with"), utf16("notes WITH")),
}


def test_each_kind_of_difference_is_found(
    full: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = tmp_path / "volume.img"
    apply_new_volume(full, 1, volume, NEW)
    image = apply._image(full, 1, [])
    data = volume.read_bytes()
    for what, (old, new) in FIELDS.items():
        assert old in data
        volume.write_bytes(data.replace(old, new))
        caplog.clear()
        with pytest.raises(VerificationFailed):
            apply._read_back(image, volume, Check.ENTRIES, lambda _event: None)
        assert what in caplog.text


def test_encrypted_files_are_told(tmp_path: Path) -> None:
    practice = rich()
    practice.put("secret", b"efs stream", attributes=Attribute.ENCRYPTED | 0x20)
    source = uncompressed(practice, tmp_path / "source.wim")
    report = apply_new_volume(source, 1, tmp_path / "volume.img", NEW)
    assert report.not_kept == {"encrypted attribute": 1, "encrypted content": 1}


def test_names_that_lead_elsewhere_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    practice = rich()
    entry = practice.tree.find("Windows/empty.log")
    assert entry is not None
    entry.name = "..\\up"
    source = uncompressed(practice, tmp_path / "source.wim")
    with pytest.raises(UnsafePath, match=r"source\.wim"):
        apply_new_volume(source, 1, tmp_path / "volume.img", NEW)
    volume = ntfs.make_volume(tmp_path / "mine.img")
    before = fingerprint(volume)
    with pytest.raises(UnsafePath):
        apply_ntfs(source, 1, volume, format_first=True)
    assert fingerprint(volume) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.img", "source.wim"]


def test_wishes_that_cannot_be_met_are_refused_first(full: Path, tmp_path: Path) -> None:
    target = tmp_path / "volume.img"
    with pytest.raises(NoSuchIndex):
        apply_new_volume(full, 2, target, NEW)
    with pytest.raises(InvalidInput, match="a volume of 1000"):
        apply_new_volume(full, 1, target, NewVolume(1000))
    with pytest.raises(InvalidInput, match="label"):
        apply_new_volume(full, 1, target, NewVolume(16 << 20, "L" * 33))
    target.write_text("precious")
    with pytest.raises(AlreadyExists) as caught:
        apply_new_volume(full, 1, target, NEW)
    assert "--overwrite" in (caught.value.hint or "")
    assert target.read_text() == "precious"
    apply_new_volume(full, 1, target, NEW, overwrite=True)
    assert ntfs.flags(target) == 0


def test_an_image_larger_than_the_volume_is_refused_first(tmp_path: Path) -> None:
    practice = Practice()
    practice.put("large", os.urandom(1 << 20) * 12)
    source = uncompressed(practice, tmp_path / "large.wim")
    with pytest.raises(NotEnoughSpace, match=r"about 125\d+ bytes, not 8388608"):
        apply_new_volume(source, 1, tmp_path / "volume.img", NewVolume(8 << 20))
    volume = ntfs.make_volume(tmp_path / "mine.img", 8 << 20)
    before = fingerprint(volume)
    with pytest.raises(NotEnoughSpace):
        apply_ntfs(source, 1, volume)
    assert fingerprint(volume) == before


def test_a_volume_that_runs_full_is_told(tmp_path: Path) -> None:
    """It looks large enough, but for its own tables."""
    practice = Practice()
    practice.put("large", os.urandom(1 << 20) * 13)
    source = uncompressed(practice, tmp_path / "large.wim")
    with pytest.raises(NotEnoughSpace):
        apply_new_volume(source, 1, tmp_path / "volume.img", NewVolume((13 << 20) + (64 << 10)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.wim"]
    volume = ntfs.make_volume(tmp_path / "mine.img", (13 << 20) + (64 << 10))
    with pytest.raises(NotEnoughSpace, match=r"mine\.img is full"):
        apply_ntfs(source, 1, volume)


def test_what_is_no_ntfs_volume_is_named(full: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(32 << 10))
    with pytest.raises(NotSupported, match="holds no NTFS"):
        apply_ntfs(full, 1, disk)
    disk.write_bytes(bytes(510) + b"\x55\xaaEFI PART" + bytes(32 << 10))
    with pytest.raises(NotSupported, match="disk with partitions") as caught:
        apply_ntfs(full, 1, disk)
    assert "losetup" in (caught.value.hint or "")
    with pytest.raises(NotSupported, match="is WIM"):
        apply_ntfs(full, 1, full)
    with pytest.raises(NotSupported, match="no image file"):
        apply_ntfs(full, 1, tmp_path)


@contextmanager
def attached(volume: Path) -> Iterator[Path]:
    made = subprocess.run(
        ["losetup", "--find", "--show", str(volume)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("needs the right to attach loop devices")
    device = made.stdout.decode().strip()
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_a_volume_that_somebody_uses_is_left_alone(full: Path, tmp_path: Path) -> None:
    volume, place = ntfs.make_volume(tmp_path / "volume.img"), tmp_path / "place"
    place.mkdir()
    with attached(volume) as device:
        with pytest.raises(InvalidState, match=f"attached to {device}") as caught:
            apply_ntfs(full, 1, volume, format_first=True)
        assert caught.value.hint == f"Detach it: losetup --detach {device}"
        mounted = subprocess.run(["ntfs-3g", str(device), str(place)], check=False)
        if mounted.returncode == 0:
            try:
                with pytest.raises(InvalidState, match=f"mounted on {place}"):
                    apply_ntfs(full, 1, device, format_first=True)
            finally:
                subprocess.run(["umount", str(place)], check=True)
        report = apply_ntfs(full, 1, device)
    assert report.entries == len(ntfs.read_back(volume))


def test_a_volume_that_was_attached_under_another_name_is_left_alone(
    full: Path, tmp_path: Path
) -> None:
    volume, name = ntfs.make_volume(tmp_path / "volume.img"), tmp_path / "name.img"
    with attached(volume) as device:
        name.hardlink_to(volume)
        volume.unlink()  # from here on the kernel tells a path that nobody finds
        with pytest.raises(InvalidState, match=f"attached to {device}"):
            apply_ntfs(full, 1, name, format_first=True)


def test_a_hibernated_volume_is_left_alone(full: Path, tmp_path: Path) -> None:
    volume, practice = ntfs.make_volume(tmp_path / "volume.img"), Practice()
    practice.put("hiberfil.sys", b"hibr" + bytes(8192))
    run("wimlib-imagex", "apply", uncompressed(practice, tmp_path / "small.wim"), 1, volume)
    before = fingerprint(volume)
    with pytest.raises(InvalidState, match="hibernated"):
        apply_ntfs(full, 1, volume)
    assert fingerprint(volume) == before


def test_content_is_found_in_other_files(tmp_path: Path) -> None:
    """Parts of a split set beside the first one."""
    practice = rich()
    practice.put("large", os.urandom(1 << 20) * 3)
    source = uncompressed(practice, tmp_path / "whole.wim")
    run("wimlib-imagex", "split", source, tmp_path / "part.swm", "2")
    assert (tmp_path / "part2.swm").exists()
    apply_new_volume(tmp_path / "part.swm", 1, tmp_path / "volume.img", NEW, check=Check.CONTENT)
    assert sha1(ntfs.content(tmp_path / "volume.img", "/large")).hex() in run(
        "wimlib-imagex", "dir", source, "--detailed"
    )
