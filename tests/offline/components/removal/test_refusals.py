"""What cannot be removed is refused by name, and nothing is changed."""

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest

from offline.components.removal.kit import CBS, WINNERS, Workshop
from offline.components.removal.updates import NEW, OLD, component, update
from offline.workbench import NOW
from wimsmith.errors import Cancelled
from wimsmith.offline.changes import CreateKey, DeleteKey, DeleteValue, Remove, SetValue
from wimsmith.offline.components.cleanup.clean import clean_up
from wimsmith.offline.components.outcome import Outcome
from wimsmith.offline.image import open_view
from wimsmith.offline.progress import Event
from wimsmith.offline.verdicts import NOT_SUPPORTED_LINE, Verdict
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.practice.maker import program
from wimsmith.practice.names import WINDOWS_TOKEN, Identity, component_key, winners_key
from wimsmith.practice.presets import preset
from wimsmith.practice.spec import (
    ComponentSpec,
    FileSpec,
    KeySpec,
    PackageSpec,
    PackageState,
    ParentSpec,
    UpdateEntry,
    ValueSpec,
)

Opened = Callable[..., Workshop]
CONFIGURATION = (
    '<configuration xmlns="urn:schemas-microsoft-com:asm.v3"><elements/></configuration>'
)
OTHER = CONFIGURATION.replace("<elements/>", "<elements><one/></elements>")


def refused(outcome: Outcome, code: str) -> str:
    """The reasons of an outcome that changes nothing, which must be `code` alone or among them."""
    assert outcome.changes is None
    assert outcome.packages == ()
    assert outcome.verdict is not Verdict.APPLIED
    codes = {finding.code for finding in outcome.findings}
    assert codes == {code}, outcome.findings
    return " ".join(finding.text for finding in outcome.findings)


def name_of(made: Workshop, package: str, language: str = "") -> str:
    version = made.maker.facts.full_version
    return f"{package}~{WINDOWS_TOKEN}~amd64~{language}~{version}"


def test_not_installed(workshop: Opened) -> None:
    made = workshop()
    unknown = "Package_for_KB5999999~31bf3856ad364e35~amd64~~1.0.0.0"
    outcome = made.remove(unknown)
    assert outcome.verdict is Verdict.NOT_APPLICABLE
    assert unknown in refused(outcome, "not-installed")
    assert refused(made.remove(), "not-installed")


def test_all_or_nothing_when_one_of_two_is_not_installed(workshop: Opened) -> None:
    made = workshop()
    package = made.install(update(made.maker, "KB5000200", OLD))
    refused(made.remove(package, "Package_for_KB5999999~x~amd64~~1.0.0.0"), "not-installed")


@pytest.mark.parametrize("package", ["Microsoft-Windows-Foundation-Package"])
def test_parts_of_windows_are_permanent(workshop: Opened, package: str) -> None:
    made = workshop()
    outcome = made.remove(name_of(made, package))
    assert outcome.code == "permanent"
    assert {finding.code for finding in outcome.findings} >= {"permanent", "needed-by"}
    assert outcome.changes is None


def test_packages_in_the_permanent_state(workshop: Opened) -> None:
    made = workshop()
    package = made.install(update(made.maker, "KB5000200", OLD))
    key = rf"{CBS}\Packages\{package}"
    made.edit(SetValue("SOFTWARE", key, "CurrentState", 4, struct.pack("<I", 0x80)))
    refused(made.remove(package), "permanent")


def test_packages_that_say_they_are_permanent(workshop: Opened) -> None:
    made = workshop()
    package = made.install(update(made.maker, "KB5000200", OLD))
    mum = f"Windows/servicing/Packages/{package}.mum"
    with made.store() as store:
        data = store.draft.read(mum)
    made.put(mum, data.replace(b" releaseType=", b' permanence="permanent" releaseType='))
    refused(made.remove(package), "permanent")


def test_languages_of_windows_stay(workshop: Opened) -> None:
    made = workshop()
    name = name_of(made, "Microsoft-Windows-Client-LanguagePack-Package", "en-US")
    refused(made.remove(name), "language-pack")


def test_servicing_stacks_stay(workshop: Opened) -> None:
    maker = workshop().maker
    deployment = maker.deployment("Microsoft-Windows-ServicingStack-Practice", OLD)
    entry = UpdateEntry("stack", deployment)
    package = maker.package("KB5000200", "1.0.0.0", entry, state=PackageState.INSTALLED)
    made = workshop(extra_packages=(package,))
    refused(made.remove(package.identity.package_name), "permanent")


