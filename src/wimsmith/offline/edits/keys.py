r"""Edits of the registry: which hive of the image a key is in, and what changes there.

Keys are named as a running Windows names them (`HKLM\SOFTWARE\...`, `HKCU\...`), or by the mount
name of their hive (`SOFTWARE\...`). `HKEY_CURRENT_USER` is the user whose hive was named, and
else the default user, whose hive new users start with.
"""

from collections.abc import Sequence
from pathlib import Path

from wimsmith.errors import InvalidInput, NotFound, NotSupported
from wimsmith.offline import paths
from wimsmith.offline.changes import (
    ChangeSet,
    CreateKey,
    DeleteKey,
    DeleteValue,
    RegistryEdit,
    SetValue,
)
from wimsmith.offline.edits.kinds import (
    DeleteRegistryKey,
    DeleteRegistryValue,
    ImportReg,
    MakeRegistryKey,
    RegistryChange,
    SetRegistryValue,
)
from wimsmith.offline.hivefile import refuse_links
from wimsmith.offline.image import ImageView, hive_name, hive_path
from wimsmith.offline.registry.names import check_key_name, check_value_name, split_path
from wimsmith.offline.registry.regfile import (
    MAX_FILE_BYTES,
    DropKey,
    DropValue,
    MakeKey,
    PutValue,
    RegEdit,
    long_root,
    parse_reg,
)
from wimsmith.offline.registry.roots import (
    HIVE_ROOTS,
    RegistryRoots,
    default_control_set,
    registry_edits,
)
from wimsmith.offline.upcase import upcase

_CLASSES = r"Software\Classes"
_SERVICES = {
    r"HKEY_USERS\S-1-5-19": "WINDOWS/SERVICEPROFILES/LOCALSERVICE/NTUSER.DAT",
    r"HKEY_USERS\S-1-5-20": "WINDOWS/SERVICEPROFILES/NETWORKSERVICE/NTUSER.DAT",
}
_REFUSED = {
    "SAM": "it holds the accounts of the machine, and Windows keeps its passwords in it",
    "SECURITY": "it holds the security policy and the secrets of the machine",
}


def registry_changes(edit: RegistryChange, view: ImageView) -> ChangeSet:
    """What an edit changes in the hives of an image; nothing is changed yet.

    Raises:
        NotSupported: `hive`, a key is in no hive that is changed offline; `registry-link`, a key
            on the way is a link, which Windows would follow.
        DamagedRegFile: a line of the `.reg` file means nothing.
        NotFound: the image, or this machine, lacks the file.
        DamagedHive: a hive cannot be read.
        UnsafePath, LimitExceeded: names or data that the format does not hold.
    """
    asked = _asked(edit)
    root = edit.root if isinstance(edit, ImportReg) else None
    changes = _placed(asked, view, edit.hive, root)
    _check_links(changes, view)
    return ChangeSet(registry=changes)


def _asked(edit: RegistryChange) -> tuple[RegEdit, ...]:
    match edit:
        case ImportReg(source, _, _, code_page):
            return parse_reg(_reg_bytes(source), code_page=code_page).edits
        case SetRegistryValue(key, name, kind, data, hive):
            return (PutValue(0, _key(key, hive), check_value_name(name), kind, data),)
        case DeleteRegistryValue(key, name, hive):
            return (DropValue(0, _key(key, hive), check_value_name(name)),)
        case MakeRegistryKey(key, hive):
            return (MakeKey(0, _key(key, hive)),)
        case DeleteRegistryKey(key, hive):
            return (DropKey(0, _key(key, hive)),)


def _key(path: str, hive: str | None) -> str:
    """The whole path of a key, which may be told from the root of a hive that is named."""
    names = split_path(path)
    if not names:
        raise InvalidInput("a registry key without a name")
    for name in names:
        check_key_name(name)
    if hive is not None and not long_root(names[0]).startswith("HKEY_"):
        names.insert(0, hive_of(hive))
    return "\\".join(names)


def _reg_bytes(source: Path) -> bytes:
    if not source.is_file():
        raise NotFound(f"{source}")
    with source.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _placed(
    asked: Sequence[RegEdit], view: ImageView, hive: str | None, root: str | None
) -> tuple[RegistryEdit, ...]:
    wanted = None if hive is None else hive_of(hive)
    if wanted is None and root is not None:
        raise InvalidInput("a root without a hive", hint="Say --hive as well.")
    roots = RegistryRoots(_control_set(asked, view, wanted), _mounted(wanted, root))
    try:
        changes = registry_edits(asked, roots)
    except NotSupported as error:
        error.args = (error.reason, str(error.args[1]).removeprefix("line 0: "))
        raise
    for one, change in zip(asked, changes, strict=True):
        _check_hive(one, change, wanted)
    return changes


