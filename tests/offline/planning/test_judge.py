"""What would become of one update on one index: every verdict and reason, the first one first."""

from dataclasses import replace

import pytest

from offline.planning.kit import (
    FOUNDATION,
    INSTALLED,
    PERMANENT,
    STAGED,
    SUPERSEDED,
    carrying,
    component,
    manifest,
    named,
    simple,
    snapshot,
    update,
)
from wimsmith.errors import InvalidInput
from wimsmith.offline.manifests.identity import Version, parse_package_name
from wimsmith.offline.manifests.package import (
    Applicable,
    ChildPackage,
    Compare,
    DetectUpdate,
    Parent,
    Update,
)
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.exclusions import Exclusion, check_subject
from wimsmith.offline.planning.plan import judge
from wimsmith.offline.planning.reasons import Change, change_of
from wimsmith.offline.planning.snapshot import Snapshot
from wimsmith.offline.verdicts import Finding, UpdateStatus, Verdict, status

EDITION = named("Microsoft-Windows-EnterpriseEdition", "10.0.19041.1")
PROFESSIONAL = named("Microsoft-Windows-ProfessionalEdition", "10.0.19041.1")
SUPPORTED = Finding(Verdict.NOT_SUPPORTED, "psfx", "differentials")


def codes(state: Snapshot, one: UpdateDescription, **more: object) -> list[tuple[Verdict, str]]:
    found = judge(state, one, **more)  # type: ignore[arg-type]  # passed through
    return [(finding.verdict, finding.code) for finding in found.findings]


def test_an_update_that_applies_has_no_findings_and_a_plan() -> None:
    found = judge(snapshot(), simple("Package_for_KB1"))

    assert (found.verdict, found.decisive, found.findings) == (None, None, ())
    assert [(one.identity.name, one.target) for one in found.plan.packages] == [
        ("Package_for_KB1", INSTALLED)
    ]


@pytest.mark.parametrize(
    ("packages", "name", "expected"),
    [
        ({named("A"): INSTALLED}, "A", (Verdict.INSTALLED, "installed")),
        ({named("A"): PERMANENT}, "A", (Verdict.INSTALLED, "permanent")),
        ({named("A"): SUPERSEDED}, "A", (Verdict.SUPERSEDED, "superseded")),
        ({named("A", "1.0.0.1"): INSTALLED}, "A", (Verdict.SUPERSEDED, "superseded")),
        ({named("a", "1.0.0.1"): INSTALLED}, "A", (Verdict.SUPERSEDED, "superseded")),
    ],
)
def test_what_is_there_already(
    packages: dict[str, int], name: str, expected: tuple[Verdict, str]
) -> None:
    assert codes(snapshot(packages), simple(name)) == [expected]


def test_staged_and_lower_versions_are_in_nobodys_way() -> None:
    state = snapshot({named("A", "1.0.0.1"): STAGED, named("A", "0.9.0.0"): INSTALLED})

    assert codes(state, simple("A")) == []


