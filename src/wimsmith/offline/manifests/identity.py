"""Identity of a package or component: the `assemblyIdentity` element as a value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from wimsmith.errors import DamagedManifest

NEUTRAL_LANGUAGES = frozenset({"", "neutral", "*", "none"})
_MAX_ATTRIBUTE_CHARACTERS = 1024
_VERSION = re.compile(r"\d{1,5}(?:\.\d{1,5}){3}", re.ASCII)
_FORBIDDEN = re.compile(r'[\x00-\x1f/\\:*?"<>|~]')
_SPACES = " \t\r\n"


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Four 16-bit numbers; orders as numbers, not as text."""

    major: int
    minor: int
    build: int
    revision: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10.0.19041.1`.

        Raises:
            DamagedManifest: not four numbers of 16 bits.
        """
        if not _VERSION.fullmatch(text):
            raise DamagedManifest(f"version {text[:60]!r}")
        numbers = [int(part) for part in text.split(".")]
        if max(numbers) > 0xFFFF:
            raise DamagedManifest(f"version {text[:60]!r}")
        return cls(*numbers)

    @property
    def branch(self) -> str:
        """`major.minor`, within which versions of one component replace each other."""
        return f"{self.major}.{self.minor}"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.build}.{self.revision}"


@dataclass(frozen=True, slots=True)
class AssemblyIdentity:
    """What a package, deployment or component is called; attributes absent in XML are empty.

    `build_type` takes no part in any name. The language keeps the spelling of the manifest.
    """

    name: str
    version: Version
    architecture: str = ""
    language: str = ""
    public_key_token: str = ""
    version_scope: str = ""
    type: str = ""
    build_type: str = ""

    @property
    def neutral_language(self) -> bool:
        return self.language.lower() in NEUTRAL_LANGUAGES

    @property
    def is_alone(self) -> bool:
        """Whether one version of it is in use at a time; others stand side by side."""
        return self.version_scope.lower() == "nonsxs"

    @property
    def is_servicing_stack(self) -> bool:
        """Whether it belongs to what installs updates in Windows itself, by its name."""
        return "servicingstack" in self.name.lower()

    @property
    def package_name(self) -> str:
        """`name~token~architecture~language~version`, with nothing for a neutral language."""
        return f"{self._package_prefix}~{self.version}"

    @property
    def package_index_name(self) -> str:
        """The package name with version 0.0.0.0: what all versions of a package share."""
        return f"{self._package_prefix}~0.0.0.0"

    @property
    def _package_prefix(self) -> str:
        language = "" if self.neutral_language else self.language
        return f"{self.name}~{self.public_key_token}~{self.architecture}~{language}"

    @property
    def family(self) -> tuple[str, str, str, str]:
        """What versions of the same thing have in common, for comparison ignoring case."""
        language = "" if self.neutral_language else self.language.lower()
        return (
            self.name.lower(),
            self.public_key_token.lower(),
            self.architecture.lower(),
            language,
        )

    def __str__(self) -> str:
        return self.package_name


def identity_from_attributes(attributes: Mapping[str, str]) -> AssemblyIdentity:
    """Identity from the attributes of an `assemblyIdentity` or `installerAssembly` element.

    Raises:
        DamagedManifest: no name, a malformed version, or text that cannot stand in a name.
    """
    values = {key: _checked(key, value.strip(_SPACES)) for key, value in attributes.items()}
    if not values.get("name"):
        raise DamagedManifest("an identity without a name")
    return AssemblyIdentity(
        name=values["name"],
        version=Version.parse(values.get("version", "")),
        architecture=values.get("processorArchitecture", ""),
        language=values.get("language", ""),
        public_key_token=values.get("publicKeyToken", ""),
        version_scope=values.get("versionScope", ""),
        type=values.get("type", ""),
        build_type=values.get("buildType", ""),
    )


def parse_package_name(text: str) -> AssemblyIdentity:
    """Identity from `name~token~architecture~language~version`.

    Raises:
        DamagedManifest: not five parts, or a malformed version.
    """
    parts = text.split("~")
    if len(parts) != 5:
        raise DamagedManifest(f"package name {text[:200]!r}")
    name, token, architecture, language, version = parts
    return identity_from_attributes(
        {
            "name": name,
            "version": version,
            "processorArchitecture": architecture,
            "language": language or "neutral",
            "publicKeyToken": token,
        }
    )


def _checked(key: str, value: str) -> str:
    """Identities become names of files and keys, so nothing that could leave them is let in.

    The store keeps them in ASCII, so there are no others.
    """
    forbidden = _FORBIDDEN.search(value)
    too_long = len(value) > _MAX_ATTRIBUTE_CHARACTERS
    if too_long or not value.isascii() or (forbidden and not (key == "language" and value == "*")):
        raise DamagedManifest(f"identity attribute {key}={value[:200]!r}")
    return value
