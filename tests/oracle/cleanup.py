"""What a clean-up must leave of a component store, derived from an observed image alone.

Formulated the other way round than one would write it: not what may go, but what is reached from
what has to stay. The rules are those of docs/internals/clean-up.md.
"""

import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from oracle.expect import COMPONENTS, DEPLOYMENTS
from oracle.names import Identity, component_key, index_name, winners_key
from oracle.packages import CATALOG_ROOT, CATALOGS, PACKAGES_FOLDER, STORE
from oracle.state import ImageState, Key
from oracle.states import CBS, STAGED, SUPERSEDED, WINNERS

_V3 = "{urn:schemas-microsoft-com:asm.v3}"
_CACHES = (f"{STORE}/ManifestCache", f"{STORE}/Temp/PendingDeletes", "Windows/CbsTemp")
_DELETED = 0x40
_ATTRIBUTES = {
    "Culture": "language",
    "Type": "type",
    "Version": "version",
    "PublicKeyToken": "token",
    "ProcessorArchitecture": "architecture",
    "versionScope": "scope",
}


@dataclass(slots=True)
class CleanupWant:
    """Names in lower case of what goes; `emptied` components keep manifest and key."""

    packages: set[str] = field(default_factory=set)
    deployments: set[str] = field(default_factory=set)
    components: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)
    catalogs: set[str] = field(default_factory=set)


