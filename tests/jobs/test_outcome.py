"""Outcomes of steps survive as JSON: the same value, the same error."""

import errno
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wimsmith import errors
from wimsmith.errors import Interrupted, NotEnoughSpace, WimsmithError
from wimsmith.jobs import outcome

CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, WimsmithError) and kind is not Interrupted
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(value=JSON)
def test_a_value_comes_back(value: object) -> None:
    document = json.loads(json.dumps(outcome.capture(lambda: value)))

    assert outcome.unpack(document) == value


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_as_itself(kind: type[WimsmithError]) -> None:
    error = kind("psfx", "a sentence", hint="Do this.")

    def fail() -> None:
        raise error

    document = json.loads(json.dumps(outcome.capture(fail)))
    with pytest.raises(WimsmithError) as raised:
        outcome.unpack(document)

    assert type(raised.value) is kind
    assert (str(raised.value), raised.value.hint) == (str(error), "Do this.")


def test_a_full_disk_is_told_by_name() -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/srv/out.wim")

    with pytest.raises(NotEnoughSpace, match=r"/srv/out\.wim"):
        outcome.unpack(outcome.capture(fail))


def test_an_interruption_is_no_outcome() -> None:
    def fail() -> None:
        raise Interrupted("step")

    with pytest.raises(Interrupted):
        outcome.capture(fail)