class TestParents:
    def test_a_missing_parent_is_named_and_the_update_is_not_required(self) -> None:
        found = judge(snapshot(), simple("A", named("Absent"))).decisive

        assert found is not None
        assert found == Finding(Verdict.PREREQUISITE_MISSING, "parent", named("Absent"))
        assert status(found.verdict, found.code) is UpdateStatus.NOT_REQUIRED

    def test_a_parent_of_another_build_is_another_matter(self) -> None:
        other = FOUNDATION.replace("19041", "22621")

        assert codes(snapshot(), simple("A", other)) == [(Verdict.NOT_APPLICABLE, "build")]

    def test_editions_that_the_image_is_not_are_told_with_what_is_missing(self) -> None:
        found = judge(snapshot({PROFESSIONAL: INSTALLED}), simple("A", EDITION))

        assert [(one.verdict, one.code) for one in found.findings] == [
            (Verdict.NOT_APPLICABLE, "edition"),
            (Verdict.PREREQUISITE_MISSING, "parent"),
        ]
        assert found.findings[0].text == "made for Enterprise; the image is Professional"

    @pytest.mark.parametrize(
        ("parents", "editions"),
        [
            ((PROFESSIONAL,), ("Professional",)),
            ((EDITION, named("Other")), ("Professional",)),
            ((EDITION,), ()),
            ((EDITION,), ("Professional", "Enterprise")),
        ],
        ids=["own edition", "not only editions", "no edition known", "composed from it"],
    )
    def test_elsewhere_it_is_the_parent_that_is_missing(
        self, parents: tuple[str, ...], editions: tuple[str, ...]
    ) -> None:
        assert codes(snapshot(editions=editions), simple("A", *parents)) == [
            (Verdict.PREREQUISITE_MISSING, "parent")
        ]

    def test_one_edition_of_many_is_enough(self) -> None:
        assert codes(snapshot({PROFESSIONAL: INSTALLED}), simple("A", EDITION, PROFESSIONAL)) == []


class TestKinds:
    SAFE_OS = simple("Package_for_SafeOSDU", named("Microsoft-Windows-WinPE-Package"))
    DOTNET = simple("Package_for_DotNetRollup_481", named("Microsoft-Windows-NetFx-Package"))

    def test_a_recovery_update_belongs_into_the_recovery_image(self) -> None:
        found = judge(snapshot(), self.SAFE_OS)

        assert found.decisive is not None
        assert (found.verdict, found.decisive.code) == (Verdict.NOT_APPLICABLE, "kind")
        assert "winre.wim" in found.decisive.text

    def test_where_it_goes_in(self) -> None:
        recovery = {named("Microsoft-Windows-WinPE-Package"): INSTALLED}

        assert codes(snapshot(recovery, installation_type="WindowsPE"), self.SAFE_OS) == []

    def test_boot_images_have_no_net_framework(self) -> None:
        found = codes(snapshot(installation_type="WindowsPE"), self.DOTNET)

        assert found[0] == (Verdict.NOT_APPLICABLE, "kind")

    def test_an_image_that_does_not_say_what_it_is_gets_no_such_answer(self) -> None:
        assert codes(snapshot(installation_type=""), self.SAFE_OS) == [
            (Verdict.PREREQUISITE_MISSING, "parent")
        ]


class TestStack:
    @pytest.mark.parametrize(
        ("floor", "old"), [("10.0.19041.3745", False), ("10.0.19041.3746", True)]
    )
    def test_the_floor(self, floor: str, old: bool) -> None:
        one = update(manifest(named("A"), stack=floor))

        assert codes(snapshot(), one) == ([(Verdict.PREREQUISITE_MISSING, "stack-too-old")] * old)

    def test_a_child_that_stays_absent_asks_for_nothing(self) -> None:
        """A part for another language must not make the whole update fail."""
        needy = manifest(named("Child"), (named("Absent"),), stack="10.0.65000.1")
        own = Update("own", components=(component("D", "1.0.0.0"),))
        one = update(manifest(named("A"), (FOUNDATION,), own, carrying(needy)), needy)

        assert codes(snapshot(), one) == []

    def test_a_child_that_applies_does(self) -> None:
        needy = manifest(named("Child"), stack="10.0.65000.1")
        one = update(manifest(named("A"), (FOUNDATION,), carrying(needy)), needy)

        assert codes(snapshot(), one) == [(Verdict.PREREQUISITE_MISSING, "stack-too-old")]

    def test_a_new_stack_is_refused_by_name(self) -> None:
        one = simple("Package_for_ServicingStack_3745")

        assert (Verdict.NOT_SUPPORTED, "servicing-stack") in codes(snapshot(), one)


