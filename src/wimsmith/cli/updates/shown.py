"""What is known of an update file, as people and programs read it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wimsmith.cli.output import human_size, print_line, print_table
from wimsmith.cli.updates.stages import BASE_OPTIONS, signers
from wimsmith.cli.updates.windows import windows_name
from wimsmith.cli.wimfile import printable
from wimsmith.offline.manifests.package import Compare, Parent
from wimsmith.offline.packages.facts import UpdateFacts
from wimsmith.offline.packages.factsdata import as_data
from wimsmith.offline.packages.obstacles import Reason
from wimsmith.offline.packages.planning import PlannedFacts
from wimsmith.offline.packages.trust.following import Link
from wimsmith.offline.packages.trust.report import TrustReport, TrustVerdict

_NO_UPDATE = "not-cbs"
_CONTAINERS = {"msu": ".msu", "cab": ".cab"}
_MORE = 3
_MOST = 8


class Native(StrEnum):
    """Whether this program can install an update, as far as the file alone tells."""

    YES = "yes"
    NO = "no"
    DEPENDS = "depends"


@dataclass(frozen=True, slots=True)
class Looked:
    """A file: facts, how far each of its packages is to be trusted, and the file itself."""

    facts: UpdateFacts
    reports: Mapping[str, TrustReport]
    about_file: TrustReport | None

    @property
    def is_update(self) -> bool:
        """Whether it is an update at all, of whatever kind."""
        return all(one.code != _NO_UPDATE for one in self.facts.obstacles)

    def report(self, facts: UpdateFacts) -> TrustReport | None:
        """How far the package is to be trusted that `facts` are about, None if unknown."""
        return None if facts.identity is None else self.reports.get(facts.identity.package_name)


def native(facts: UpdateFacts, report: TrustReport | None) -> Native:
    """Whether an update can be installed natively: no image is judged."""
    if facts.obstacles or (report and report.verdict is TrustVerdict.UNTRUSTED):
        return Native.NO
    return Native.DEPENDS if facts.conditions or unread(facts) else Native.YES


def unread(facts: UpdateFacts) -> int:
    """How many manifests could not be read."""
    return sum(bool(one.unread) for one in facts.components)


def looked_row(looked: Looked) -> dict[str, Any]:
    """Everything as data."""
    row = _part_row(looked, looked.facts)
    row["parts"] = [_part_row(looked, part) for part in looked.facts.parts]
    return row


def print_looked(looked: Looked, *, long: bool) -> None:
    """Tell people what a file is."""
    facts = looked.facts
    print_line(printable(f"{facts.source}: {headline(facts)}"))
    if not looked.is_update:
        return
    print_line()
    _print_part(looked, facts, long=long)
    for number, part in enumerate(facts.parts, 1):
        print_line()
        print_line(printable(f"package {number}, {part.name}: {headline(part)}"))
        print_line()
        _print_part(looked, part, long=long)


def headline(facts: UpdateFacts) -> str:
    """What an update is, in a line."""
    if facts.identity is None and facts.planning is None and facts.obstacles:
        return facts.obstacles[0].text
    kind = facts.release_type or ("Update" if facts.identity else "update")
    windows = " and ".join(windows_name(build) for build in facts.builds)
    parts = [facts.article, kind, f"for {windows}" if windows else ""]
    return ", ".join(part for part in (" ".join(filter(None, parts)), *_audience(facts)) if part)


def _part_row(looked: Looked, facts: UpdateFacts) -> dict[str, Any]:
    report = looked.report(facts)
    trust = report or looked.about_file
    row: dict[str, Any] = as_data(facts)
    row["native"] = native(facts, report).value
    row["trust"] = None
    if trust is not None:
        row["trust"] = {
            "verdict": trust.verdict.value,
            "broken": as_data(trust.broken),
            "file_signed": trust.file_signed,
            "test_root": trust.test_root,
            "unchecked": as_data(trust.unchecked),
        }
    return row


def _audience(facts: UpdateFacts) -> Iterator[str]:
    yield facts.architecture
    if facts.identity is not None:
        yield ", ".join(facts.languages) if facts.languages else ""


def _print_part(looked: Looked, facts: UpdateFacts, *, long: bool) -> None:
    report = looked.report(facts)
    lines = (
        ("title", facts.title),
        ("package", facts.identity.package_name if facts.identity else ""),
        ("leads to", f"{facts.leads_to}, by {facts.leads_to.stated_by}" if facts.leads_to else ""),
        *_needs(facts),
        ("replaces", _replaces(facts)),
        ("restart", facts.restart),
        ("permanence", facts.permanence),
        ("offered as", ", ".join(f"{one.name} {one.version}" for one in facts.capabilities)),
        ("published", facts.created[:10]),
        ("more", facts.support_url),
        ("brings", ", ".join(_brings(facts))),
        ("container", _container(facts)),
        *_planned(facts.planning),
        *_signatures(facts, report, looked.about_file),
    )
    _print_lines([(name, printable(text)) for name, text in lines if text])
    print_line()
    _print_native(facts, report)
    if long:
        _print_long(facts)


def _print_lines(lines: Sequence[tuple[str, str]]) -> None:
    """Names and texts below each other; one without a name goes on with what stands above."""
    width = max((len(name) for name, _ in lines), default=0) + 1
    for name, text in lines:
        print_line(f"{f'{name}:' if name else '':<{width}} {text}")


def _needs(facts: UpdateFacts) -> Iterator[tuple[str, str]]:
    """What has to be in an image; any one of the alternatives does."""
    wanted = [text for parent in facts.parents for text in _alternatives(parent)]
    for number, text in enumerate(wanted[:_MOST]):
        yield ("", f"or {text}") if number else ("needs", text)
    if len(wanted) > _MOST:
        yield "", f"or one of {len(wanted) - _MOST} others"
    if facts.installer_assembly is not None:
        yield "servicing stack", f"{facts.installer_assembly.version} or later"


def _alternatives(parent: Parent) -> Iterator[str]:
    same_build = Compare.EQUAL in {parent.build_compare, parent.service_compare}
    if parent.revision_compare is Compare.EQUAL:
        how = ""
    elif same_build:
        how = " or a later revision of this build"
    else:
        how = " or later"
    for one in parent.identities:
        language = "" if one.neutral_language else f" {one.language}"
        yield f"{one.name}{language} {one.version}{how}"


def _replaces(facts: UpdateFacts) -> str:
    families = {
        one.identity.family
        for one in facts.components
        if one.identity is not None and not one.is_deployment and one.identity.is_alone
    }
    if facts.identity is None:
        return ""
    components = f" and of {_counted(len(families), 'component')}" if families else ""
    return f"lower versions of this package{components}"


def _brings(facts: UpdateFacts) -> Iterator[str]:
    if facts.manifest_count:
        yield _counted(len(facts.packages), "package")
        if facts.branches:
            yield f"branches {', '.join(one.upper() for one in sorted(facts.branches))}"
        yield _counted(facts.manifest_count, "manifest")
        size = sum(one.size_bytes for one in facts.payload)
        yield f"{_counted(len(facts.payload), 'file')} of {human_size(size)}"


def _container(facts: UpdateFacts) -> str:
    size = human_size(facts.size_bytes)
    if facts.kind is None:
        is_wim = any(one.code == "container-wim" for one in facts.obstacles)
        return f".msu that is a WIM file, {size}" if is_wim else size
    text = f"{_CONTAINERS[facts.kind.value]}, {size}"
    if facts.index is None:
        return text
    deltas = ", ".join(f"{count} {kind} deltas" for kind, count in facts.index.deltas.items())
    stored = f"{facts.index.members} stored, {facts.index.copies} copies"
    return f"{text}; a container index of {', '.join(filter(None, (stored, deltas)))}"


def _planned(planning: PlannedFacts | None) -> Iterator[tuple[str, str]]:
    """What a package that is not opened says of itself."""
    if planning is None:
        return
    yield "made against", str(planning.needs_build or "")
    yield "carries stack", ", ".join(planning.servicing_stacks)
    if planning.differentials is not None:
        counts = planning.differentials.differentials
        yield "differentials", ", ".join(f"{count} {kind}" for kind, count in counts.items())
    yield "would need", planning.needed
    for number, text in enumerate(planning.unread[:_MORE]):
        yield "" if number else "not read", text


def _signatures(
    facts: UpdateFacts, report: TrustReport | None, about_file: TrustReport | None
) -> Iterator[tuple[str, str]]:
    known = about_file if report is None else report
    if known is None:
        yield "signatures", "not checked"
        return
    if known.file_signed:
        yield "file signed by", signers(known, Link.FILE_SIGNATURE)
    yield "catalogs by", signers(known, Link.CATALOG_SIGNATURE)
    if known.broken is not None:
        yield "trusted", f"no: {known.broken.text} ({known.broken.code})"
    elif report is None:
        inside = "" if facts.parts else "what is inside was not followed"
        yield "trusted", inside if known.file_signed else f"unknown: no signature, {inside}"
    elif report.unchecked:
        count = _counted(len(report.unchecked), "compressed manifest")
        yield "trusted", f"as far as it was followed: all but {count}"
    else:
        whose = ", by a test root" if report.test_root else ""
        yield "trusted", f"yes, every link holds{whose}"


def _print_native(facts: UpdateFacts, report: TrustReport | None) -> None:
    verdict = native(facts, report)
    if verdict is Native.YES:
        print_line("native installation: yes, in images that have what it needs")
        return
    if verdict is Native.DEPENDS:
        print_line("native installation: depends on the image")
        if count := unread(facts):
            what = _counted(count, "compressed manifest")
            print_line(f"  {what} not read, for want of a text from the image: {BASE_OPTIONS}")
        _print_reasons(facts.conditions)
        return
    trusted = report is None or report.broken is None
    print_line(f"native installation: no{'' if trusted else ', it is not trusted'}")
    _print_reasons(facts.obstacles)
    _print_reasons(facts.conditions)


def _print_reasons(reasons: Sequence[Reason]) -> None:
    """Reasons, those with one code and sentence together with where they stand."""
    places: dict[tuple[str, str], list[str]] = {}
    for one in reasons:
        places.setdefault((one.code, one.text), []).append(one.where)
    for (code, text), where in places.items():
        print_line(printable(f"  {code}: {text}"))
        named = [name for name in where if name and name not in text]
        for name in named[:_MORE]:
            print_line(printable(f"    in {name}"))
        if len(named) > _MORE:
            print_line(f"    and in {len(named) - _MORE} more; --json names all")


def _print_long(facts: UpdateFacts) -> None:
    if facts.units:
        print_line()
        print_table(
            ("update", "branch", "installed if", "else", "brings"),
            [
                (
                    printable(one.name),
                    one.branch,
                    printable("; ".join(one.conditions) or "always"),
                    one.otherwise,
                    f"{len(one.packages)} packages, {len(one.deployments)} deployments",
                )
                for one in facts.units
            ],
        )
    if facts.components:
        print_line()
        print_table(
            ("component", "branch", "elements", "advanced"),
            [
                (
                    one.keyform,
                    ", ".join(one.branches),
                    one.unread or _elements(one.primitive, is_deployment=bool(one.is_deployment)),
                    printable(", ".join(one.advanced)),
                )
                for one in facts.components
            ],
        )
    if facts.payload:
        print_line()
        print_table(
            ("size", "sha256", "file"),
            [(one.size_bytes, one.digest, printable(one.name)) for one in facts.payload],
        )
    if facts.planning is not None and facts.planning.members:
        print_line()
        rows = [(one.size_bytes, printable(one.name)) for one in facts.planning.members]
        print_table(("size", "member"), rows)


def _elements(counts: Mapping[str, int], *, is_deployment: bool) -> str:
    found = Counter(counts)
    if is_deployment:
        return f"deployment of {found['dependency']}"
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
