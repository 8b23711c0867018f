"""Updates stored as a container index, installed end to end: what is not full payload is made so.

The expectation (`oracle`) reads the same package as full payload, proved by its own catalogs.
"""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from offline.workbench import Bench, bench, conventions
from oracle.compare import differences
from oracle.expect import expected_after
from oracle.observe import observe
from oracle.package import read_update
from wimsmith.offline.packages.extract import extract_update
from wimsmith.offline.verdicts import Verdict
from wimsmith.practice.maker import Maker
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import (
    FLAGS_A,
    FLAGS_B,
    Applicable,
    Generation,
    ImageSpec,
    PackageSpec,
    StoreFlags,
    UpdateEntry,
)
from wimsmith.practice.updates import build_update

SMALL = ImageSpec(size_bytes=1 << 19, components=4)
FLAGS = pytest.mark.parametrize("flags", [FLAGS_A, FLAGS_B], ids=["flags A", "flags B"])
KB2999226 = "Windows6.1-KB2999226-x64.msu"
GENERAL, LIMITED = 300, 900
FIRST = "windows/system32/first/indexed.dll"


@pytest.fixture(scope="module")
def root() -> PracticeRoot:
    return PracticeRoot.new()


def in_both_forms(made: Bench, generation: Generation) -> tuple[Path, Path]:
    """The same update as an index of deltas and copies, and as full payload."""
    spec = preset("container-index", generation)
    indexed = build_update(spec, made.folder / "indexed.cab", root=made.root)
    full = build_update(replace(spec, indexed=False), made.folder / "full.cab", root=made.root)
    return indexed, full


def linked_revision(made: Bench, maker: Maker) -> int:
    """The branch whose file the library is."""
    links = "".join(observe(made.serviced, 1).entries[FIRST].links)
    (found,) = [one for one in (GENERAL, LIMITED) if f"_{maker.version(one)}_" in links]
    return found


@FLAGS
@pytest.mark.parametrize("generation", list(Generation))
def test_an_index_installs_what_its_full_payload_would(
    tmp_path: Path, root: PracticeRoot, flags: StoreFlags, generation: Generation
) -> None:
    made = bench(tmp_path, root, replace(SMALL, flags=flags, generation=generation))
    indexed, full = in_both_forms(made, generation)

    outcome = made.apply(indexed)

    assert (outcome.verdict, outcome.code) == (Verdict.APPLIED, "applied"), outcome.findings
    assert differences(made.expected(full), observe(made.serviced, 1)) == []
    maker = Maker(generation)
    assert linked_revision(made, maker) == GENERAL, "the limited branch is staged only"
    limited = f"_{maker.version(LIMITED)}_"
    staged = [path for path in observe(made.serviced, 1).entries if limited in path]
    assert any(path.endswith("/indexed.dll") for path in staged)
    assert made.next("again").apply(indexed).verdict is Verdict.INSTALLED


@FLAGS
def test_the_limited_branch_is_installed_where_its_family_is_there(
    tmp_path: Path, root: PracticeRoot, flags: StoreFlags
) -> None:
    maker = Maker(Generation.WINDOWS_10)
    older = maker.component("Practice-Indexed", 200)
    deployment = maker.deployment("Practice-Older", 200, older)
    rule = Applicable("staged", elevate=(("revision", (older.identity,)),))
    entry = UpdateEntry("5078001-1_neutral_LDR", deployment, applicable=rule)
    package = maker.package("KB5078001", "1.0.0.0", entry)
    made = bench(tmp_path, root, replace(SMALL, flags=flags, extra_packages=(package,)))
    indexed, full = in_both_forms(made, Generation.WINDOWS_10)

    assert made.apply(indexed).verdict is Verdict.APPLIED

    assert differences(made.expected(full), observe(made.serviced, 1)) == []
    assert linked_revision(made, maker) == LIMITED


def test_a_branch_that_cannot_be_decided_is_refused_by_name(
    tmp_path: Path, root: PracticeRoot
) -> None:
    made = bench(tmp_path, root, SMALL)
    spec = preset("container-index")
    undecided = build_update(
        replace(spec, package=_by_distribution(spec.package)), tmp_path / "u.cab", root=root
    )

    outcome = made.apply(undecided)

    assert (outcome.verdict, outcome.code) == (Verdict.NOT_SUPPORTED, "elevate-unproven")
    assert "distribution" in outcome.text
    assert not outcome.changed
    assert not made.changes.exists()


def _by_distribution(package: PackageSpec) -> PackageSpec:
    """The package with a rule that nobody has seen evaluated for its first branch."""
    first, *others = package.updates
    assert first.applicable is not None
    elevate = tuple(("distribution", identities) for _, identities in first.applicable.elevate)
    rule = replace(first.applicable, elevate=elevate)
    return replace(package, updates=(replace(first, applicable=rule), *others))


@FLAGS
def test_a_real_update_of_deltas_is_installed_as_its_manifests_say(
    real: Path, tmp_path: Path, root: PracticeRoot, flags: StoreFlags
) -> None:
    update = real / "msu" / KB2999226
    spec = replace(SMALL, flags=flags, generation=Generation.WINDOWS_7)
    made = bench(tmp_path, root, spec)

    outcome = made.apply(update)

    assert (outcome.verdict, outcome.code) == (Verdict.APPLIED, "applied"), outcome.findings
    assert len(outcome.packages) == 3
    extract_update(update, tmp_path / "full")
    want = expected_after(
        read_update(tmp_path / "full"), observe(made.base, 1), conventions(made.flags)
    )
    after = observe(made.serviced, 1)
    assert differences(want, after) == []
    links = "".join(after.entries["windows/system32/ucrtbase.dll"].links)
    assert "18937" in links
    assert "23140" not in links
    assert made.next("again").apply(update).verdict is Verdict.INSTALLED


def test_the_real_update_leaves_the_published_names_and_hashes(
    real: Path, tmp_path: Path, root: PracticeRoot
) -> None:
    """Judged by wimlib's listing: every component of the package is in the store, and no other."""
    text = (real / "vectors" / "ipd_expected.json").read_text(encoding="utf-8")
    expected = json.loads(text)["KB2999226"]
    made = bench(tmp_path, root, replace(SMALL, generation=Generation.WINDOWS_7))
    before = hashes(made.base)

    assert made.apply(real / "msu" / KB2999226).verdict is Verdict.APPLIED

    after = hashes(made.serviced)
    store = "/windows/winsxs/"
    wanted = {
        (f"{store}{name}" if "/" in name else f"{store}manifests/{name}").lower(): one["hash"]
        for name, one in expected.items()
        if "/" in name or name.endswith(".manifest")
    }
    assert len(wanted) > 100
    assert {path: after.get(path) for path in wanted} == wanted
    new = {path for path in after.keys() - before.keys() if path.startswith(store)}
    beside = (f"{store}catalogs/", f"{store}backup/")
    assert {path for path in new if not path.startswith(beside)} == wanted.keys()


def hashes(wim: Path) -> dict[str, str]:
    """SHA-1 of every file that holds something, by its path in lower case, as wimlib lists it."""
    listing = subprocess.run(
        ["wimlib-imagex", "dir", wim, "1", "--detailed"], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, str] = {}
    path = ""
    for line in listing.splitlines():
        name, _, value = line.partition("= ")
        if name.strip() == "Full Path":
            path = value.strip('"').replace("\\", "/").lower()
        elif name.strip() == "Hash" and int(value, 16):
            found.setdefault(path, value.strip().removeprefix("0x").lower())
    return found