def needing(made: Workshop, parent: PackageSpec) -> PackageSpec:
    """An update of something else that names another one as its parent."""
    identity = Identity("Practice-Needing", made.maker.version(OLD))
    own = replace(component(made.maker, OLD), identity=identity)
    parents = (ParentSpec((parent.identity,), compare={}),)
    return update(made.maker, "KB5000201", OLD, own, parents=parents)


def test_packages_that_others_name_as_parent_are_listed_with_them(workshop: Opened) -> None:
    made = workshop()
    parent = update(made.maker, "KB5000200", OLD)
    name = made.install(parent)
    dependant = made.install(needing(made, parent))
    assert dependant in refused(made.remove(name), "needed-by")
    outcome = made.removed(name, dependant)
    assert outcome.packages == (dependant, name)


def test_another_version_of_the_parent_will_do(workshop: Opened) -> None:
    """A dependant that accepts the older version does not hold the newer one."""
    made = workshop()
    made.install(update(made.maker, "KB5000200", OLD))
    newer = update(made.maker, "KB5000200", NEW)
    older = update(made.maker, "KB5000200", OLD)
    name = made.install(newer)
    made.install(needing(made, older))
    assert made.removed(name).packages == (name,)


def test_a_part_of_another_package_is_not_removed_alone(workshop: Opened) -> None:
    made = workshop()
    top = made.install(preset("rollup", made.generation))
    part = top.replace("Package_for_RollupFix", "Package_1_for_KB5000001")
    assert top in refused(made.remove(part), "needed-by")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (1, "2099/01/01:00:00:00.000\0".encode("utf-16-le")),
        (11, struct.pack("<Q", NOW + 1)),
        (11, struct.pack("<Q", NOW)),
        (3, b"nobody knows"),
        (1, "when?\0".encode("utf-16-le")),
        (1, "2024/99/99:00:00:00.000\0".encode("utf-16-le")),
    ],
)
def test_after_a_reset_nothing_older_goes(workshop: Opened, kind: int, data: bytes) -> None:
    made = workshop()
    package = made.install(update(made.maker, "KB5000200", OLD))
    made.edit(SetValue("SOFTWARE", CBS, "LastResetBase_UTC", kind, data))
    refused(made.remove(package), "reset-base")


def test_what_came_after_a_reset_may_go(workshop: Opened) -> None:
    made = workshop()
    package = made.install(update(made.maker, "KB5000200", OLD))
    text = "2015/07/01:10:00:00.000\0".encode("utf-16-le")
    made.edit(SetValue("SOFTWARE", CBS, "LastResetBase_UTC", 1, text))
    made.removed(package)


def cleaned(made: Workshop) -> str:
    """The older version as a clean-up leaves it: its deployment is there, the component is not."""
    key = component_key(component(made.maker, OLD).identity)
    version = made.maker.version(OLD)
    made.edit(
        Remove(f"Windows/WinSxS/{key}"),
        Remove(f"Windows/WinSxS/Manifests/{key}.manifest"),
        DeleteKey("COMPONENTS", rf"DerivedData\Components\{key}"),
    )
    family = winners_key(component(made.maker, OLD).identity)
    branch = made.maker.facts.version.rpartition(".")[0]
    made.edit(DeleteValue("SOFTWARE", rf"{WINNERS}\{family}\{branch}", version))
    return key


def test_the_older_version_is_gone_from_the_store(workshop: Opened) -> None:
    made = workshop()
    made.install(update(made.maker, "KB5000200", OLD))
    newer = made.install(update(made.maker, "KB5000201", NEW))
    key = cleaned(made)
    assert key in refused(made.remove(newer), "reset-base")


def test_a_superseded_package_that_is_no_longer_whole(workshop: Opened) -> None:
    made = workshop()
    made.install(update(made.maker, "KB5000200", OLD))
    newer = made.install(update(made.maker, "KB5000200", NEW))
    key = cleaned(made)
    assert key in refused(made.remove(newer), "reset-base")


def test_a_file_of_the_older_version_is_gone(workshop: Opened) -> None:
    made = workshop()
    made.install(update(made.maker, "KB5000200", OLD))
    newer = made.install(update(made.maker, "KB5000201", NEW))
    key = component_key(component(made.maker, OLD).identity)
    made.edit(Remove(f"Windows/WinSxS/{key}/start.exe"))
    assert f"{key}/start.exe" in refused(made.remove(newer), "reset-base")


def test_a_file_of_the_older_version_is_spoilt(workshop: Opened) -> None:
    made = workshop()
    made.install(update(made.maker, "KB5000200", OLD))
    newer = made.install(update(made.maker, "KB5000201", NEW))
    key = component_key(component(made.maker, OLD).identity)
    made.put(f"Windows/WinSxS/{key}/start.exe", b"other bytes")
    assert f"{key}/start.exe" in refused(made.remove(newer), "image-damaged")


