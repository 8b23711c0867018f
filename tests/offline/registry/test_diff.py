"""Differences of hives: those that were made, no others, in an order one can read."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wimsmith.offline.registry import Hive, ValueType, encode_dword, encode_text
from wimsmith.offline.registry.diff import Aspect, Change, HiveDifference, diff_hives
from wimsmith.offline.security import compile_sddl

NOW = 0x01DA_0000_0000_0000


def copy(hive: Hive) -> Hive:
    return Hive.parse(hive.serialize(NOW))


def sample() -> Hive:
    hive = Hive.new()
    hive.set_value("A\\B", "text", ValueType.SZ, encode_text("x"))
    hive.set_value("A\\B", "number", ValueType.DWORD, encode_dword(1))
    hive.set_value("A b", "other", ValueType.SZ, encode_text("y"))
    hive.create_key("C", class_name="class")
    return hive


def test_the_same_hive_has_no_differences_whatever_its_case_and_order() -> None:
    other = Hive.new("Another name", version_minor=3)
    other.set_value("c", "", ValueType.SZ, b"")
    other.delete_value("c", "")
    other.set_value("A B", "OTHER", ValueType.SZ, encode_text("y"))
    other.set_value("a\\b", "NUMBER", ValueType.DWORD, encode_dword(1))
    other.set_value("a\\b", "Text", ValueType.SZ, encode_text("x"))
    assert list(diff_hives(sample(), other)) == []


def test_values_added_removed_and_changed() -> None:
    old = sample()
    new = copy(old)
    new.delete_value("A\\B", "text")
    new.set_value("A\\B", "", ValueType.NONE, b"")
    new.set_value("a\\b", "Number", ValueType.BINARY, encode_dword(1))
    assert list(diff_hives(old, new)) == [
        HiveDifference(
            Change.ADDED, Aspect.VALUE, "A\\B", "", new_type=ValueType.NONE, new_data=b""
        ),
        HiveDifference(
            Change.CHANGED,
            Aspect.VALUE,
            "A\\B",
            "number",
            old_type=ValueType.DWORD,
            old_data=encode_dword(1),
            new_type=ValueType.BINARY,
            new_data=encode_dword(1),
        ),
        HiveDifference(
            Change.REMOVED,
            Aspect.VALUE,
            "A\\B",
            "text",
            old_type=ValueType.SZ,
            old_data=encode_text("x"),
        ),
    ]
    assert list(diff_hives(old, new, "A b")) == []
    assert len(list(diff_hives(old, new, "a\\B"))) == 3


def test_a_key_is_told_with_all_below_it_and_before_its_neighbours() -> None:
    old, new = sample(), sample()
    new.delete_key("A")
    new.set_value("A 2\\Deep", "v", ValueType.SZ, encode_text("z"))
    found = [(one.kind, one.key, one.name) for one in diff_hives(old, new)]
    assert found == [
        (Change.REMOVED, "A", None),
        (Change.REMOVED, "A\\B", None),
        (Change.REMOVED, "A\\B", "number"),
        (Change.REMOVED, "A\\B", "text"),
        (Change.ADDED, "A 2", None),
        (Change.ADDED, "A 2\\Deep", None),
        (Change.ADDED, "A 2\\Deep", "v"),
    ]
    assert [one.key for one in diff_hives(old, new, "A")] == ["A", "A\\B", "A\\B", "A\\B"]
    assert list(diff_hives(old, new, "Not there")) == []


def test_security_and_classes_are_compared_when_asked() -> None:
    old, new = sample(), sample()
    sddl = compile_sddl("O:BAG:SYD:(A;CI;KA;;;SY)")
    new.create_key("A\\B", sddl)
    new.delete_key("C")
    new.create_key("C", class_name="other")
    assert list(diff_hives(old, new)) == []
    (security,) = diff_hives(old, new, security=True)
    assert (security.aspect, security.key, security.new_data) == (Aspect.SECURITY, "A\\B", sddl)
    (other,) = diff_hives(old, new, classes=True)
    assert (other.aspect, other.key) == (Aspect.CLASS, "C")
    assert other.old_data == "class".encode("utf-16-le")
    assert other.new_data == "other".encode("utf-16-le")


NAMES = st.sampled_from(["a", "A b", "B", "c", "\u00e9", "\u00c9t\u00e9", "\u4e2d", "Z" * 30])
PATHS = st.lists(NAMES, max_size=3).map("\\".join)
VALUES = st.dictionaries(st.tuples(PATHS, NAMES), st.binary(max_size=6), max_size=12)


def fold(path: str, name: str) -> tuple[str, str]:
    return path.upper(), name.upper()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(old=VALUES, new=VALUES)
def test_differences_are_those_of_two_plain_tables(
    old: dict[tuple[str, str], bytes], new: dict[tuple[str, str], bytes]
) -> None:
    tables, hives = [], []
    for values in (old, new):
        hive, table = Hive.new(), dict[tuple[str, str], bytes]()
        for (path, name), data in values.items():
            hive.set_value(path, name, ValueType.BINARY, data)
            table[fold(path, name)] = data
        hives.append(hive)
        tables.append(table)
    left, right = tables
    found = [one for one in diff_hives(hives[0], hives[1]) if one.aspect is Aspect.VALUE]
    told = {fold(one.key, one.name or ""): (one.old_data, one.new_data) for one in found}
    assert len(told) == len(found)
    assert told == {
        place: (left.get(place), right.get(place))
        for place in left.keys() | right.keys()
        if left.get(place) != right.get(place)
    }
    back = {
        fold(one.key, one.name or ""): (one.new_data, one.old_data)
        for one in diff_hives(hives[1], hives[0])
        if one.aspect is Aspect.VALUE
    }
    assert back == told