class TestChildren:
    @pytest.mark.parametrize("turned", [False, True])
    def test_a_child_of_two_carriers_goes_as_far_as_the_further_one(self, turned: bool) -> None:
        """Whichever of them stands first in the manifest, and its own children with it."""
        leaf = manifest(named("Leaf"))
        child = manifest(named("Child"), (FOUNDATION,), carrying(leaf))
        off = Applicable("staged", (), (DetectUpdate("Feature", in_parent=True),))
        carriers = [replace(carrying(child), name="off", applicable=off), carrying(child)]
        top = manifest(named("A"), (FOUNDATION,), *(carriers[::-1] if turned else carriers))
        state = snapshot(updates={FOUNDATION: {"Feature": STAGED}})

        plan = judge(state, update(top, child, leaf)).plan

        assert [(one.identity.name, one.target, one.depth) for one in plan.packages] == [
            ("A", INSTALLED, 0),
            ("Child", INSTALLED, 1),
            ("Leaf", INSTALLED, 2),
        ]

    def test_a_child_of_two_carriers_is_owned_by_both(self) -> None:
        """So it stays when one of them goes; and users see it if one of them shows it."""
        child = manifest(named("Child"))
        shown = Update("shown", packages=(ChildPackage(child.identity, "visible"),))
        hidden = Update("hidden", packages=(ChildPackage(child.identity, "hidden"),))
        between = manifest(named("Between"), (FOUNDATION,), shown)
        top = manifest(named("A"), (FOUNDATION,), hidden, carrying(between))

        plan = judge(snapshot(), update(top, between, child)).plan

        (found,) = (one for one in plan.packages if one.identity == child.identity)
        assert [one.name for one in found.owners] == ["A", "Between"]
        assert not found.hidden

    def test_a_part_follows_a_feature_that_comes_along(self) -> None:
        feature = Update("Feature", components=(component("D", "1.0.0.0"),))
        base = manifest(named("Base"), (FOUNDATION,), feature)
        follows = Applicable("staged", (), (DetectUpdate("Feature", in_parent=True),))
        own = Update("texts", components=(component("T", "1.0.0.0"),), applicable=follows)
        texts = manifest(named("Texts"), (named("Base"),), own)
        top = manifest(named("A"), (FOUNDATION,), carrying(base, texts))

        plan = judge(snapshot(), update(top, base, texts)).plan

        states = {one.identity.name: [each.state for each in one.updates] for one in plan.packages}
        assert states["Texts"] == [INSTALLED]

    def test_a_feature_is_as_the_newest_package_of_it_says(self) -> None:
        """The one that was replaced still has the state from when it was in use."""
        old, new = named("Base", "1.0.0.0"), named("Base", "2.0.0.0")
        follows = Applicable("staged", (), (DetectUpdate("Feature", in_parent=True),))
        own = Update("texts", components=(component("T", "1.0.0.0"),), applicable=follows)
        texts = Parent((parse_package_name(old),), version_compare=Compare.AT_LEAST)
        one = update(replace(manifest(named("Texts"), (), own), parents=(texts,)))
        state = snapshot(
            {old: SUPERSEDED, new: INSTALLED},
            updates={old: {"Feature": INSTALLED}, new: {"Feature": STAGED}},
        )

        plan = judge(state, one).plan

        assert [each.state for each in plan.packages[0].updates] == [STAGED]


