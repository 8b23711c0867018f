"""What is refused, and by which reason; nothing is written then."""

import pytest

from offline.components.install.story import (
    CBS,
    SMALL,
    Build,
    Expand,
    after,
    changes_of,
)
from wimsmith.errors import Cancelled, NotSupported
from wimsmith.offline.changes import (
    ChangeSet,
    CreateKey,
    DeleteKey,
    PutFile,
)
from wimsmith.offline.components.install.apply import ApplyOptions, apply
from wimsmith.offline.image import open_view
from wimsmith.offline.progress import Event
from wimsmith.offline.verdicts import NOT_SUPPORTED_LINE, Verdict
from wimsmith.offline.wim.format.tree import Reparse

SYMLINK = 0xA000000C


@pytest.mark.parametrize(
    ("name", "verdict", "code"),
    [
        ("unsupported-service", Verdict.NOT_SUPPORTED, "advanced-new:memberships/Service"),
        ("unsupported-configuration", Verdict.NOT_SUPPORTED, "advanced-new:configuration"),
        ("unsupported-unknown", Verdict.NOT_SUPPORTED, "advanced-new:practiceInstaller"),
        ("driver", Verdict.NOT_SUPPORTED, "driver-element"),
        ("not-offline-capable", Verdict.NOT_SUPPORTED, "not-offline-capable"),
        ("missing-parent", Verdict.PREREQUISITE_MISSING, "parent"),
        ("wrong-build", Verdict.NOT_APPLICABLE, "build"),
        ("wrong-arch", Verdict.NOT_APPLICABLE, "arch"),
        ("stack-too-old", Verdict.PREREQUISITE_MISSING, "stack-too-old"),
        ("language-pack", Verdict.NOT_SUPPORTED, "language-pack"),
        ("servicing-stack", Verdict.NOT_SUPPORTED, "servicing-stack"),
        ("unknown-macro", Verdict.NOT_SUPPORTED, "macro"),
        ("service-pack", Verdict.NOT_SUPPORTED, "service-pack"),
        ("hotpatch", Verdict.NOT_SUPPORTED, "hotpatch"),
        ("corrupt-payload", Verdict.FAILED, "untrusted:payload-hash"),
        ("corrupt-manifest", Verdict.FAILED, "untrusted:manifest-hash"),
        ("missing-payload", Verdict.FAILED, "untrusted:payload-hash"),
        ("unsigned", Verdict.FAILED, "untrusted:catalog-signature"),
        ("foreign-root", Verdict.FAILED, "untrusted:catalog-chain"),
        ("wrong-catalog", Verdict.FAILED, "untrusted:package-hash"),
    ],
)
def test_what_is_refused_changes_nothing(
    build: Build,
    expanded: Expand,
    options: ApplyOptions,
    name: str,
    verdict: Verdict,
    code: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcome = apply(expanded(name), open_view(build(SMALL), 1), options)
    assert (outcome.verdict, outcome.code, outcome.changes) == (verdict, code, None)
    assert outcome.text
    if verdict is Verdict.NOT_SUPPORTED:
        place = caplog.messages.index(NOT_SUPPORTED_LINE)
        assert caplog.messages[place + 1].startswith(f"{code}: ")


def test_all_findings_are_listed_and_the_first_in_order_decides(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    """Unsupported and for another architecture: not applicable, with both reasons."""
    package = expanded("wrong-arch")
    outcome = apply(package, open_view(build(SMALL), 1), options)
    assert outcome.verdict is Verdict.NOT_APPLICABLE
    assert {finding.code for finding in outcome.findings} == {"arch", "parent"}


def test_an_image_with_pending_work_is_left_alone(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    pending = ChangeSet(registry=(CreateKey("SOFTWARE", rf"{CBS}\RebootPending"),))
    outcome = apply(expanded("small"), after(build(SMALL), pending), options)
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_SUPPORTED, "pending")


def test_an_image_that_teaches_nothing_is_refused_by_the_rule(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    bare = ChangeSet(registry=(DeleteKey("COMPONENTS", r"CanonicalData\Deployments"),))
    outcome = apply(expanded("small"), after(build(SMALL), bare), options)
    assert outcome.verdict is Verdict.NOT_SUPPORTED
    assert outcome.code.startswith("calibration:")


def test_an_image_without_a_component_store_cannot_take_updates(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    view = open_view(build(SMALL), 1)
    view.tree.remove("Windows/System32/config/COMPONENTS")
    outcome = apply(expanded("small"), view, options)
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_SUPPORTED, "image-damaged")


def test_a_directory_where_a_file_belongs_fails_the_update(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    view = open_view(build(SMALL), 1)
    view.tree.make_directory("Windows/System32/every.dll/deep")
    outcome = apply(expanded("every-element"), view, options)
    assert (outcome.verdict, outcome.code) == (Verdict.FAILED, "path-conflict")
    assert outcome.changes is None


@pytest.mark.parametrize("name", ["every.dll", "linked.dll"], ids=["destination", "link"])
def test_a_link_where_a_file_belongs_is_named_and_stays(
    build: Build, expanded: Expand, options: ApplyOptions, name: str
) -> None:
    view = open_view(build(SMALL), 1)
    path = f"Windows/System32/{name}"
    view.tree.put_file(path, bytes(20), attributes=0x20)
    view.tree.set_reparse(path, Reparse(SYMLINK, bytes(20)))
    outcome = apply(expanded("every-element"), view, options)
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_SUPPORTED, "destination-link")
    assert path in outcome.text
    assert outcome.changes is None


def test_a_link_in_the_store_itself_is_not_written_over(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    view = open_view(build(SMALL), 1)
    done = changes_of(apply(expanded("small"), view, options))
    payload = next(
        edit.path
        for edit in done.tree
        if isinstance(edit, PutFile) and edit.path.endswith(".dll") and "/WinSxS/" in edit.path
    )
    view = open_view(build(SMALL), 1)
    view.tree.make_directory(payload.rpartition("/")[0])
    view.tree.put_file(payload, bytes(20), attributes=0x20)
    view.tree.set_reparse(payload, Reparse(SYMLINK, bytes(20)))
    outcome = apply(expanded("small"), view, options)
    assert (outcome.verdict, outcome.code) == (Verdict.FAILED, "path-conflict")
    assert payload in outcome.text
    assert outcome.changes is None


def test_an_image_whose_winners_are_gone_is_damaged(
    build: Build, expanded: Expand, options: ApplyOptions
) -> None:
    view = open_view(build(SMALL), 1)
    manifests = view.find("Windows/WinSxS/Manifests")
    assert manifests
    assert manifests.children
    name = next(
        entry.name
        for entry in manifests.children.values()
        if entry.name.startswith("amd64_practice-windows-shell_")
    )
    view.tree.remove(f"Windows/WinSxS/Manifests/{name}")
    outcome = apply(expanded("rollup"), view, options)
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_SUPPORTED, "image-damaged")


def test_cancelling_passes_through(build: Build, expanded: Expand, options: ApplyOptions) -> None:
    def cancel(event: Event) -> None:
        if event.phase == "stage components":
            raise Cancelled("by the test")

    with pytest.raises(Cancelled):
        apply(expanded("small"), open_view(build(SMALL), 1), options, cancel)


def test_differentials_do_not_get_this_far(expanded: Expand) -> None:
    with pytest.raises(NotSupported, match="differentials") as refused:
        expanded("psfx")
    assert refused.value.reason == "psfx"