def read_permanent(wim: Path, index_number: int) -> frozenset[str]:
    """Names in lower case of the packages whose manifests call them permanent."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                "wimlib-imagex",
                "extract",
                wim,
                str(index_number),
                f"/{PACKAGES_FOLDER}/*.mum",
                f"--dest-dir={folder}",
                "--no-acls",
                "--no-attributes",
            ],
            check=True,
            capture_output=True,
        )
        return frozenset(
            path.stem.lower()
            for path in Path(folder).glob("*.mum")
            if (found := ET.parse(path).getroot().find(f"{_V3}package")) is not None
            and found.get("permanence") == "permanent"
        )


def expected_cleanup(
    image: ImageState, permanent: frozenset[str], *, reset_base: bool
) -> CleanupWant:
    """What goes from an image; parents of packages are not looked at."""
    return _Marking(image, permanent, reset_base=reset_base).want()


def remains(image: ImageState, want: CleanupWant) -> tuple[set[str], set[tuple[str, str, str]]]:
    """Paths, and hive, key and value names, that are left afterwards: all that stays the same."""
    gone = set(_paths_gone(image, want))
    paths = {
        path
        for path in image.entries
        if not any(path == one or path.startswith(f"{one}/") for one in gone)
        and not any(path.startswith(f"{cache.lower()}/") for cache in _CACHES)
    }
    values = {
        (hive, path, name)
        for hive, keys in image.hives.items()
        for path, key in keys.items()
        for name in ("", *key.values)
        if not _is_value_gone(image, want, hive, path, name)
    }
    return paths, values


def newest_left(image: ImageState, want: CleanupWant, package: str) -> str:
    """What an index names that named a package which goes: the highest version left of it."""
    family = index_name(_package(package)).lower()
    left = [one for one in _names(image) if one not in want.packages]
    return max((one for one in left if index_name(_package(one)).lower() == family), key=_numbers)


class _Marking:
    def __init__(self, image: ImageState, permanent: frozenset[str], *, reset_base: bool) -> None:
        self.image = image
        self.reset_base = reset_base
        packages = image.subkeys("SOFTWARE", rf"{CBS}\Packages")
        self.states = {_name(key): key.values["currentstate"].number for key in packages}
        self.owners = {
            _name(key): {
                name
                for name in image.hives["SOFTWARE"].get(f"{key.path}\\Owners".lower(), key).values
                if name in self.states
            }
            for key in packages
        }
        self.users: dict[str, dict[str, bool]] = {}
        for key in image.subkeys("COMPONENTS", DEPLOYMENTS):
            marks = self.users[_name(key)] = {}
            for value in key.values.values():
                if value.name[1:2] == "!":
                    package = _referrer(value.data)
                    marks[package] = marks.get(package, False) or value.name.startswith("i!")
        self.identities = {
            _name(key): _identity(key) for key in image.subkeys("COMPONENTS", COMPONENTS)
        }
        self.named = {
            _name(key): {name[2:] for name in key.values if name.startswith("c!")}
            for key in image.subkeys("COMPONENTS", COMPONENTS)
        }
        self.roots = {name for name in self.states if not self._replaced(name, permanent)}
        self.staying = set(self.roots)

    def _replaced(self, name: str, permanent: frozenset[str], below: int = 0) -> bool:
        """Superseded, or there for packages only that are; what is permanent is neither."""
        if name in permanent or below > len(self.states):
            return False
        if self.states[name] == SUPERSEDED:
            return True
        owners = self.owners[name]
        return (
            bool(owners)
            and name not in owners
            and all(self._replaced(one, permanent, below + 1) for one in owners)
        )

    def want(self) -> CleanupWant:
        while self._mark():
            pass
        kept = {name for name, users in self.users.items() if users.keys() & self.staying}
        components = {
            key for key, named in self.named.items() if not named & kept and not self._fixed(key)
        }
        want = CleanupWant(
            packages=self.states.keys() - self.staying,
            deployments=self.users.keys() - kept,
            components=components,
            emptied=set(self._emptied(kept)),
        )
        want.catalogs = set(self._catalogs(want))
        return want

    def _mark(self) -> bool:
        before = len(self.staying)
        for package, owners in self.owners.items():
            if package in self.staying and owners and not owners & self.staying:
                self.staying |= owners
            elif owners & self.staying:
                self.staying.add(package)
        if len(self.staying) > before:
            return True
        for key in sorted(self.named):
            users = {user for one in self.named[key] for user in self.users[one]}
            if self._fixed(key) and not users & self.staying:
                self.staying.add(max(users, key=lambda one: (_numbers(one), one)))
                return True
        return False

    def _fixed(self, key: str) -> bool:
        """Whether a component stays whoever names it: it wins, or several may be in use."""
        identity = self.identities[key]
        if any(key.endswith(one[-16:]) for one in self.named[key]):
            return False
        if identity.type or identity.scope.lower() != "nonsxs":
            return True
        if "servicingstack" in identity.name.lower():
            family = [
                one.numbers
                for one in self.identities.values()
                if winners_key(one) == winners_key(identity)
            ]
            if identity.numbers in sorted(family)[-2:]:
                return True
        return self._installed(identity) and identity.numbers >= self._winner(identity)

    def _branch(self, identity: Identity) -> Key | None:
        path = rf"{WINNERS}\{winners_key(identity)}\{identity.branch}"
        return self.image.hives["SOFTWARE"].get(path.lower())

    def _installed(self, identity: Identity) -> bool:
        branch = self._branch(identity)
        return branch is not None and identity.version in branch.values

    def _winner(self, identity: Identity) -> tuple[int, ...]:
        branch = self._branch(identity)
        return tuple(map(int, branch.values[""].text.split("."))) if branch else (0,)

    def _emptied(self, kept: set[str]) -> Iterator[str]:
        """With a reset of the base: payload that is replaced, and of no staged package."""
        for key, named in self.named.items() if self.reset_base else ():
            identity = self.identities[key]
            is_deployment = any(key.endswith(one[-16:]) for one in named)
            if is_deployment or self._fixed(key) or not named & kept:
                continue
            marks = [
                installs or self.states[user] != STAGED
                for one in named & kept
                for user, installs in self.users[one].items()
                if user in self.roots
            ]
            replaced = identity.numbers < self._winner(identity)
            if f"{STORE}/{key}".lower() in self.image.entries and (
                not marks or (replaced and all(marks))
            ):
                yield key

    def _catalogs(self, want: CleanupWant) -> Iterator[str]:
        """Catalogs that vouch for nothing any more, and did before."""
        by_package = {
            package: self.image.entries[f"{PACKAGES_FOLDER}/{package}.cat".lower()].sha1
            for package in self.states
        }
        used = {sha1 for package, sha1 in by_package.items() if package not in want.packages}
        for key in self.image.subkeys("COMPONENTS", CATALOGS):
            left = {name[2:] for name in key.values} - want.deployments
            sha1 = self.image.entries[f"{STORE}/Catalogs/{_name(key)}.cat".lower()].sha1
            if not left and sha1 not in used:
                yield _name(key)


def _paths_gone(image: ImageState, want: CleanupWant) -> Iterator[str]:
    for package in want.packages:
        for folder in (PACKAGES_FOLDER, CATALOG_ROOT):
            yield from (f"{folder}/{package}{end}".lower() for end in (".mum", ".cat"))
    for catalog in want.catalogs:
        yield f"{STORE}/Catalogs/{catalog}.cat".lower()
    for key in want.components:
        yield f"{STORE}/Manifests/{key}.manifest".lower()
    for key in want.components | want.emptied:
        yield f"{STORE}/{key}".lower()
        start = f"{STORE}/Backup/{key}".lower()
        yield from (one for one in image.entries if re.match(re.escape(start) + r"[_.]", one))


def _is_value_gone(image: ImageState, want: CleanupWant, hive: str, path: str, name: str) -> bool:
    """Whether a value goes; the empty name stands for its key as well."""
    if hive == "COMPONENTS":
        parts = path.split("\\")
        whole = {
            "components": want.components,
            "deployments": want.deployments,
            "catalogs": want.catalogs,
        }
        area = parts[1] if len(parts) > 1 else ""
        if area == "versionedindex":
            return len(parts) > 2
        if len(parts) > 2 and parts[2] in whole.get(area, set()):
            return True
        if name[:2] == "c!":
            return name[2:] in want.deployments
        data = image.hives[hive][path].values[name].data if name else b""
        return area == "deployments" and name[1:2] == "!" and _referrer(data) in want.packages
    if hive != "SOFTWARE":
        return False
    return _is_software_gone(image, want, path, name)


def _is_software_gone(image: ImageState, want: CleanupWant, path: str, name: str) -> bool:
    cbs = CBS.lower()
    for package in want.packages:
        if (path + "\\").startswith(rf"{cbs}\packages\{package}" + "\\"):
            return True
        if path == rf"{cbs}\applicabilityevaluationcache\{package}":
            return True
    families = {index_name(_package(one)).lower() for one in _names(image)}
    left = {index_name(_package(one)).lower() for one in _names(image) if one not in want.packages}
    if path in {rf"{cbs}\packageindex\{family}" for family in families - left}:
        return True
    if re.match(re.escape(cbs) + r"\\(package|update|component)detect\\", path):
        values = image.hives["SOFTWARE"][path].values
        return all(_leads_to(want, one) for one in ([name] if name else values))
    if name in want.packages and path.startswith(f"{cbs}\\packages\\"):
        return True
    winners = WINNERS.lower()
    if path.startswith(f"{winners}\\"):
        return _is_winner_gone(image, want, path[len(winners) + 1 :], name)
    return False


def _leads_to(want: CleanupWant, name: str) -> bool:
    """Whether a value of a detect index is called after a package that goes, or part of it."""
    return any(name == one or name.startswith(f"{one}.") for one in want.packages)


def _is_winner_gone(image: ImageState, want: CleanupWant, path: str, name: str) -> bool:
    """A version of a component that goes; its branch and family as well, if they lose all."""
    family, _, branch = path.partition("\\")
    gone = {
        _identity(key).version
        for key in image.subkeys("COMPONENTS", COMPONENTS)
        if _name(key) in want.components and winners_key(_identity(key)) == family
    }
    keys = [
        key
        for key in image.subkeys("SOFTWARE", rf"{WINNERS}\{family}")
        if not branch or _name(key) == branch
    ]
    left = [one for key in keys for one in key.values if one and one not in gone]
    return name in gone or not left


def _names(image: ImageState) -> list[str]:
    return [_name(key) for key in image.subkeys("SOFTWARE", rf"{CBS}\Packages")]


def _name(key: Key) -> str:
    return key.path.rpartition("\\")[2].lower()


def _numbers(package: str) -> tuple[int, ...]:
    return tuple(int(part) for part in package.rpartition("~")[2].split("."))


def _package(name: str) -> Identity:
    first, token, architecture, language, version = name.split("~")
    return Identity(first, version, architecture, language or "neutral", token)


def _referrer(data: bytes) -> str:
    """The package that a reference is about: name up to the version, four numbers of it."""
    (length,) = struct.unpack_from("<I", data)
    text = data[8 : 8 + length].decode("ascii").lower()
    found = re.match(r".*~\d+\.\d+\.\d+\.\d+", text)
    assert found
    return found[0]


def _identity(key: Key) -> Identity:
    first, *pairs = key.values["identity"].data.decode("ascii").split(", ")
    values: Mapping[str, str] = dict(pair.split("=", 1) for pair in pairs)
    fields = {field: values.get(name, "") for name, field in _ATTRIBUTES.items()}
    identity = Identity(first, **fields)
    assert component_key(identity) == _name(key)
    return identity