class TestComponents:
    ONE, TWO = component("One", "10.0.19041.100"), component("Two", "10.0.19041.100")

    def test_all_of_them_there_in_higher_versions(self) -> None:
        one = update(manifest(named("A")), installs=(self.ONE, self.TWO))
        higher = [component(name, "10.0.19041.101") for name in ("One", "Two")]

        assert codes(snapshot(None, *higher), one) == [(Verdict.SUPERSEDED, "superseded")]

    @pytest.mark.parametrize("second", ["10.0.19041.100", "10.0.19041.99", None])
    def test_a_mix_is_applied(self, second: str | None) -> None:
        one = update(manifest(named("A")), installs=(self.ONE, self.TWO))
        present = [component("One", "10.0.19041.101")]
        present += [component("Two", second)] if second else []

        assert codes(snapshot(None, *present), one) == []

    @pytest.mark.parametrize(
        ("scope", "present", "change"),
        [
            ("nonSxS", None, Change.NEW),
            ("nonSxS", "10.0.19041.99", Change.UPGRADE),
            ("nonSxS", "10.0.19041.100", Change.SAME),
            ("nonSxS", "11.0.0.0", Change.DOWNGRADE),
            ("SxS", "11.0.0.0", Change.NEW),
            ("SxS", "10.0.19041.101", Change.DOWNGRADE),
        ],
    )
    def test_what_a_component_would_be(
        self, scope: str, present: str | None, change: Change
    ) -> None:
        """Assemblies that stand side by side replace each other within major and minor only."""
        there = [component("One", present, scope)] if present else []

        found = change_of(snapshot(None, *there), component("One", "10.0.19041.100", scope))

        assert found is change

    def test_when_every_leaf_is_absent(self) -> None:
        absent = manifest(named("Child"), (named("Absent"),))
        one = update(manifest(named("A"), (FOUNDATION,), carrying(absent)), absent)

        assert codes(snapshot(), one) == [(Verdict.NOT_APPLICABLE, "components")]

    def test_a_trigger_of_the_parent(self) -> None:
        follows = Applicable("staged", (), (DetectUpdate("Feature", in_parent=True),))
        followed = Update("one", components=(self.ONE,), applicable=follows)
        one = update(manifest(named("A"), (FOUNDATION,), followed))
        state = snapshot(updates={FOUNDATION: {"Feature": STAGED}})

        assert [plan.state for plan in judge(state, one).plan.packages[0].updates] == [STAGED]


class TestCheckpoints:
    """The image is 22H2, build 19045, whose files are those of 19041; it has revision 3803."""

    def lcu(self, needs: str, leads_to: str) -> UpdateDescription:
        return update(
            manifest(named("Package_for_RollupFix", "19041.1.1.1")), step=(needs, leads_to)
        )

    @pytest.mark.parametrize(
        ("needs", "leads_to", "expected"),
        [
            ("10.0.19041.1", "10.0.19041.4000", []),
            ("10.0.19041.3803", "10.0.19041.4000", []),
            (
                "10.0.19041.3804",
                "10.0.19041.4000",
                [(Verdict.PREREQUISITE_MISSING, "checkpoint-missing")],
            ),
            ("10.0.19041.1", "10.0.19041.3803", [(Verdict.SUPERSEDED, "superseded")]),
            ("10.0.19041.3804", "10.0.19041.3000", [(Verdict.SUPERSEDED, "superseded")]),
            ("10.0.22621.1", "10.0.22621.4000", [(Verdict.NOT_APPLICABLE, "build")]),
        ],
    )
    def test_against_the_build_of_the_files(
        self, needs: str, leads_to: str, expected: list[tuple[Verdict, str]]
    ) -> None:
        assert codes(snapshot(), self.lcu(needs, leads_to)) == expected

    def test_the_missing_one_is_named_and_the_update_stays_wanted(self) -> None:
        found = judge(snapshot(), self.lcu("10.0.19041.3900", "10.0.19041.4000")).decisive

        assert found is not None
        assert "10.0.19041.3900" in found.text
        assert status(found.verdict, found.code) is UpdateStatus.APPLICABLE

    def test_an_image_that_does_not_say_what_its_files_are_of(self) -> None:
        one = self.lcu("10.0.19041.1", "10.0.19041.4000")

        assert codes(snapshot(base_build=0), one) == []


