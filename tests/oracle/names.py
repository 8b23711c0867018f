"""Names of the component store, computed apart from the product."""

import re
from dataclasses import dataclass

_HASH_SEED = 0x1FFFFFFF7
_MASK = (1 << 64) - 1
_NOT_IN_NAMES = re.compile(r"[ ()]")


@dataclass(frozen=True, slots=True)
class Identity:
    """An `assemblyIdentity`; attributes that are not there are empty."""

    name: str
    version: str
    architecture: str
    language: str
    token: str
    scope: str = ""
    type: str = ""

    @property
    def package_name(self) -> str:
        language = "" if self.language.lower() in {"neutral", "*"} else self.language
        return f"{self.name}~{self.token}~{self.architecture}~{language}~{self.version}"

    @property
    def branch(self) -> str:
        return ".".join(self.version.split(".")[:2])

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split("."))

    @property
    def language_field(self) -> str:
        return "none" if self.language.lower() in {"", "neutral", "*"} else self.language.lower()


def text_hash(text: str) -> int:
    """The 64-bit hash of the store over the lower-case text."""
    lanes = [0, 0, 0, 0]
    for position, character in enumerate(text.lower()):
        lanes[position % 4] = (lanes[position % 4] * 65599 + ord(character)) & 0xFFFFFFFF
    result = 0
    for lane in lanes:
        result = (result * _HASH_SEED + lane) & _MASK
    return result


def identity_hash(identity: Identity, *, with_version: bool = True) -> int:
    """The hash at the end of a store name: over the attributes that are there, in one order."""
    architecture = identity.architecture.lower()
    parts = (
        ("name", identity.name),
        ("culture", "" if identity.language_field == "none" else identity.language),
        ("type", identity.type),
        ("version", identity.version if with_version else ""),
        ("publicKeyToken", identity.token),
        ("processorArchitecture", "" if architecture in {"neutral", "none"} else architecture),
        ("versionScope", identity.scope),
    )
    result = 0
    for name, value in parts:
        if value:
            pair = text_hash(name) * _HASH_SEED + text_hash(value)
            result = (result * _HASH_SEED + pair) & _MASK
    return result


def component_key(identity: Identity) -> str:
    """Folder, manifest and key in COMPONENTS of a component."""
    number = identity_hash(identity)
    return f"{_head(identity)}_{identity.version}_{_language(identity)}_{number:016x}"


def winners_key(identity: Identity) -> str:
    """Key of the component's family below Winners."""
    number = identity_hash(identity, with_version=False)
    return f"{_head(identity)}_{_language(identity)}_{number:016x}"


def deployment_key(identity: Identity) -> str:
    """Key of a deployment below CanonicalData."""
    name = _cut(_NOT_IN_NAMES.sub("", identity.name.lower()), 24, 11)
    return f"{name}_{identity.token}_{identity.version}_{identity_hash(identity):016x}"


def index_name(identity: Identity) -> str:
    """Key of a package's family below PackageIndex."""
    return identity.package_name.rpartition("~")[0] + "~0.0.0.0"


def identity_text(identity: Identity) -> str:
    """Identity as the values `identity` and `appid` hold it."""
    neutral = identity.language_field == "none"
    parts = [identity.name, f"Culture={'neutral' if neutral else identity.language}"]
    if identity.type:
        parts.append(f"Type={identity.type}")
    parts.append(f"Version={identity.version}")
    parts.append(f"PublicKeyToken={identity.token}")
    parts.append(f"ProcessorArchitecture={identity.architecture}")
    if identity.scope:
        scope = "NonSxS" if identity.scope.lower() == "nonsxs" else identity.scope
        parts.append(f"versionScope={scope}")
    return ", ".join(parts)


def file_value(name: str) -> str:
    """Name of the value of a payload file."""
    return f"f!{name}" if len(name) <= 25 else f"f!{name[:25]}_{text_hash(name):016x}"


def reference_value(mark: str, identifier: str) -> str:
    """Name of the value of a reference from `package.update`; mark is p, s or i."""
    return f"{mark}!CBS_{identifier.lower()[:60]}_{text_hash(identifier):016x}"


def _head(identity: Identity) -> str:
    name = _cut(_NOT_IN_NAMES.sub("", identity.name.lower()), 40, 19)
    return f"{identity.architecture.lower()}_{name}_{identity.token.lower()}"


def _language(identity: Identity) -> str:
    return _cut(identity.language_field, 8, 3)


def _cut(text: str, limit: int, keep: int) -> str:
    return text if len(text) <= limit else f"{text[:keep]}..{text[-keep:]}"
