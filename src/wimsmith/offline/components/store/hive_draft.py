"""Edits of one hive that are not yet made, and the hive as it reads with them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from wimsmith.errors import LimitExceeded
from wimsmith.offline.changes import CreateKey, DeleteKey, DeleteValue, RegistryEdit, SetValue
from wimsmith.offline.paths import fold
from wimsmith.offline.registry.hive import MAX_DEPTH, Hive, Key
from wimsmith.offline.registry.names import check_key_name, check_value_name, split_path
from wimsmith.offline.registry.records import check_data_size
from wimsmith.offline.registry.values import Value


@dataclass(slots=True)
class _Pending:
    """A key that edits touch; a value that is None has been deleted."""

    path: str
    values: dict[str, Value | None] = field(default_factory=dict)


class HiveDraft:
    """One hive with pending edits; reading sees them, the hive itself stays as it is.

    Edits that change nothing are not recorded.
    """

    __slots__ = ("_below", "_hidden", "_hive", "_pending", "_record", "name")

    def __init__(self, name: str, hive: Hive, record: list[RegistryEdit]) -> None:
        """Edits of the hive with mount name `name` are appended to `record`."""
        self.name = name
        self._hive = hive
        self._record = record
        self._pending: dict[str, _Pending] = {}
        self._below: dict[str, dict[str, str]] = {}
        self._hidden: set[str] = set()

    def check(self) -> None:
        """Read all of the hive as it is without the edits, and check that it is consistent.

        Raises:
            DamagedHive: cells used twice, wrong counts, unsorted lists...
        """
        self._hive.check()

    def exists(self, path: str) -> bool:
        return fold(path) in self._pending or self._base(path) is not None

    def security(self, path: str) -> bytes | None:
        """The descriptor, in the hive as it was, of the key at `path` or the next one above."""
        while True:
            base = self._base(path)
            if base is not None or not path:
                return base.security if base else None
            path = path.rpartition("\\")[0]

    def is_link(self, path: str) -> bool:
        """Whether the key at `path`, or one above it, is a link to another key."""
        names = split_path(path)
        keys = (self._base("\\".join(names[:end])) for end in range(1, len(names) + 1))
        return any(key is not None and key.is_link for key in keys)

    def value(self, path: str, name: str = "") -> Value | None:
        """A value of the key at `path`, if both are there; "" is the default value."""
        pending = self._pending.get(fold(path))
        if pending and fold(name) in pending.values:
            return pending.values[fold(name)]
        base = self._base(path)
        return base.value(name) if base else None

    def values(self, path: str) -> Iterator[Value]:
        """The values of the key at `path`; none where there is no such key."""
        pending = self._pending.get(fold(path))
        changed = dict(pending.values) if pending else {}
        base = self._base(path)
        for value in base.values() if base else ():
            known = fold(value.name) in changed
            kept = changed.pop(fold(value.name)) if known else value
            if kept is not None:
                yield kept
        yield from (value for value in changed.values() if value is not None)

    def subkeys(self, path: str) -> Iterator[str]:
        """Names of the subkeys of the key at `path`."""
        seen = set()
        base = self._base(path)
        for key in base.subkeys() if base else ():
            if not self._is_hidden(fold(key.path)) or fold(key.path) in self._pending:
                seen.add(fold(key.name))
                yield key.name
        for folded, name in list(self._below.get(fold(path), {}).items()):
            if folded not in seen:
                yield name

    def set_value(self, path: str, name: str, value_type: int, data: bytes) -> None:
        """Set a value, making its key where missing.

        Raises:
            UnsafePath, LimitExceeded: the hive cannot hold it.
        """
        check_value_name(name)
        check_data_size(len(data), self._hive.version[1])
        old = self.value(path, name)
        if old is not None and (old.type, old.data) == (value_type, data):
            return
        stored = old.name if old else name
        self._touch(path).values[fold(name)] = Value(stored, int(value_type), data)
        self._record.append(SetValue(self.name, path, stored, int(value_type), data))

    def delete_value(self, path: str, name: str) -> None:
        """Delete a value; one that is not there is no error."""
        if self.value(path, name) is None:
            return
        self._touch(path).values[fold(name)] = None
        self._record.append(DeleteValue(self.name, path, name))

    def create_key(self, path: str, security: bytes | None = None) -> None:
        """Make a key with those above it; with `security` an existing key gets that.

        Raises:
            UnsafePath, LimitExceeded: the hive cannot hold it.
        """
        base = self._base(path)
        same_security = security is None or (base is not None and base.security == security)
        if self.exists(path) and same_security:
            return
        self._touch(path)
        self._record.append(CreateKey(self.name, path, security))

    def delete_key(self, path: str) -> None:
        """Delete a key with all below it; one that is not there is no error."""
        if not self.exists(path):
            return
        folded = fold(path)
        for key in [one for one in self._pending if (one + "\\").startswith(folded + "\\")]:
            del self._pending[key]
            above, _, name = key.rpartition("\\")
            self._below.get(above, {}).pop(name, None)
        self._hidden.add(folded)
        self._record.append(DeleteKey(self.name, path))

    def _touch(self, path: str) -> _Pending:
        names = split_path(path)
        if len(names) > MAX_DEPTH:
            raise LimitExceeded(f"a registry path of {len(names)} keys")
        for name in names:
            check_key_name(name)
        if not names:
            return self._pending.setdefault("", _Pending(""))
        for end in range(len(names), 0, -1):
            above = "\\".join(names[:end])
            if fold(above) in self._pending:
                break
            self._pending[fold(above)] = _Pending(above)
            parent = fold("\\".join(names[: end - 1]))
            self._below.setdefault(parent, {})[fold(names[end - 1])] = names[end - 1]
        return self._pending[fold("\\".join(names))]

    def _base(self, path: str) -> Key | None:
        return None if self._is_hidden(fold(path)) else self._hive.key(path)

    def _is_hidden(self, folded: str) -> bool:
        while folded:
            if folded in self._hidden:
                return True
            folded = folded.rpartition("\\")[0]
        return False
