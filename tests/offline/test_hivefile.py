"""Hives as files: edited and replaced whole, or left as they were."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offline.registry import logbook
from wimsmith.errors import (
    AlreadyExists,
    ChangedMeanwhile,
    DamagedHive,
    InvalidInput,
    InvalidState,
    LimitExceeded,
    NotEnoughSpace,
    NotFound,
    NotSupported,
    PathUnreachable,
    SelfCheckFailed,
)
from wimsmith.offline import hivefile
from wimsmith.offline.changes import CreateKey, DeleteKey, DeleteValue, RegistryEdit, SetValue
from wimsmith.offline.hivefile import (
    apply_edits,
    describe,
    read_hive_file,
    replace_hive_file,
    write_hive_file,
)
from wimsmith.offline.registry import Hive, ValueType, encode_text
from wimsmith.offline.registry.diff import diff_hives
from wimsmith.offline.security import compile_sddl, display_sddl

NOW = 0x01DA_0000_0000_0000
LATER = NOW + 10_000_000
KEY_FLAGS_AT, KEY_NAME_AT, KEY_LINK = 2, 76, 0x10


def hive() -> Hive:
    made = Hive.new()
    made.set_value("Key\\Sub", "name", ValueType.SZ, encode_text("text"))
    return made


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def stored(folder: Path, name: str = "SOFTWARE") -> Path:
    path = folder / name
    path.write_bytes(hive().serialize(NOW))
    return path


def test_edits_are_carried_out_in_their_order() -> None:
    made = hive()
    edits: list[RegistryEdit] = [
        SetValue("X", "Key\\New", "a", ValueType.SZ, encode_text("1")),
        SetValue("X", "Key\\New", "b", ValueType.SZ, encode_text("2")),
        DeleteValue("X", "Key\\New", "a"),
        DeleteKey("X", "Key\\Sub"),
        CreateKey("X", "Key\\Sub\\Deep"),
        DeleteKey("X", "Not there"),
        DeleteValue("X", "Not there", "x"),
    ]
    apply_edits(made, edits)
    assert [key.path for key in made.walk()] == [
        "",
        "Key",
        "Key\\New",
        "Key\\Sub",
        "Key\\Sub\\Deep",
    ]
    assert [value.name for value in made.walk("Key\\New").__next__().values()] == ["b"]
    assert made.check(strict=True) == 0


def test_new_keys_get_what_their_parent_hands_down() -> None:
    made = Hive.new(security=compile_sddl("O:BAG:SYD:PAI(A;CI;KA;;;SY)(A;;KR;;;BU)"))
    apply_edits(made, [CreateKey("X", "One\\Two")])
    for path in ("One", "One\\Two"):
        key = made.key(path)
        assert key is not None
        assert display_sddl(key.security) == "O:BAG:SYD:AI(A;CIID;KA;;;SY)"


def test_a_link_is_not_written_through() -> None:
    data = bytearray(hive().serialize(NOW))
    record = data.index(b"Key\0") - KEY_NAME_AT
    data[record + KEY_FLAGS_AT] |= KEY_LINK
    linked = Hive.parse(bytes(data))
    with pytest.raises(NotSupported, match="Key is a link"):
        apply_edits(linked, [SetValue("X", "key\\Sub", "a", ValueType.SZ, b"")])
    apply_edits(linked, [DeleteKey("X", "Key")])
    assert linked.key("Key") is None


def test_the_root_stays() -> None:
    with pytest.raises(NotSupported, match="root"):
        apply_edits(hive(), [DeleteKey("X", "")])


def test_a_dirty_hive_is_completed_from_the_logs_beside_it(tmp_path: Path) -> None:
    before = hive().serialize(NOW)
    changed = Hive.parse(before)
    changed.set_value("Key\\Sub", "late", ValueType.SZ, encode_text("came late"))
    after = changed.serialize(LATER)
    path = tmp_path / "NTUSER.DAT"
    path.write_bytes(logbook.dirty(before, primary=2, secondary=1))
    with pytest.raises(DamagedHive):
        read_hive_file(path).parse()
    log = logbook.new_log(before, [logbook.entry(before, after, 1)])
    (tmp_path / "ntuser.dat.LOG1").write_bytes(log)
    (tmp_path / "ntuser.dat.LOG2").write_bytes(b"")
    read = read_hive_file(path)
    assert set(read.logs) == {".LOG1", ".LOG2"}
    value = read.parse().value("Key\\Sub", "late")
    assert value is not None
    assert value.text() == "came late"
    facts = describe(read)
    assert (facts.dirty, facts.primary_sequence, facts.secondary_sequence) == (True, 2, 1)
    assert (facts.keys, facts.values, facts.logs[".LOG1"]) == (3, 2, len(log))


def test_a_dirty_hive_that_is_edited_keeps_what_its_log_held(tmp_path: Path) -> None:
    before = hive().serialize(NOW)
    changed = Hive.parse(before)
    changed.set_value("Key\\Sub", "late", ValueType.SZ, encode_text("came late"))
    path = tmp_path / "SYSTEM"
    path.write_bytes(logbook.dirty(before, primary=2, secondary=1))
    log = logbook.new_log(before, [logbook.entry(before, changed.serialize(LATER), 1)])
    (tmp_path / "SYSTEM.LOG1").write_bytes(log)
    read = read_hive_file(path)
    edited = read.parse()
    apply_edits(edited, [SetValue("X", "Key\\Sub", "new", ValueType.SZ, b"")])
    replace_hive_file(edited, path, read, modified=LATER)
    again = read_hive_file(path)
    assert not describe(again).dirty
    assert (tmp_path / "SYSTEM.LOG1").read_bytes() == log
    key = again.parse().key("Key\\Sub")
    assert key is not None
    assert [value.name for value in key.values()] == ["name", "late", "new"]


def test_facts_of_a_clean_hive(tmp_path: Path) -> None:
    facts = describe(read_hive_file(stored(tmp_path)))
    assert (facts.version, facts.dirty, facts.checksum_right) == ("1.5", False, True)
    assert (facts.written, facts.last_change) == (NOW, NOW)
    assert (facts.size_bytes, facts.bins_bytes) == (8192, 4096)
    assert (facts.keys, facts.values, facts.logs) == (3, 1, {})


def test_what_is_no_hive_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound):
        read_hive_file(tmp_path / "none")
    with pytest.raises(InvalidInput, match="not a file"):
        read_hive_file(tmp_path)
    (tmp_path / "x.wim").write_bytes(b"MSWIM\0\0\0" + bytes(300))
    with pytest.raises(InvalidInput, match="WIM file") as raised:
        read_hive_file(tmp_path / "x.wim")
    assert ":1:SOFTWARE" in str(raised.value.hint)
    path = stored(tmp_path)
    monkeypatch.setattr(hivefile, "MAX_HIVE_BYTES", 8191)
    with pytest.raises(LimitExceeded):
        read_hive_file(path)


def test_a_new_file_is_written_and_an_old_one_only_when_told(tmp_path: Path) -> None:
    target = tmp_path / "new"
    size = write_hive_file(hive(), target, modified=LATER)
    assert target.stat().st_size == size
    assert list(diff_hives(hive(), Hive.parse(target.read_bytes()))) == []
    target.write_text("precious")
    with pytest.raises(AlreadyExists):
        write_hive_file(hive(), target, modified=LATER)
    assert target.read_text() == "precious"
    write_hive_file(hive(), target, modified=LATER, overwrite=True)
    assert target.stat().st_size == size
    assert names(tmp_path) == ["new"]
    with pytest.raises(PathUnreachable):
        write_hive_file(hive(), tmp_path / "no" / "such", modified=LATER)


def test_a_replaced_file_keeps_its_permissions_and_its_links(tmp_path: Path) -> None:
    path = stored(tmp_path)
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path.name)
    read = read_hive_file(link)
    changed = read.parse()
    apply_edits(changed, [DeleteKey("X", "Key\\Sub")])
    replace_hive_file(changed, link, read, modified=LATER)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert Hive.parse(path.read_bytes()).key("Key\\Sub") is None
    assert Hive.parse(path.read_bytes()).written == LATER


def test_a_file_that_changed_or_is_protected_is_left_alone(tmp_path: Path) -> None:
    path = stored(tmp_path)
    read = read_hive_file(path)
    path.chmod(0o444)
    with pytest.raises(InvalidState, match="write-protected"):
        replace_hive_file(read.parse(), path, read, modified=LATER)
    path.chmod(0o644)
    other = read.data[:-1] + b"\1"
    path.write_bytes(other)
    with pytest.raises(ChangedMeanwhile):
        replace_hive_file(read.parse(), path, read, modified=LATER)
    assert path.read_bytes() == other


def test_a_hive_that_is_not_consistent_is_not_written(tmp_path: Path) -> None:
    data = bytearray(stored(tmp_path).read_bytes())
    at = data.index(b"lh\1\0")
    data[at + 8] ^= 1  # the hash of a name
    broken = Hive.parse(bytes(data))
    with pytest.raises(DamagedHive, match="hash"):
        write_hive_file(broken, tmp_path / "new", modified=LATER)
    assert names(tmp_path) == ["SOFTWARE"]


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    "place",
    [
        "pathlib.Path.write_bytes",
        "os.fsync",
        "os.chown",
        "pathlib.Path.chmod",
        "pathlib.Path.replace",
        "wimsmith.offline.hivefile.diff_hives",
    ],
)
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device"), NotEnoughSpace),
        (OSError(5, "Input/output error"), OSError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failure_anywhere_leaves_the_old_file_and_no_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    error: BaseException,
    told: type[BaseException],
) -> None:
    path = stored(tmp_path)
    read = read_hive_file(path)
    monkeypatch.setattr(place, failing(error))
    with pytest.raises(told):
        replace_hive_file(read.parse(), path, read, modified=LATER)
    monkeypatch.undo()
    assert path.read_bytes() == read.data
    assert names(tmp_path) == ["SOFTWARE"]


def test_a_file_that_reads_back_otherwise_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(tmp_path)
    read = read_hive_file(path)
    whole = Path.write_bytes

    def torn(self: Path, data: bytes) -> int:
        return whole(self, data[:-100] + bytes(100))

    monkeypatch.setattr(Path, "write_bytes", torn)
    changed = read.parse()
    changed.set_value("Key", "big", ValueType.BINARY, b"\xff" * 4000)
    with pytest.raises(SelfCheckFailed):
        replace_hive_file(changed, path, read, modified=LATER)
    monkeypatch.undo()
    assert path.read_bytes() == read.data
    assert names(tmp_path) == ["SOFTWARE"]
