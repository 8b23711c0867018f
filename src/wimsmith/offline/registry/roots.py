r"""Which hive of an image a key of a `.reg` file is in.

RegistryRoots("ControlSet001").place(r"HKLM\SYSTEM\CurrentControlSet\Services")
# KeyPlace(hive="SYSTEM", path="ControlSet001\\Services")
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from wimsmith.errors import NotSupported
from wimsmith.offline.changes import (
    CreateKey,
    DeleteKey,
    DeleteValue,
    RegistryEdit,
    SetValue,
)
from wimsmith.offline.registry.hive import Hive
from wimsmith.offline.registry.names import split_path
from wimsmith.offline.registry.regfile import (
    DropKey,
    DropValue,
    MakeKey,
    PutValue,
    RegEdit,
    long_root,
)
from wimsmith.offline.upcase import upcase

HIVE_ROOTS: Mapping[str, str] = MappingProxyType(
    {
        "SOFTWARE": r"HKEY_LOCAL_MACHINE\SOFTWARE",
        "SYSTEM": r"HKEY_LOCAL_MACHINE\SYSTEM",
        "SAM": r"HKEY_LOCAL_MACHINE\SAM",
        "SECURITY": r"HKEY_LOCAL_MACHINE\SECURITY",
        "COMPONENTS": r"HKEY_LOCAL_MACHINE\COMPONENTS",
        "DRIVERS": r"HKEY_LOCAL_MACHINE\DRIVERS",
        "BCD": r"HKEY_LOCAL_MACHINE\BCD00000000",
        "DEFAULT": r"HKEY_USERS\.DEFAULT",
        "NTUSER": "HKEY_CURRENT_USER",
    }
)
"""Where Windows shows the root of a hive, by the hive's mount name."""

_ALIASES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "HKEY_CLASSES_ROOT": ("SOFTWARE", "Classes"),
        r"HKEY_USERS\S-1-5-18": ("DEFAULT", ""),
    }
)
_FILE_NAMES = MappingProxyType({"NTUSER.DAT": "NTUSER", "NTUSER.MAN": "NTUSER"})
_LINKS: tuple[tuple[str, str], ...] = (
    (r"Wow6432Node\Classes", r"Classes\Wow6432Node"),
    (r"Classes\Wow6432Node\AppID", r"Classes\AppID"),
    (r"Classes\Wow6432Node\PROTOCOLS", r"Classes\PROTOCOLS"),
    (r"Classes\Wow6432Node\TypeLib", r"Classes\TypeLib"),
)
"""Keys of SOFTWARE that a running Windows makes links of, in the order they are followed."""

_CONTROL_SET = "CURRENTCONTROLSET"
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        r"HKEY_LOCAL_MACHINE\HARDWARE": "Windows makes this key anew at each start",
        "HKEY_CURRENT_CONFIG": "the hardware profile is chosen when Windows starts",
        "HKEY_USERS": "of the users only .DEFAULT has a hive with a known place",
        "HKEY_PERFORMANCE_DATA": "this key is in no hive",
        "HKEY_DYN_DATA": "this key is in no hive",
    }
)


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """A key: the mount name of its hive, and its path below the root of that."""

    hive: str
    path: str


@dataclass(frozen=True, slots=True)
class RegistryRoots:
    r"""How keys of a running Windows lie in the hives of an image.

    `control_set` is what `CurrentControlSet` stands for. `mounted` names further places of hives
    by their paths, as after `reg load HKLM\OFFLINE ...`; it goes before the usual places.
    """

    control_set: str | None = None
    mounted: Mapping[str, str] = field(default_factory=dict)

    def place(self, key: str) -> KeyPlace:
        """The hive and the path of a key.

        Raises:
            NotSupported: `hive`, the key is in no hive of an image, or cannot be told.
        """
        root, *names = split_path(key)
        names = [long_root(root), *names]
        for prefix, hive, inside in self._places():
            above = split_path(prefix)
            if _starts_with(names, above):
                return KeyPlace(
                    hive, self._inside(hive, [*split_path(inside), *names[len(above) :]])
                )
        reasons = [why for path, why in _REASONS.items() if _starts_with(names, split_path(path))]
        reason = reasons[0] if reasons else "no hive of an image has its root there"
        raise NotSupported("hive", f"{key[:200]}: {reason}")

    def _places(self) -> Iterable[tuple[str, str, str]]:
        for prefix, hive in self.mounted.items():
            root, *below = split_path(prefix)
            yield "\\".join((long_root(root), *below)), hive, ""
        for hive, prefix in HIVE_ROOTS.items():
            yield prefix, hive, ""
        for prefix, (hive, inside) in _ALIASES.items():
            yield prefix, hive, inside

    def _inside(self, hive: str, names: list[str]) -> str:
        if hive == "SYSTEM" and names and upcase(names[0]) == _CONTROL_SET:
            if self.control_set is None:
                text = "CurrentControlSet, and the hive does not say which control set starts"
                raise NotSupported("hive", text)
            names = [self.control_set, *names[1:]]
        if hive == "SOFTWARE":
            names = follow_links(names)
        return "\\".join(names)


def follow_links(names: Sequence[str]) -> list[str]:
    """Where in the SOFTWARE hive the key with these names is once its links are followed."""
    names = list(names)
    for link, target in _LINKS:
        above = split_path(link)
        if _starts_with(names, above):
            names = [*split_path(target), *names[len(above) :]]
    return names


def default_control_set(system: Hive) -> str | None:
    """Name of the control set that a SYSTEM hive starts with, such as `ControlSet001`."""
    value = system.value("Select", "Default") or system.value("Select", "Current")
    if value is None or len(value.data) != 4:
        return None
    return f"ControlSet{value.dword():03}"


def mount_name(file_name: str) -> str | None:
    """Mount name of the hive that a file with this name is in Windows, if it is known."""
    name = upcase(file_name)
    name = _FILE_NAMES.get(name, name)
    return name if name in HIVE_ROOTS else None


def registry_edits(edits: Iterable[RegEdit], roots: RegistryRoots) -> tuple[RegistryEdit, ...]:
    """What a `.reg` file asks for as edits of the hives of an image.

    Raises:
        NotSupported: `hive`, with the number of the line.
    """
    places: dict[str, KeyPlace] = {}
    return tuple(_edit(edit, _placed(edit, roots, places)) for edit in edits)


def _placed(edit: RegEdit, roots: RegistryRoots, places: dict[str, KeyPlace]) -> KeyPlace:
    if edit.key not in places:
        try:
            places[edit.key] = roots.place(edit.key)
        except NotSupported as error:
            raise NotSupported(error.reason, f"line {edit.line}: {error.args[1]}") from None
    return places[edit.key]


def _edit(edit: RegEdit, place: KeyPlace) -> RegistryEdit:
    match edit:
        case MakeKey():
            return CreateKey(place.hive, place.path)
        case DropKey():
            return DeleteKey(place.hive, place.path)
        case PutValue(name=name, type=kind, data=data):
            return SetValue(place.hive, place.path, name, kind, data)
        case DropValue(name=name):
            return DeleteValue(place.hive, place.path, name)


def _starts_with(names: list[str], above: list[str]) -> bool:
    return [upcase(name) for name in names[: len(above)]] == [upcase(name) for name in above]