class TestOrderOfFindings:
    def test_all_are_kept_and_the_first_verdict_decides(self) -> None:
        arm = update(
            manifest(named("A", architecture="arm64"), (named("Absent"),), stack="10.0.65000.1"),
            findings=(SUPPORTED,),
        )

        assert codes(snapshot(), arm) == [
            (Verdict.NOT_APPLICABLE, "arch"),
            (Verdict.NOT_SUPPORTED, "psfx"),
            (Verdict.PREREQUISITE_MISSING, "stack-too-old"),
            (Verdict.PREREQUISITE_MISSING, "parent"),
        ]

    def test_what_stops_the_index_is_found_with_every_update(self) -> None:
        pending = Finding(Verdict.NOT_SUPPORTED, "pending", "Windows has work to finish")

        assert codes(snapshot(), simple("A"), obstacles=(pending,)) == [
            (Verdict.NOT_SUPPORTED, "pending")
        ]

    def test_a_file_that_was_not_opened_is_judged_by_its_top_manifest(self) -> None:
        top = manifest(named("A"))
        one = UpdateDescription(top, {}, findings=(SUPPORTED,), is_whole=False)

        assert codes(snapshot(), one) == [(Verdict.NOT_SUPPORTED, "psfx")]
        assert codes(snapshot({named("A"): INSTALLED}), one)[0] == (Verdict.INSTALLED, "installed")

    def test_a_package_that_carries_itself_beyond_all_use_is_damaged(self) -> None:
        chain = [manifest(named("P0"))]
        for number in range(1, 80):
            chain.append(manifest(named(f"P{number}"), (FOUNDATION,), carrying(chain[-1])))
        one = update(chain[-1], *chain)

        found = judge(snapshot(), one).decisive

        assert found is not None
        assert (found.verdict, found.code) == (Verdict.FAILED, "damaged:damaged-package")


class TestExclusions:
    def excluded(self, subject: str, image: str = "") -> list[tuple[Verdict, str]]:
        rule = Exclusion(check_subject(subject), "breaks the till", "2026-11-21", image)
        return codes(snapshot(), self.ONE, exclusions=(rule,))

    ONE = update(manifest(named("Package_for_KB5005033", "19041.1.1.0")), article="KB5005033")

    @pytest.mark.parametrize(
        "subject",
        [
            "KB5005033",
            "kb5005033",
            "5005033",
            named("Package_for_KB5005033", "19041.1.1.0"),
            named("package_for_kb5005033", "19041.1.1.0"),
            named("Package_for_KB5005033").rpartition("~")[0],
            named("Package_for_KB5005033", ""),
        ],
    )
    def test_by_article_package_or_all_versions_of_it(self, subject: str) -> None:
        assert self.excluded(subject) == [(Verdict.NOT_ATTEMPTED, "excluded")]

    @pytest.mark.parametrize(
        "subject", ["KB5005034", named("Package_for_KB5005033", "19041.2.1.0")]
    )
    def test_others_are_not_meant(self, subject: str) -> None:
        assert self.excluded(subject) == []

    def test_it_says_where_since_when_and_why_and_comes_before_all_else(self) -> None:
        rule = Exclusion("KB5005033", "breaks the till", "2026-11-21", "WIM00001")
        broken = UpdateDescription(
            self.ONE.top, self.ONE.packages, {}, (SUPPORTED,), self.ONE.article
        )

        found = judge(snapshot(), broken, exclusions=(rule,))

        assert [one.code for one in found.findings] == ["excluded", "psfx"]
        assert found.findings[0].text == (
            "KB5005033 is excluded for image WIM00001 since 2026-11-21: breaks the till"
        )

    @pytest.mark.parametrize(
        "subject", ["", "KB", "KB12", "Package", "a~b~c", "a~b~c~d~e~f", "a~b~c~d~x"]
    )
    def test_what_is_neither_is_refused_with_the_form_to_use(self, subject: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            check_subject(subject)
        assert "KB5005033" in (refused.value.hint or "")


def test_versions_are_of_the_files_whatever_is_enabled_on_top() -> None:
    assert snapshot().image.serviced_version == Version(10, 0, 19041, 3803)
    assert snapshot(base_build=0).image.serviced_version == Version(10, 0, 19045, 3803)
