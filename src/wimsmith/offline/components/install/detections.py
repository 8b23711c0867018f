r"""The detect indexes: which packages have to be looked at again when something else changes.

`Component Based Servicing` keeps three reverse indexes of what package manifests look for. Their
names and the forms of two of them are public, the meaning of their data is not. So an index is
kept up only where the entries of the packages in the image are those that their manifests lead to
expect, with the data that these have; an index without entries is left alone.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from wimsmith.errors import DamagedInput, NotFound, NotSupported
from wimsmith.offline.components.install.cbs import package_folder
from wimsmith.offline.components.store.lookups import CBS, Store
from wimsmith.offline.facts import PackageState
from wimsmith.offline.manifests.identity import Version
from wimsmith.offline.manifests.names import keyform_without_version
from wimsmith.offline.manifests.package import PackageManifest, parse_package
from wimsmith.offline.paths import fold
from wimsmith.offline.planning.applicability import PackagePlan
from wimsmith.offline.registry.values import Value, ValueType, encode_text

MAX_SAMPLE = 1000
MAX_ENTRIES = 500_000
_TEXTS = frozenset([ValueType.SZ, ValueType.EXPAND_SZ])


@dataclass(frozen=True, slots=True)
class Detection:
    """What a manifest looks for: the key of an index, and the version that the data start with.

    `kind` is how it looks: data are copied from entries of the same kind.
    """

    key: str
    kind: str
    version: str = ""


@dataclass(slots=True)
class Form:
    """What the entries of one index in the image have in common.

    `data` counts type and data by kind, with the version cut off; `staged` tells whether packages
    that are only staged are in the index, None if the image has none that could be.
    """

    data: dict[str, Counter[tuple[int, bytes]]] = field(default_factory=dict)
    staged: bool | None = None


def _parents(manifest: PackageManifest) -> Iterator[Detection]:
    for parent in manifest.parents:
        for identity in parent.identities:
            yield Detection(identity.package_index_name, parent.disposition.lower())


def _updates(manifest: PackageManifest) -> Iterator[Detection]:
    for update in manifest.updates:
        for one in update.applicable.detections if update.applicable else ():
            if one.in_parent:
                yield Detection(one.name, "parent")


def _components(manifest: PackageManifest) -> Iterator[Detection]:
    for update in manifest.updates:
        for condition in update.applicable.components if update.applicable else ():
            for identity in condition.identities:
                yield Detection(
                    keyform_without_version(identity), condition.elevate, str(identity.version)
                )


INDEXES: Mapping[str, Callable[[PackageManifest], Iterator[Detection]]] = MappingProxyType(
    {"PackageDetect": _parents, "UpdateDetect": _updates, "ComponentDetect": _components}
)


def write_detections(before: Store, store: Store, packages: Iterable[PackagePlan]) -> None:
    """Enter packages in the indexes that the image keeps.

    Args:
        before: the image as it was, from which the form of each index is learnt.
        store: the image as drafted.
        packages: what has been written.

    Raises:
        NotSupported: `calibration:detect`, the entries in the image are not what the manifests of
            their packages lead to expect.
    """
    packages = tuple(packages)
    for index, expected in INDEXES.items():
        wanted = [(one, tuple(expected(one.manifest))) for one in packages]
        if not any(detections for _, detections in wanted):
            continue
        form = learn(before, index)
        for package, detections in wanted if form else ():
            if form and (package.target >= PackageState.INSTALLED or form.staged):
                _enter(store, index, form, package, detections)


def learn(store: Store, index: str) -> Form | None:
    """The form of an index, None for one without entries.

    Raises:
        NotSupported: `calibration:detect`.
    """
    observed = _observed(store, index)
    if not observed:
        return None
    form = Form()
    for name, state, manifest in _samples(store):
        expected = _by_key(INDEXES[index](manifest))
        found = observed.get(fold(name), {})
        if state < PackageState.INSTALLED:
            _note_staged(form, index, is_there=bool(found), is_due=bool(expected))
            if not found:
                continue
        if expected.keys() != found.keys():
            text = f"{index} has {len(found)} entries of {name}, whose manifest asks for"
            raise NotSupported("calibration:detect", f"{text} {len(expected)}")
        for key, value in found.items():
            _check_version(index, name, value, expected[key])
            counts = form.data.setdefault(expected[key].kind, Counter())
            counts[value.type, _without_version(value, expected[key])] += 1
    return form


def _check_version(index: str, name: str, value: Value, detection: Detection) -> None:
    text = value.text() if value.type in _TEXTS else ""
    if text and detection.version and not text.startswith(detection.version):
        about = f"{index} has {text[:60]!r} for {name}, which looks for {detection.version}"
        raise NotSupported("calibration:detect", about)


def _note_staged(form: Form, index: str, *, is_there: bool, is_due: bool) -> None:
    if not is_due and not is_there:
        return
    if form.staged is not None and form.staged != is_there:
        text = f"{index} has some of the packages that are only staged, and some not"
        raise NotSupported("calibration:detect", text)
    form.staged = is_there


def _enter(
    store: Store,
    index: str,
    form: Form,
    package: PackagePlan,
    detections: Iterable[Detection],
) -> None:
    for one in _by_key(detections).values():
        counts = form.data.get(one.kind) or _all(form)
        if len(counts) != 1:
            text = f"{index}: {len(counts)} kinds of data for what looks for {one.kind!r}"
            raise NotSupported("calibration:detect", text)
        kind, data = next(iter(counts))
        if kind in _TEXTS and one.version:
            data = encode_text(one.version)[:-2] + data
        path = rf"{CBS}\{index}\{one.key}"
        store.software.set_value(path, package.identity.package_name, kind, data)


def _by_key(detections: Iterable[Detection]) -> dict[str, Detection]:
    """Detections by folded key; of two branches of one family the higher version is entered."""
    found: dict[str, Detection] = {}
    for one in detections:
        known = found.setdefault(fold(one.key), one)
        if one.version and Version.parse(one.version) > Version.parse(known.version):
            found[fold(one.key)] = one
    return found


def _all(form: Form) -> Counter[tuple[int, bytes]]:
    total: Counter[tuple[int, bytes]] = Counter()
    for counts in form.data.values():
        total += counts
    return total


def _observed(store: Store, index: str) -> dict[str, dict[str, Value]]:
    """Entries by package and by key, both folded."""
    found: dict[str, dict[str, Value]] = {}
    total = 0
    for key in store.software.subkeys(rf"{CBS}\{index}"):
        for value in store.software.values(rf"{CBS}\{index}\{key}"):
            total += 1
            if total > MAX_ENTRIES:
                raise NotSupported("calibration:detect", f"{index} has more than {MAX_ENTRIES}")
            found.setdefault(fold(value.name), {})[fold(key)] = value
    return found


def _samples(store: Store) -> Iterator[tuple[str, int, PackageManifest]]:
    """Packages of the image that are at least staged, with their manifests."""
    known = sorted(store.all_packages(), key=lambda one: one.name)
    step = max(1, -(-len(known) // MAX_SAMPLE))
    for package in known[::step]:
        if package.state < PackageState.STAGED or package.state == PackageState.SUPERSEDED:
            continue
        try:
            manifest = parse_package(
                store.draft.read(f"{package_folder(store)}/{package.name}.mum")
            )
        except (NotFound, DamagedInput):
            continue  # a sibling that cannot be read is no example
        yield package.name, package.state, manifest


def _without_version(value: Value, detection: Detection) -> bytes:
    """Data of an entry without the version that it starts with."""
    start = encode_text(detection.version)[:-2]
    if value.type in _TEXTS and detection.version and value.data.startswith(start):
        return value.data[len(start) :]
    return value.data
