"""Edits carried out on a hive, where new keys get the security that Windows would give them."""

from functools import lru_cache

from wimsmith.offline.changes import CreateKey, DeleteKey, DeleteValue, RegistryEdit, SetValue
from wimsmith.offline.registry.hive import Hive
from wimsmith.offline.registry.names import split_path
from wimsmith.offline.security import KEY_RIGHTS, inherit


def edit_hive(hive: Hive, edit: RegistryEdit) -> None:
    """Carry out one edit; keys that it makes inherit, unless it says their descriptor.

    Raises:
        NotSupported: `registry-key`, the root of a hive cannot be deleted.
        UnsafePath, LimitExceeded: names or data that the format does not hold.
        DamagedSecurity: the descriptor of the key above a new one is broken.
    """
    match edit:
        case SetValue(_, key, name, kind, data):
            _make_key(hive, key)
            hive.set_value(key, name, kind, data)
        case DeleteValue(_, key, name):
            hive.delete_value(key, name)
        case CreateKey(_, key, None):
            _make_key(hive, key)
        case CreateKey(_, key, security):
            _make_key(hive, "\\".join(split_path(key)[:-1]))
            hive.create_key(key, security)
        case DeleteKey(_, key):
            hive.delete_key(key)


def _make_key(hive: Hive, path: str) -> None:
    if hive.key(path) is not None:
        return
    key = hive.root
    names = split_path(path)
    for end, name in enumerate(names, start=1):
        below = key.subkey(name)
        if below is None:
            below = hive.create_key("\\".join(names[:end]), _handed_down(key.security))
        key = below


@lru_cache(maxsize=256)
def _handed_down(parent: bytes) -> bytes:
    return inherit(parent, is_directory=True, rights=KEY_RIGHTS)