def test_pending_work_comes_first(workshop: Opened) -> None:
    made = workshop()
    package = made.install(update(made.maker, "KB5000200", OLD))
    made.edit(CreateKey("SOFTWARE", rf"{CBS}\RebootPending"))
    refused(made.remove(package), "pending")


def test_a_missing_manifest_of_a_package_is_damage(workshop: Opened) -> None:
    made = workshop()
    package = made.install(update(made.maker, "KB5000200", OLD))
    made.edit(Remove(f"Windows/servicing/Packages/{package}.mum"))
    refused(made.remove(package), "image-damaged")


def test_installers_that_ran_for_the_newer_version_alone(workshop: Opened) -> None:
    """The element is the same in both versions but for its content: it had run again."""
    made = workshop()
    made.install(update(made.maker, "KB5000200", OLD))
    newer = made.install(update(made.maker, "KB5000201", NEW))
    made.replace_manifest(component(made.maker, NEW), CONFIGURATION)
    refused(made.remove(newer), "advanced-changed:configuration")


def test_installers_that_differ_between_the_versions(workshop: Opened) -> None:
    made = workshop()
    made.install(update(made.maker, "KB5000200", OLD))
    newer = made.install(update(made.maker, "KB5000201", NEW))
    made.replace_manifest(component(made.maker, OLD), CONFIGURATION)
    made.replace_manifest(component(made.maker, NEW), OTHER)
    refused(made.remove(newer), "advanced-changed:configuration")


def test_the_same_installers_in_both_versions_are_no_obstacle(workshop: Opened) -> None:
    made = workshop()
    made.install(update(made.maker, "KB5000200", OLD))
    newer = made.install(update(made.maker, "KB5000201", NEW))
    made.replace_manifest(component(made.maker, OLD), CONFIGURATION)
    made.replace_manifest(component(made.maker, NEW), CONFIGURATION)
    made.removed(newer)


def test_installers_of_a_component_that_goes_for_good(workshop: Opened) -> None:
    made = workshop()
    package = made.install(update(made.maker, "KB5000200", OLD))
    made.replace_manifest(component(made.maker, OLD), CONFIGURATION)
    refused(made.remove(package), "advanced-gone:configuration")


def test_a_value_about_which_two_others_disagree(workshop: Opened) -> None:
    made = workshop()
    names = []
    for number, who in enumerate(("First", "Second", "Third")):
        key = KeySpec(
            "HKEY_LOCAL_MACHINE\\SOFTWARE\\Practice\\Common", (ValueSpec("Who", "REG_SZ", who),)
        )
        file = FileSpec(f"{who}.dll", program(who))
        one = ComponentSpec(Identity(f"Practice-{who}", made.maker.version(OLD)), (file,), (key,))
        names.append(made.install(update(made.maker, f"KB500020{number}", OLD, one)))
    assert "Who" in refused(made.remove(names[2]), "shared-value").replace("WHO", "Who")
    assert made.remove(names[0]).verdict is Verdict.APPLIED


def test_refusals_are_logged_in_the_words_of_windows(
    workshop: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    made = workshop()
    made.remove(name_of(made, "Microsoft-Windows-Client-LanguagePack-Package", "en-US"))
    place = caplog.messages.index(NOT_SUPPORTED_LINE)
    assert caplog.messages[place + 1].startswith("language-pack: ")


def test_cancelling_passes_through(workshop: Opened) -> None:
    made = workshop()
    package = made.install(update(made.maker, "KB5000200", OLD))

    def cancel(event: Event) -> None:
        if event.phase == "remove components":
            raise Cancelled("by the test")

    with pytest.raises(Cancelled):
        made.remove(package, progress=cancel)


@pytest.mark.parametrize("reset_base", [False, True])
def test_a_clean_up_that_resets_the_base_makes_removal_impossible(
    workshop: Opened, *, reset_base: bool
) -> None:
    made = workshop()
    made.install(update(made.maker, "KB5000200", OLD))
    newer = made.install(update(made.maker, "KB5000201", NEW))
    with open_wim(made.bench.base) as wim:
        view = open_view(wim, 1, made.sets)
        outcome = clean_up(view, made.bench.folder / "cleaning", NOW, reset_base=reset_base)
    assert outcome.changes is not None, outcome
    made.sets.append(outcome.changes)
    if reset_base:
        refused(made.remove(newer), "reset-base")
    else:
        made.removed(newer)
