r"""Names of the component store, computed for generated images and packages.

Written apart from the engine's own code on purpose: tests compare the two through files. The rules
are facts published by cbs-docs, sxsfounder and haveSxS, and are checked on real names in the tests.
"""

from dataclasses import dataclass, replace
from typing import Self

PRACTICE_TOKEN = "7072616374696365"  # noqa: S105 - the public key token of nobody: "practice"
WINDOWS_TOKEN = "31bf3856ad364e35"  # noqa: S105 - the token in identities of Windows packages

_WORD = 1 << 32
_LONG = 1 << 64
_STEP = 65599
_PRIME = 8589934583
_NOTHING = ("", "neutral", "none", "*")


@dataclass(frozen=True, slots=True)
class Identity:
    """An `assemblyIdentity`; `version_scope` and `type` are left out when empty."""

    name: str
    version: str
    architecture: str = "amd64"
    language: str = "neutral"
    token: str = PRACTICE_TOKEN
    version_scope: str = "nonSxS"
    type: str = ""

    @classmethod
    def package(cls, text: str) -> Self:
        """Identity from `name~token~architecture~language~version`."""
        name, token, architecture, language, version = text.split("~")
        return cls(name, version, architecture, language or "neutral", token, "")

    @property
    def culture(self) -> str:
        """The language, or nothing when neutral."""
        return "" if self.language.lower() in _NOTHING else self.language

    @property
    def package_name(self) -> str:
        return f"{self.name}~{self.token}~{self.architecture}~{self.culture}~{self.version}"

    @property
    def index_name(self) -> str:
        """What all versions of a package share."""
        return replace(self, version="0.0.0.0").package_name  # noqa: S104 - a version

    @property
    def branch(self) -> str:
        return ".".join(self.version.split(".")[:2])

    def at(self, version: str) -> Self:
        return replace(self, version=version)


def text_hash(text: str) -> int:
    """64-bit hash of a text: four interleaved sums of its lower-case characters."""
    sums = [0] * 4
    for place, character in enumerate(text.lower()):
        sums[place & 3] = (sums[place & 3] * _STEP + ord(character)) % _WORD
    first, second, third, fourth = sums
    return (((first * _PRIME + second) * _PRIME + third) * _PRIME + fourth) % _LONG


def identity_hash(identity: Identity, *, version: bool = True) -> int:
    """64-bit hash of the attributes that an identity has, in the order the store takes them."""
    machine = "" if identity.architecture.lower() in _NOTHING else identity.architecture
    attributes = {
        "name": identity.name,
        "culture": identity.culture,
        "type": identity.type,
        "version": identity.version if version else "",
        "publicKeyToken": identity.token,
        "processorArchitecture": machine,
        "versionScope": identity.version_scope,
    }
    total = 0
    for name, value in attributes.items():
        if value:
            total = (total * _PRIME + text_hash(name) * _PRIME + text_hash(value)) % _LONG
    return total


def component_key(identity: Identity) -> str:
    """Name of a component's folder, manifest and key in COMPONENTS."""
    return "_".join((*_key_head(identity), identity.version, *_key_tail(identity, version=True)))


def winners_key(identity: Identity) -> str:
    r"""Name of a component family below `SideBySide\Winners`."""
    return "_".join((*_key_head(identity), *_key_tail(identity, version=False)))


def deployment_key(identity: Identity) -> str:
    r"""Name of a deployment below `CanonicalData\Deployments`."""
    name = _middle_cut(_store_name(identity.name), 24, 11)
    return f"{name}_{identity.token}_{identity.version}_{identity_hash(identity):016x}"


def identity_text(identity: Identity) -> str:
    """The identity as the values `identity` and `appid` hold it."""
    scope = "NonSxS" if identity.version_scope.lower() == "nonsxs" else identity.version_scope
    parts = {
        "Culture": identity.culture or "neutral",
        "Type": identity.type,
        "Version": identity.version,
        "PublicKeyToken": identity.token,
        "ProcessorArchitecture": identity.architecture,
        "versionScope": scope,
    }
    return ", ".join([identity.name, *(f"{key}={value}" for key, value in parts.items() if value)])


def file_value(name: str) -> str:
    """Name of the `f!` value of a payload file."""
    return f"f!{name}" if len(name) < 26 else f"f!{name[:25]}_{text_hash(name):016x}"


def reference_value(mark: str, identifier: str) -> str:
    """Name of a `p!`, `s!` or `i!` value; `identifier` is package name, dot, update name."""
    return f"{mark}!CBS_{identifier.lower()[:60]}_{text_hash(identifier):016x}"


def _key_head(identity: Identity) -> tuple[str, str, str]:
    name = _middle_cut(_store_name(identity.name), 40, 19)
    return identity.architecture.lower(), name, identity.token.lower()


def _key_tail(identity: Identity, *, version: bool) -> tuple[str, str]:
    language = _middle_cut(identity.culture.lower() or "none", 8, 3)
    return language, f"{identity_hash(identity, version=version):016x}"


def _store_name(name: str) -> str:
    return name.lower().translate({ord(character): None for character in " ()"})


def _middle_cut(text: str, limit: int, keep: int) -> str:
    return text if len(text) <= limit else f"{text[:keep]}..{text[-keep:]}"
