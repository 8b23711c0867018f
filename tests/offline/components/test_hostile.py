"""Packages made to do harm: each ends as a verdict, soon, and nothing wrong is ever applied."""

import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from offline.components.kit import files_of, outcome_of, package_of, resigned
from wimsmith.offline.changes import ChangeSet, SetValue
from wimsmith.offline.components.install.apply import ApplyOptions
from wimsmith.offline.components.outcome import Outcome
from wimsmith.offline.image import ImageView, open_view
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.verdicts import Verdict
from wimsmith.offline.wim.format.container import Wim
from wimsmith.practice.catalogs import CatalogSpec, build_catalog
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import Identity, component_key
from wimsmith.practice.presets import preset
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.spec import (
    Applicable,
    DeploymentSpec,
    FileSpec,
    Generation,
    KeySpec,
    PackageSpec,
    UpdateEntry,
    ValueSpec,
)
from wimsmith.practice.updates import cabinet_files

MAKER = Maker(Generation.WINDOWS_10)
SOFTWARE = "HKEY_LOCAL_MACHINE\\SOFTWARE\\"
MOST_SECONDS = 20.0
Apply = Callable[[dict[str, bytes]], Outcome]


@pytest.fixture
def view(image: Wim) -> ImageView:
    return open_view(image, 1)


@pytest.fixture
def apply(tmp_path: Path, view: ImageView, practice_signer: PracticeRoot) -> Apply:
    """Apply the files of an update; what is applied must be fit to be committed."""
    numbers = iter(range(100_000))
    trust = TrustPolicy(
        Anchors(), test=Anchors((practice_signer.certificate,)), allow_test_roots=True
    )
    options = ApplyOptions(trust, 133_600_000_000_000_000)

    def run(files: dict[str, bytes]) -> Outcome:
        started = time.monotonic()
        outcome = outcome_of(files, tmp_path / str(next(numbers)), view, options)
        assert (outcome.changes is not None) == (outcome.verdict is Verdict.APPLIED)
        if outcome.changes is not None:
            after = open_view(view.wim, 1, [outcome.changes])
            for hive in after.changed_hives().values():
                hive.serialize(options.now)
        assert time.monotonic() - started < MOST_SECONDS
        return outcome

    return run


@pytest.fixture
def files(practice_signer: PracticeRoot) -> dict[str, bytes]:
    """A good package with one component."""
    return files_of(
        package_of(MAKER, MAKER.component("Practice-Good", 300)), practice_signer, MAKER
    )


def keys_of(*values: ValueSpec, path: str = "Hostile") -> tuple[KeySpec, ...]:
    return (KeySpec(SOFTWARE + path, values),)


def text(value: str, name: str = "value", kind: str = "REG_SZ", **more: str) -> ValueSpec:
    return ValueSpec(name, kind, value, **more)  # type: ignore[arg-type]


