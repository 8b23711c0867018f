"""Random edits against a plain model, read back by three other programs."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline.registry import readers
from wimsmith.offline.registry import Hive

Model = dict[str, dict[str, tuple[int, bytes]]]
Edit = Callable[[Hive, Model], None]

NAMES = st.sampled_from(
    ["a", "B", "key", "Longer key name", "\u00e9t\u00e9", "\u4e2d\u6587", "Z" * 60]
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("\\".join)
SIZES = st.one_of(st.integers(4, 60), st.sampled_from([0, 4000, 16_344, 16_345, 40_000]))


def fold(text: str) -> str:
    return text.upper()


def find(model: Model, path: str) -> str | None:
    return next((known for known in model if fold(known) == fold(path)), None)


def ensure(model: Model, path: str) -> str:
    if (known := find(model, path)) is not None:
        return known
    above, _, name = path.rpartition("\\")
    full = f"{ensure(model, above)}\\{name}".lstrip("\\") if above else name
    model[full] = {}
    return full


@st.composite
def create_key(draw: st.DrawFn) -> Edit:
    path = draw(PATHS)

    def edit(hive: Hive, model: Model) -> None:
        assert hive.create_key(path).path == ensure(model, path)

    return edit


@st.composite
def set_value(draw: st.DrawFn) -> Edit:
    path, name, size = draw(PATHS), draw(NAMES), draw(SIZES)
    kind, fill = draw(st.sampled_from([0, 3, 7, 8])), draw(st.integers(1, 255))
    data = bytes([fill]) * size

    def edit(hive: Hive, model: Model) -> None:
        hive.set_value(path, name, kind, data)
        values = model[ensure(model, path)]
        known = next((known for known in values if fold(known) == fold(name)), name)
        values[known] = (kind, data)

    return edit


@st.composite
def delete_key(draw: st.DrawFn) -> Edit:
    path = draw(PATHS)

    def edit(hive: Hive, model: Model) -> None:
        known = find(model, path)
        assert hive.delete_key(path) == (known is not None)
        for gone in [key for key in model if f"{key}\\".startswith(f"{known}\\")]:
            del model[gone]

    return edit


@st.composite
def delete_value(draw: st.DrawFn) -> Edit:
    path, name = draw(PATHS), draw(NAMES)

    def edit(hive: Hive, model: Model) -> None:
        values = model.get(find(model, path) or "", {})
        known = next((known for known in values if fold(known) == fold(name)), None)
        assert hive.delete_value(path, name) == (known is not None)
        if known is not None:
            del values[known]

    return edit


EDITS = st.lists(
    st.one_of(create_key(), set_value(), set_value(), delete_key(), delete_value()), max_size=60
)


def as_dump(model: Model) -> readers.Dump:
    return {
        path: frozenset((name, kind, data) for name, (kind, data) in values.items())
        for path, values in model.items()
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=EDITS, second=EDITS, minor=st.sampled_from([3, 5, 6]))
def test_a_hive_holds_what_was_put_in_and_nothing_else(
    first: list[Edit], second: list[Edit], minor: int
) -> None:
    hive, model = Hive.new(version_minor=minor), Model({"": {}})
    for edits in (first, second):
        for edit in edits:
            edit(hive, model)
        written = hive.serialize(1 << 56)
        expected = as_dump(model)
        assert readers.ours(written) == expected
        assert readers.libregf_agrees(written, expected)
        assert readers.python_registry_agrees(written, expected)
        with TemporaryDirectory() as folder:
            keys, values = readers.by_reglookup(written, Path(folder))
        assert len(keys) == len(expected)
        assert len(values) == sum(map(len, expected.values()))
        hive = Hive.parse(written)
        assert hive.check(strict=True) == 0
