"""Names that the component store computes from identities.

Facts: haveSxS, pureSxS and cbs-docs (see docs/internals/packages.md), proved on real names.
"""

import re
from functools import lru_cache

from wimsmith.offline.manifests.identity import AssemblyIdentity, Version

_MASK32 = 0xFFFF_FFFF
_MASK64 = 0xFFFF_FFFF_FFFF_FFFF
_MULTIPLIER = 65_599
_PRIME = 0x1_FFFF_FFF7
_REMOVED = re.compile(r"[ ()]")
_COMPONENT_NAME_LIMIT = 40
_DEPLOYMENT_NAME_LIMIT = 24
_LANGUAGE_LIMIT = 8
_FILE_NAME_LIMIT = 25
_REFERENCE_LIMIT = 60
_REMEMBERED = 1 << 15
"""Names that are kept, as a store with all its references asks for each many times."""


def string_hash(text: str) -> int:
    """64-bit hash of the lower-cased text, over its UTF-16 code units."""
    units = text.lower().encode("utf-16-le", "surrogatepass")
    sums = [0, 0, 0, 0]
    for index in range(len(units) // 2):
        unit = units[2 * index] | units[2 * index + 1] << 8
        sums[index % 4] = (sums[index % 4] * _MULTIPLIER + unit) & _MASK32
    result = 0
    for value in sums:
        result = (result * _PRIME + value) & _MASK64
    return result


@lru_cache(maxsize=_REMEMBERED)
def identity_hash(identity: AssemblyIdentity, *, with_version: bool = True) -> int:
    """64-bit key of an identity over the attributes that are present, in their fixed order."""
    result = 0
    for name, value in _hashed_attributes(identity, with_version=with_version):
        pair = (string_hash(name) * _PRIME + string_hash(value)) & _MASK64
        result = (result * _PRIME + pair) & _MASK64
    return result


def keyform(identity: AssemblyIdentity) -> str:
    """Name of a component in WinSxS, of its manifest (without extension) and COMPONENTS key."""
    return _keyform(identity, identity.version)


def keyform_without_version(identity: AssemblyIdentity) -> str:
    r"""Name of a component family below `SideBySide\Winners`; the hash leaves the version out."""
    return _keyform(identity, None)


def deployment_key(identity: AssemblyIdentity) -> str:
    r"""Name of a deployment below `CanonicalData\Deployments`, and after `c!`."""
    name = _shortened(_cleaned(identity.name), _DEPLOYMENT_NAME_LIMIT)
    token = identity.public_key_token.lower() or "none"
    return f"{name}_{token}_{identity.version}_{identity_hash(identity):016x}"


def identity_string(identity: AssemblyIdentity) -> str:
    """Identity as the store keeps it in the values `identity` and `appid`."""
    language = "neutral" if identity.neutral_language else identity.language
    parts = [identity.name, f"Culture={language}"]
    if identity.type:
        parts.append(f"Type={identity.type}")
    parts.append(f"Version={identity.version}")
    if identity.public_key_token:
        parts.append(f"PublicKeyToken={identity.public_key_token}")
    if identity.architecture:
        parts.append(f"ProcessorArchitecture={identity.architecture}")
    if identity.version_scope:
        non_sxs = identity.version_scope.lower() == "nonsxs"
        parts.append(f"versionScope={'NonSxS' if non_sxs else identity.version_scope}")
    return ", ".join(parts)


def file_value_name(name: str) -> str:
    """Name of the `f!` value of a payload file in its component key; the case is kept.

    Folders in the name are separated as Windows does.
    """
    name = name.replace("/", "\\")
    if len(name) <= _FILE_NAME_LIMIT:
        return f"f!{name}"
    return f"f!{name[:_FILE_NAME_LIMIT]}_{string_hash(name):016x}"


def reference_value_name(mark: str, identifier: str) -> str:
    """Name of a reference to a deployment; `mark` is `p!`, `s!` or `i!`.

    `identifier` is `package.update`, for example `...~amd64~~10.0.17763.1.NetFx4`.
    """
    lower = identifier.lower()[:_REFERENCE_LIMIT]
    return f"{mark}CBS_{lower}_{string_hash(identifier):016x}"


def _hashed_attributes(identity: AssemblyIdentity, *, with_version: bool) -> list[tuple[str, str]]:
    neutral_architecture = identity.architecture.lower() in {"", "neutral", "none"}
    attributes = [
        ("name", identity.name),
        ("culture", "" if identity.neutral_language else identity.language),
        ("type", identity.type),
        ("version", str(identity.version) if with_version else ""),
        ("publicKeyToken", identity.public_key_token),
        ("processorArchitecture", "" if neutral_architecture else identity.architecture),
        ("versionScope", identity.version_scope),
    ]
    return [(name, value) for name, value in attributes if value]


@lru_cache(maxsize=_REMEMBERED)
def _keyform(identity: AssemblyIdentity, version: Version | None) -> str:
    language = "none" if identity.neutral_language else identity.language.lower()
    if len(language) > _LANGUAGE_LIMIT:
        language = f"{language[:3]}..{language[-3:]}"
    parts = [
        identity.architecture.lower() or "none",
        _shortened(_cleaned(identity.name), _COMPONENT_NAME_LIMIT),
        identity.public_key_token.lower() or "none",
        *([str(version)] if version else []),
        language,
        f"{identity_hash(identity, with_version=version is not None):016x}",
    ]
    return "_".join(parts)


def _cleaned(name: str) -> str:
    return _REMOVED.sub("", name.lower())


def _shortened(name: str, limit: int) -> str:
    if len(name) <= limit:
        return name
    half = limit // 2 - 1
    return f"{name[:half]}..{name[-half:]}"
