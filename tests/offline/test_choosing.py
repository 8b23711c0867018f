"""One backend does all of a run; what none can do is left out, what needs two is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wimsmith.errors import NotSupported
from wimsmith.offline.backends.choosing import Offer, choose
from wimsmith.offline.verdicts import Finding, Verdict

PSFX = Finding(Verdict.NOT_SUPPORTED, "psfx", "a package of differentials")
RULE = Finding(Verdict.NOT_SUPPORTED, "calibration:keyform", "names differ")


def test_the_only_backend_does_what_it_can_and_names_what_it_cannot() -> None:
    choice = choose([Offer("native", refused={"2": PSFX})], ["1", "2"])

    assert (choice.backend, choice.refused) == ("native", {"2": PSFX})


def test_the_preferred_one_is_taken_if_it_can_do_all() -> None:
    assert choose([Offer("native"), Offer("dism")], ["1"]).backend == "native"


def test_the_other_does_all_of_the_run_if_one_update_needs_it() -> None:
    choice = choose([Offer("native", refused={"2": PSFX}), Offer("dism")], ["1", "2"])

    assert (choice.backend, choice.refused) == ("dism", {})


def test_what_no_backend_can_apply_does_not_decide() -> None:
    offers = [Offer("native", refused={"2": PSFX}), Offer("dism", refused={"2": PSFX})]

    assert choose(offers, ["1", "2"]).backend == "native"


def test_two_writers_are_refused_with_what_each_would_be_needed_for() -> None:
    offers = [Offer("native", refused={"KB2": PSFX}), Offer("dism", refused={"KB1": PSFX})]

    with pytest.raises(NotSupported) as refused:
        choose(offers, ["KB1", "KB2"])

    assert refused.value.reason == "two-backends"
    assert "KB1 needs native; KB2 needs dism" in str(refused.value)
    assert "a run for each" in (refused.value.hint or "")


def test_an_image_that_nobody_may_change_is_refused_with_every_reason() -> None:
    with pytest.raises(NotSupported) as refused:
        choose([Offer("native", stopped=(RULE,))], ["1"])

    assert refused.value.reason == "no-backend"
    assert "native: names differ (calibration:keyform)" in str(refused.value)


def test_without_a_backend_nothing_is_done() -> None:
    with pytest.raises(NotSupported, match="there is no backend"):
        choose([], [])


@given(
    some.lists(
        some.tuples(some.booleans(), some.sets(some.sampled_from("abcd"))), min_size=1, max_size=4
    )
)
def test_the_chosen_one_can_do_all_that_any_can(offers: list[tuple[bool, set[str]]]) -> None:
    """Whatever they refuse: nothing is left out that another one could have applied."""
    made = [
        Offer(str(number), (RULE,) if stopped else (), dict.fromkeys(sorted(refused), PSFX))
        for number, (stopped, refused) in enumerate(offers)
    ]
    able = [one for one in made if not one.stopped]
    possible = [name for name in "abcd" if any(name not in one.refused for one in able)]
    alone = [one for one in able if not any(name in one.refused for name in possible)]
    if not alone:
        with pytest.raises(NotSupported) as refused:
            choose(made, list("abcd"))
        assert refused.value.reason == ("two-backends" if able else "no-backend")
        return
    choice = choose(made, list("abcd"))
    assert choice.backend == alone[0].backend
    assert choice.refused.keys() == set("abcd") - set(possible)