MULTIPLYING = {f"s{n}": f"$(string.s{n - 1})" * 40 if n else "x" * 100 for n in range(8)}
GOOD = MAKER.component("Practice-Good", 300)
COMPONENTS: dict[str, tuple[dict[str, object], str]] = {
    "texts that multiply": (
        {"keys": keys_of(text("$(string.s7)")), "strings": MULTIPLYING},
        "limit-exceeded",
    ),
    "a list of very many strings": (
        {"keys": keys_of(text(",".join(['"a"'] * 100_000), kind="REG_MULTI_SZ"))},
        "applied",
    ),
    "a key name too long": ({"keys": keys_of(path="k" * 256)}, "damaged:unsafe-path"),
    "keys too deep": ({"keys": keys_of(path="k\\" * 600 + "k")}, "limit-exceeded"),
    "a value name too long": (
        {"keys": keys_of(text("", "n" * 16_384))},
        "damaged:unsafe-path",
    ),
    "a hint nobody knows": (
        {"keys": keys_of(text("x", operation_hint="append"))},
        "advanced-new:registryValue/operationHint",
    ),
    "a hive": (
        {"files": (FileSpec("software", program("x"), "$(runtime.system32)\\config\\"),)},
        "hive",
    ),
    "a log of a hive": (
        {"files": (FileSpec("SAM.LOG1", program("x"), "$(runtime.system32)\\Config"),)},
        "hive",
    ),
    "a file of another component": (
        {
            "files": (
                FileSpec(
                    "good.dll",
                    program("x"),
                    f"$(runtime.windows)\\winsxs\\{component_key(GOOD.identity)}\\",
                ),
            )
        },
        "store-destination",
    ),
    "a manifest of a package": (
        {"files": (FileSpec("x.mum", program("x"), "$(runtime.windows)\\servicing\\Packages"),)},
        "store-destination",
    ),
    "a link into the store": (
        {"files": (FileSpec("x", program("x"), links=("$(runtime.windows)\\WinSxS\\x",)),)},
        "store-destination",
    ),
    "a file where a folder is": (
        {"files": (FileSpec("System32", program("x"), "$(runtime.windows)\\"),)},
        "path-conflict",
    ),
    "a folder where a file is": (
        {"files": (FileSpec("x.dll", program("x"), "$(runtime.system32)\\ntoskrnl.exe\\"),)},
        "path-conflict",
    ),
    "a path through a link": (
        {"files": (FileSpec("x", program("x"), "$(runtime.bootDrive)\\Documents and Settings"),)},
        "path-conflict",
    ),
    "a way out": (
        {"files": (FileSpec("x", program("x"), "$(runtime.system32)\\..\\..\\..\\"),)},
        "damaged:unsafe-path",
    ),
    "a number that is none": (
        {"keys": keys_of(text("1_0", kind="REG_DWORD"))},
        "damaged:damaged-manifest",
    ),
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_components_that_ask_for_too_much(
    apply: Apply, practice_signer: PracticeRoot, name: str
) -> None:
    content, code = COMPONENTS[name]
    hostile = MAKER.component("Practice-Hostile", 300, **content)
    outcome = apply(files_of(package_of(MAKER, GOOD, hostile), practice_signer, MAKER))
    assert outcome.code == code


def nested_packages(depth: int) -> PackageSpec:
    package = MAKER.simple("KB0", "Practice-Leaf")
    for number in range(1, depth):
        package = MAKER.package(f"KB{number}", "1.0.0.0", UpdateEntry("next", child=package))
    return package


def followers(count: int) -> PackageSpec:
    updates = [
        UpdateEntry(
            f"u{number}",
            MAKER.deployment(f"D{number}", 1),
            applicable=Applicable(follow_self=f"u{number + 1}"),
        )
        for number in range(count)
    ]
    return MAKER.package("KB5066001", "1.0.0.0", *updates)


def deployment_net(layers: int, width: int) -> PackageSpec:
    """Deployments that each list all of the next layer: many ways, few deployments."""
    below: tuple[DeploymentSpec, ...] = ()
    for layer in range(layers):
        below = tuple(
            DeploymentSpec(Identity(f"Net-{layer}-{number}", MAKER.version(1)), (), below)
            for number in range(width)
        )
    top = DeploymentSpec(Identity("Net", MAKER.version(1)), (), below)
    return MAKER.package("KB5066002", "1.0.0.0", UpdateEntry("net", top))


@pytest.mark.parametrize(
    ("package", "code"),
    [
        (nested_packages(40), "applied"),
        (nested_packages(120), "damaged:damaged-package"),
        (followers(40), "applied"),
        (followers(400), "damaged:damaged-package"),
        (deployment_net(6, 3), "applied"),
    ],
    ids=["nested", "nested too deep", "followers", "too many followers", "net"],
)
def test_packages_that_go_round_and_round(
    apply: Apply, practice_signer: PracticeRoot, package: PackageSpec, code: str
) -> None:
    assert apply(files_of(package, practice_signer, MAKER)).code == code


def with_text(files: dict[str, bytes], suffix: str, old: str, new: str) -> dict[str, bytes]:
    found = {name: data for name, data in files.items() if name.endswith(suffix)}
    assert any(old.encode() in data for data in found.values())
    return files | {n: data.replace(old.encode(), new.encode()) for n, data in found.items()}


@pytest.mark.parametrize(
    ("suffix", "old", "new", "code"),
    [
        (".mum", "<assembly ", '<!DOCTYPE a [<!ENTITY x "y">]><assembly ', "damaged-package"),
        (".manifest", "<assembly ", "<!DOCTYPE a []><assembly ", "damaged-manifest"),
        (".manifest", "<deployment", f'<deployment a="{"x" * 1_000_000}"', "applied"),
        (
            ".manifest",
            "</assembly>",
            f"<rescache>{'<a>' * 99}{'</a>' * 99}</rescache></assembly>",
            "limit-exceeded",
        ),
        (".mum", 'version="1.0.0.0"', 'version="1.0.0.0.0"', "damaged-package"),
        (".mum", 'name="made"', 'name="mäde"', "damaged-package"),
        (".mum", 'name="made"', "", "applied"),
        (".manifest", 'sddl="', 'sddl="(((', "damaged-security"),
        (".manifest", 'name="Practice-Good"', 'name="Practice-Göod"', "damaged-manifest"),
        (".manifest", 'name="Practice-Good"', "", "damaged-manifest"),
        (".manifest", 'name="Practice-Good"', 'name="Practice-Bad"', "manifest-name"),
    ],
)
def test_manifests_that_are_signed_and_wrong(
    apply: Apply,
    practice_signer: PracticeRoot,
    files: dict[str, bytes],
    suffix: str,
    old: str,
    new: str,
    code: str,
) -> None:
    outcome = apply(resigned(with_text(files, suffix, old, new), practice_signer))
    assert outcome.code.rpartition(":")[2] == code


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_encodings_of_manifests_are_read(
    apply: Apply, practice_signer: PracticeRoot, files: dict[str, bytes], encoding: str
) -> None:
    declaration = re.compile(r"^<\?xml[^>]*\?>\s*")
    changed = {
        name: declaration.sub("", data.decode("utf-8-sig")).replace("\n", "\r\n").encode(encoding)
        for name, data in files.items()
        if name.endswith((".mum", ".manifest"))
    }
    assert apply(resigned(files | changed, practice_signer)).code == "applied"


def test_a_catalog_of_another_package_does_not_vouch(
    apply: Apply, practice_signer: PracticeRoot, files: dict[str, bytes]
) -> None:
    other = files_of(MAKER.simple("KB5066003", "Practice-Other"), practice_signer, MAKER)
    swapped = {
        name: other["update.cat"] if name.endswith(".cat") else data for name, data in files.items()
    }
    assert apply(swapped).code == "untrusted:package-hash"


def test_the_catalog_of_a_package_lists_what_the_package_brings(
    apply: Apply, practice_signer: PracticeRoot
) -> None:
    """The store names that catalog as the proof of the component: another's will not do."""
    child = MAKER.simple("KB5066004", "Practice-Child")
    top = MAKER.package("KB5066005", "1.0.0.0", UpdateEntry("child", child=child))
    files = files_of(top, practice_signer, MAKER)
    members = [data for name, data in files.items() if name.endswith((".mum", ".manifest"))]
    everything = build_catalog(CatalogSpec(tuple(members)), practice_signer)
    top_name, child_name = top.identity.package_name, child.identity.package_name
    only_mum = build_catalog(CatalogSpec((files[f"{child_name}.mum"],)), practice_signer)
    changed = {"update.cat": everything, f"{top_name}.cat": everything}
    outcome = apply(files | changed | {f"{child_name}.cat": only_mum})
    assert outcome.code == "untrusted:manifest-hash"
    assert apply(files | changed).code == "applied"


def test_the_top_manifest_must_be_the_package_s_own(
    apply: Apply, practice_signer: PracticeRoot, files: dict[str, bytes]
) -> None:
    other = files["update.mum"].replace(b'identifier="KB', b'identifier="KC')
    assert other != files["update.mum"]
    changed = resigned(files | {"update.mum": other}, practice_signer)
    assert apply(changed).code == "damaged:damaged-package"


@pytest.mark.parametrize("suffix", [".mum", ".manifest", ".dll"])
def test_no_byte_that_a_hash_covers_may_change(
    apply: Apply, files: dict[str, bytes], suffix: str
) -> None:
    names = [name for name in files if name.endswith(suffix)]
    assert names
    for name in names:
        for place in range(0, len(files[name]), max(1, len(files[name]) // 7)):
            data = bytearray(files[name])
            data[place] ^= 0x20
            outcome = apply(files | {name: bytes(data)})
            assert outcome.verdict is Verdict.FAILED, (name, place)


TOKENS = re.compile(rb'"[^"]*"|<[/\w:]+|[\w.:$()\\{}-]+')
WORDS = (
    *(b"", b"x" * 5000, b"..\\..\\x", b"$(string.x)", b"$(runtime.system32)\\", b"\xc3\xa9"),
    *(b"0", b"99999.1.2.3", b"-1", b"0x", b"HKEY_LOCAL_MACHINE\\SOFTWARE", b"\\\\", b"(inherit)"),
    *(b"D:(A;;GA;;;ZZ)", b"O:", b"CON", b"a:b", b"*", b"neutral", b"wow64", b"win32", b"true"),
    *(b"maybe", b"&quot;a&quot;", b"00020001", b"REG_QWORD", b"REG_MULTI_SZ", b"replace", b"GE"),
    *(b"install", b"distribution", b"Staged", b"detect"),
)


class Spoiler:
    """Changes manifests at random: bytes, words, whole elements."""

    def __init__(self, seed: int) -> None:
        """The same seed spoils alike."""
        self._random = random.Random(seed)

    def spoil(self, files: dict[str, bytes]) -> dict[str, bytes]:
        """The files with one to three changes; most are in manifests."""
        result = dict(files)
        likely = [name for name in files if name.endswith((".mum", ".manifest"))]
        for _ in range(self._random.choice([1, 1, 2, 3])):
            name = self._random.choice(likely if self._random.random() < 0.9 else list(files))
            result[name] = self._changed(result[name])
        twins = [name for name in files if files[name] == files["update.mum"]]
        return result | dict.fromkeys(twins, result[self._random.choice(twins)])

    def _changed(self, data: bytes) -> bytes:
        tokens = list(TOKENS.finditer(data))
        if not tokens or self._random.random() < 0.1:
            place = self._random.randrange(len(data) + 1)
            return data[:place] + self._random.randbytes(2) + data[place + 2 :]
        token, other = self._random.choices(tokens, k=2)
        new = self._random.choice(
            [other[0], b'"' + self._random.choice(WORDS) + b'"', token[0] * 2, b""]
        )
        if self._random.random() < 0.3:
            start, end = sorted(data.find(b">", one.end()) + 1 for one in (token, other))
            return data[:end] + data[start:end] * self._random.randrange(2) + data[end:]
        return data[: token.start()] + new + data[token.end() :]


def spoilt_packages(root: PracticeRoot, name: str, seed: int) -> Iterator[dict[str, bytes]]:
    files, spoiler = cabinet_files(preset(name), root), Spoiler(seed)
    while True:
        yield spoiler.spoil(files)


@pytest.mark.parametrize(
    ("name", "seed", "count"),
    [
        ("every-element", 1, 60),
        ("branches", 2, 40),
        pytest.param("every-element", 3, 400, marks=pytest.mark.slow),
        pytest.param("branches", 4, 400, marks=pytest.mark.slow),
        pytest.param("feature-languages", 5, 400, marks=pytest.mark.slow),
        pytest.param("languages", 6, 400, marks=pytest.mark.slow),
        pytest.param("trigger", 7, 400, marks=pytest.mark.slow),
    ],
)
def test_spoilt_packages_end_as_verdicts_whether_signed_or_not(
    apply: Apply, practice_signer: PracticeRoot, name: str, seed: int, count: int
) -> None:
    original = cabinet_files(preset(name), practice_signer)
    seen = set()
    for _, files in zip(range(count), spoilt_packages(practice_signer, name, seed), strict=False):
        seen.add(apply(resigned(files, practice_signer)).verdict)
        outcome = apply(files)
        if any(original[one] != files[one] for one in files if not one.endswith((".cat", ".dat"))):
            assert outcome.verdict is not Verdict.APPLIED
    assert {Verdict.APPLIED, Verdict.FAILED} <= seen


VALUES = (
    *(b"", b"\0", b"\xff" * 3, b"\xff" * 4, b"A\0", b"1\0.\0", b"\0\xd8", b"Name, Version=1, x"),
    *(text.encode("utf-16-le") for text in ("99999.1.1.1\0", "٣.٣.٣.٣\0", "10.0\0", "x~y")),
)
NAMES = ("x", "٣.٣.٣.٣", "10.0.99999.1", "i!x", "f!x", "c!x", "")


def spoilt_hives(view: ImageView, seed: int) -> ChangeSet:
    """Up to thirty values of the store that are something else."""
    dice = random.Random(seed)
    known = []
    for hive in ("SOFTWARE", "COMPONENTS"):
        keys = [view.hive(hive).root]
        while keys:
            key = keys.pop()
            keys += key.subkeys()
            known += [(hive, key.path, value) for value in key.values()]
    edits = []
    for hive, path, value in dice.choices(known, k=dice.choice([1, 3, 30])):
        name = dice.choice([value.name, value.name, *NAMES])
        edits.append(SetValue(hive, path, name, dice.choice([1, 3, 4]), dice.choice(VALUES)))
    return ChangeSet(registry=tuple(edits))


@pytest.mark.parametrize(
    "seeds", [range(30), pytest.param(range(30, 800), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_spoilt_images_are_named_as_such(
    view: ImageView, tmp_path: Path, practice_signer: PracticeRoot, seeds: range
) -> None:
    files = cabinet_files(preset("every-element"), practice_signer)
    trust = TrustPolicy(
        Anchors(), test=Anchors((practice_signer.certificate,)), allow_test_roots=True
    )
    options = ApplyOptions(trust, 133_600_000_000_000_000)
    codes = set()
    for seed in seeds:
        spoilt = open_view(view.wim, 1, [spoilt_hives(view, seed)])
        outcome = outcome_of(files, tmp_path, spoilt, options)
        codes.add((outcome.verdict, outcome.code.partition(":")[0]))
    assert (Verdict.NOT_SUPPORTED, "image-damaged") in codes
    assert Verdict.FAILED not in {verdict for verdict, _ in codes}, "the package is not at fault"
