"""A hive as plain dictionaries, and random edits that change it and a real one alike."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from offline.registry import readers
from wimsmith.offline.registry import Hive, default_security
from wimsmith.offline.security import compile_sddl

_WORDS = ("Alpha", "beta", "Caf\u00e9", "\u0414\u0430\u0442\u0430", "\u4e2d\u6587", "x", "Key 1")
_SIZES = (0, 1, 3, 4, 5, 60, 700, 4000, 16_343, 16_344, 16_345, 40_000, 100_001)
_COMMON_SIZES = (2, 4, 8, 20, 52, 120)
_TYPES = (0, 1, 2, 3, 4, 7, 8, 11, 0x20001)
_SECURITY = tuple(compile_sddl(f"O:BAG:SYD:(A;CI;KA;;;S-1-5-21-1-2-3-{n})") for n in range(4))
_MAX_DELETED_KEYS = 40
_MAX_DEPTH = 12


@dataclass(slots=True)
class ModelKey:
    """A key; names of values and of keys below are found by their upper case."""

    name: str
    values: dict[str, tuple[str, int, bytes]] = field(default_factory=dict)
    below: dict[str, "ModelKey"] = field(default_factory=dict)
    class_name: str = ""
    written: int = 0
    security: bytes | None = None

    def walk(self, path: str = "") -> Iterator[tuple[str, "ModelKey"]]:
        pending = [(path, self)]
        while pending:
            where, key = pending.pop()
            yield where, key
            pending.extend(
                (f"{where}\\{child.name}" if where else child.name, child)
                for child in key.below.values()
            )

    def find(self, path: str) -> "ModelKey | None":
        key: ModelKey | None = self
        for name in path.split("\\") if path else ():
            key = key.below.get(name.upper()) if key else None
        return key


@dataclass(slots=True)
class Player:
    """Plays random edits on a hive and on its model."""

    hive: Hive
    root: ModelKey
    chance: random.Random
    done: dict[str, int] = field(default_factory=dict)
    _touched: dict[int, ModelKey] = field(default_factory=dict)
    _paths: list[str] = field(default_factory=list)

    def play(self, edits: int) -> None:
        """Make so many random edits."""
        self._paths = [path for path, _ in self.root.walk()]
        for _ in range(edits):
            edit = self.chance.choices(
                (
                    self.set_value,
                    self.delete_value,
                    self.create_key,
                    self.delete_key,
                    self.rename_key,
                    self.set_security,
                    self.create_many,
                ),
                (30, 12, 20, 14, 8, 5, 1),
            )[0]
            edit()
            self.done[edit.__name__] = self.done.get(edit.__name__, 0) + 1

    def write(self, now: int) -> bytes:
        """The hive file at the time `now`, which all keys edited since it was opened get."""
        for key in self._touched.values():
            key.written = now
        return self.hive.serialize(now)

    def reopen(self, data: bytes) -> None:
        """Go on with the hive as it was written."""
        self.hive = Hive.parse(data)
        self._touched.clear()

    def set_value(self) -> None:
        path, key = self._some_key()
        name = self._value_name(key)
        kind = self.chance.choice(_TYPES)
        size = self.chance.choice(_SIZES if not self.chance.randrange(6) else _COMMON_SIZES)
        data = self.chance.randbytes(size)
        before = key.values.get(name.upper())
        if before is not None and not self.chance.randrange(4):
            kind, data = before[1:]
        self.hive.set_value(self._cased(path), name, kind, data)
        stored = before[0] if before else name
        if before is None or before[1:] != (kind, data):
            self._touch(key)
        key.values[name.upper()] = (stored, kind, data)

    def delete_value(self) -> None:
        path, key = self._some_key()
        name = self._value_name(key)
        gone = key.values.pop(name.upper(), None)
        assert self.hive.delete_value(self._cased(path), self._cased(name)) == (gone is not None)
        if gone is not None:
            self._touch(key)

    def create_key(self) -> None:
        path, key = self._some_key()
        names = [self._new_name() for _ in range(self.chance.randint(1, 3))]
        class_name = self.chance.choice(("", "", "a class"))
        whole = "\\".join([path, *names] if path else names)
        if whole.count("\\") >= _MAX_DEPTH:
            return
        made = self.hive.create_key(whole, class_name=class_name)
        is_new = self.root.find(whole) is None
        for name in names:
            key = self._ensure(key, name)
        if is_new:
            key.class_name = class_name
        assert made.name == key.name
        self._paths.append(whole)

    def create_many(self) -> None:
        path, key = self._some_key()
        count = self.chance.choice((30, 300, 700))
        for number in self.chance.sample(range(count), count):
            name = f"{number:04} of many"
            self.hive.create_key(f"{path}\\{name}")
            self._ensure(key, name)
        for number in self.chance.sample(range(count), count * 9 // 10):
            name = f"{number:04} of many"
            assert self.hive.delete_key(f"{path}\\{name}")
            del key.below[name.upper()]

    def delete_key(self) -> None:
        path, key = self._some_key()
        if not path or sum(1 for _ in key.walk()) > _MAX_DELETED_KEYS:
            return
        above = self.root.find(path.rpartition("\\")[0])
        assert above is not None
        assert self.hive.delete_key(self._cased(path))
        del above.below[key.name.upper()]
        for _, gone in key.walk():
            self._touched.pop(id(gone), None)
        self._touch(above)

    def rename_key(self) -> None:
        path, key = self._some_key()
        if not path:
            return
        above = self.root.find(path.rpartition("\\")[0])
        assert above is not None
        name = self.chance.choice((self._new_name(), key.name.upper(), key.name + " longer" * 9))
        if len(name) > 200 or above.below.get(name.upper(), key) is not key:
            return
        assert self.hive.rename_key(self._cased(path), name).name == name
        if name != key.name:
            self._touch(key)
            self._touch(above)
        del above.below[key.name.upper()]
        above.below[name.upper()] = key
        key.name = name

    def set_security(self) -> None:
        path, key = self._some_key()
        security = self.chance.choice(_SECURITY)
        before = self.hive.key(path)
        assert before is not None
        assert key.security in {None, before.security}
        if before.security != security:
            self._touch(key)
        self.hive.create_key(path, security)
        key.security = security

    def _some_key(self) -> tuple[str, ModelKey]:
        while True:
            # Keys of late are in demand: edits meet one another.
            recent = self._paths[-30:] if self.chance.randrange(2) else self._paths
            path = self.chance.choice(recent)
            key = self.root.find(path)
            if key is not None:
                names, at = [], self.root
                for name in path.split("\\") if path else ():
                    at = at.below[name.upper()]
                    names.append(at.name)
                return "\\".join(names), key

    def _value_name(self, key: ModelKey) -> str:
        if key.values and self.chance.randrange(3):
            return self._cased(self.chance.choice(list(key.values.values()))[0])
        return self.chance.choice(("", self._new_name()))

    def _new_name(self) -> str:
        return f"{self.chance.choice(_WORDS)}{self.chance.choice(('', ' ', '_2', '-33'))}".strip()

    def _cased(self, text: str) -> str:
        return self.chance.choice((text, text, text.upper()))

    def _ensure(self, key: ModelKey, name: str) -> ModelKey:
        if (known := key.below.get(name.upper())) is not None:
            return known
        key.below[name.upper()] = new = ModelKey(name, security=key.security)
        self._touch(key)
        self._touch(new)
        return new

    def _touch(self, key: ModelKey) -> None:
        self._touched[id(key)] = key


def new_model(dump: readers.Dump, details: dict[str, readers.Detail]) -> ModelKey:
    """The model of a hive that another reader has read."""
    root = ModelKey("")
    for path in sorted(dump, key=lambda path: path.count("\\")):
        above, _, name = path.rpartition("\\")
        parent = root.find(above)
        assert parent is not None
        key = ModelKey(name) if path else root
        if path:
            parent.below[name.upper()] = key
        key.values = {value[0].upper(): value for value in dump[path]}
        key.written, key.class_name = details[path]
    return root


def as_dump(root: ModelKey) -> readers.Dump:
    """All that the model holds, as readers give it."""
    return {path: frozenset(key.values.values()) for path, key in root.walk()}


def as_details(root: ModelKey) -> dict[str, readers.Detail]:
    """Time of last write and class of all keys of the model."""
    return {path: (key.written, key.class_name) for path, key in root.walk()}


def check_security(hive: Hive, root: ModelKey) -> None:
    """Every key whose descriptor the model knows has that one."""
    known = {path: key.security for path, key in root.walk() if key.security is not None}
    for path, security in known.items():
        key = hive.key(path)
        assert key is not None
        assert key.security == security
    assert default_security() not in _SECURITY