def hive_of(name: str) -> str:
    r"""The name by which an image knows a hive: by its mount name, its root or its path.

    Raises:
        NotSupported: `hive`, there is no such hive, or it is not changed offline.
    """
    upper = upcase(name)
    if upper in _REFUSED:
        raise _refused(upper)
    for mount, root in HIVE_ROOTS.items():
        if upcase(root) == upper:
            return mount
    if paths.fold(paths.join(name)) in {f"WINDOWS/SYSTEM32/CONFIG/{one}" for one in _REFUSED}:
        raise _refused(upper.replace("\\", "/").rpartition("/")[2])
    return hive_name(name)


def _refused(mount: str) -> NotSupported:
    return NotSupported(
        "hive",
        f"the hive {mount} is not edited offline: {_REFUSED[mount]}",
        hint="Accounts and passwords belong into an answer file.",
    )


def _check_hive(asked: RegEdit, change: RegistryEdit, wanted: str | None) -> None:
    at = f"line {asked.line}: " if asked.line else ""
    if change.hive in _REFUSED:
        error = _refused(change.hive)
        error.args = (error.reason, f"{at}{error.args[1]}")
        raise error
    if wanted is not None and change.hive not in {wanted, _classes_of(wanted)}:
        text = f"{at}{asked.key[:200]} is not in the hive {wanted}"
        raise NotSupported("hive", text, hint="--root says what the hive is called in the file.")


def _mounted(wanted: str | None, root: str | None) -> dict[str, str]:
    """Places of hives besides the usual ones, those that go before others first."""
    user = wanted if wanted is not None and _is_user(wanted) else "NTUSER"
    profile = [root] if root is not None and _is_user(wanted) else []
    mounted = dict(_SERVICES)
    for name in ("HKEY_CURRENT_USER", *profile, user):
        mounted[f"{name}\\{_CLASSES}"] = _classes_of(user)
        mounted[name] = user
    if wanted is not None:
        mounted[root or HIVE_ROOTS.get(wanted, wanted)] = wanted
        mounted[wanted] = wanted
    return mounted | {mount: mount for mount in HIVE_ROOTS if mount not in mounted}


def _is_user(hive: str | None) -> bool:
    return hive == "NTUSER" or (hive is not None and hive.endswith("/NTUSER.DAT"))


def _classes_of(hive: str) -> str:
    r"""Name of the hive that a user's `Software\Classes` is in; of other hives their own."""
    if not _is_user(hive):
        return hive
    profile = paths.parent(hive_path(hive))
    return hive_name(f"{profile}/AppData/Local/Microsoft/Windows/UsrClass.dat")


def _control_set(asked: Sequence[RegEdit], view: ImageView, wanted: str | None) -> str | None:
    """What `CurrentControlSet` is in this image, where a key speaks of it."""
    is_asked = any("CURRENTCONTROLSET" in edit.key.upper() for edit in asked)
    if not is_asked or wanted not in {None, "SYSTEM"} or not view.has_hive("SYSTEM"):
        return None
    return default_control_set(view.hive("SYSTEM"))


def _check_links(changes: Sequence[RegistryEdit], view: ImageView) -> None:
    """Refuse keys that are reached through links."""
    seen: set[tuple[str, str]] = set()
    for change in changes:
        place = (change.hive, change.key)
        if place in seen:
            continue
        seen.add(place)
        if change.hive.endswith("/USRCLASS.DAT") and not view.exists(change.hive):
            raise NotSupported(
                "hive",
                f"what a user has below {_CLASSES} is in {change.hive}, which the image lacks",
                hint=rf"HKLM\{_CLASSES} is for all users.",
            )
        refuse_links(view.hive(change.hive), change.key)


def idle(view: ImageView, change: RegistryEdit) -> bool:
    """Whether a change leaves the hive as it is."""
    key = view.hive(change.hive).key(change.key)
    match change:
        case SetValue(_, _, name, kind, data):
            value = None if key is None else key.value(name)
            return value is not None and (value.type, value.data) == (kind, data)
        case DeleteValue(_, _, name):
            return key is None or key.value(name) is None
        case CreateKey(_, _, security):
            return key is not None and security in {None, key.security}
        case DeleteKey():
            return key is None
