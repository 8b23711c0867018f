import pytest

from wimsmith.offline.verdicts import Finding, UpdateStatus, Verdict, first, status, word

UNSUPPORTED = Finding(Verdict.NOT_SUPPORTED, "psfx", "differential package")
OTHER_ARCHITECTURE = Finding(Verdict.NOT_APPLICABLE, "arch", "made for arm64")
NO_PARENT = Finding(Verdict.PREREQUISITE_MISSING, "parent", "Some-Package is not in the image")
NO_COMPONENT = Finding(Verdict.NOT_APPLICABLE, "components", "no component applies")


def test_an_unsupported_update_for_another_architecture_is_not_applicable() -> None:
    assert first((UNSUPPORTED, OTHER_ARCHITECTURE)) == OTHER_ARCHITECTURE


def test_a_missing_parent_is_named_before_the_components_that_follow_from_it() -> None:
    assert first((NO_COMPONENT, NO_PARENT)) == NO_PARENT
    assert first((NO_COMPONENT, UNSUPPORTED)) == UNSUPPORTED


def test_no_finding_decides_nothing() -> None:
    assert first(()) is None


@pytest.mark.parametrize(
    ("verdict", "code", "expected"),
    [
        (Verdict.APPLIED, "", UpdateStatus.INSTALLED),
        (Verdict.NOT_SUPPORTED, "psfx", UpdateStatus.CHECK_NOT_SUPPORTED),
        (Verdict.PREREQUISITE_MISSING, "parent", UpdateStatus.NOT_REQUIRED),
        (Verdict.PREREQUISITE_MISSING, "stack-too-old", UpdateStatus.APPLICABLE),
        (Verdict.FAILED, "damaged:payload", UpdateStatus.APPLICABLE),
    ],
)
def test_cannot_tell_is_never_folded_into_success(
    verdict: Verdict, code: str, expected: UpdateStatus
) -> None:
    assert status(verdict, code) is expected


def test_every_verdict_has_a_status_and_a_word() -> None:
    for verdict in Verdict:
        assert isinstance(status(verdict), UpdateStatus)
        assert word(verdict)


def test_the_missing_prerequisite_is_named() -> None:
    text = word(Verdict.PREREQUISITE_MISSING, "Base-Package~~1.0")
    assert text == "Prerequisite missing: Base-Package~~1.0"
