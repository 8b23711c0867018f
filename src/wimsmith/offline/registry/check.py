"""Consistency of a whole hive: what must hold for Windows to find every key and value."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from wimsmith.errors import DamagedHive
from wimsmith.offline.registry import records
from wimsmith.offline.registry.cells import NOWHERE
from wimsmith.offline.registry.index import entry_mark, entry_marks, list_cells
from wimsmith.offline.registry.names import sort_key, utf16_size_bytes
from wimsmith.offline.registry.records import KeyNode
from wimsmith.offline.registry.security import check_descriptor
from wimsmith.offline.registry.tree import KeyTree
from wimsmith.offline.upcase import upcase


def read_everything(tree: KeyTree) -> None:
    """Read all that can be reached from the root.

    Raises:
        DamagedHive: something cannot be read.
    """
    for offset in tree.below(tree.root):
        node = tree.node(offset)
        _check_texts(tree, offset, node)
        tree.ring.read(node.security)
        for item in tree.value_offsets(offset):
            value = records.read_value(tree.cells, item)
            records.value_name(tree.cells, item, value)
            records.read_data(tree.cells, item, value, tree.minor)


def check_tree(tree: KeyTree, *, strict: bool) -> int:
    """Check cells, keys, lists, values and descriptors against one another.

    With `strict` also the fields for the largest name and data, which nothing depends on and which
    programs of other systems let become too small.

    Returns:
        Bytes in used cells to which nothing refers.

    Raises:
        DamagedHive: the first rule that does not hold.
    """
    used = tree.cells.check()
    lost = dict(used)
    descriptors: Counter[int] = Counter()
    pending = [tree.root]
    while pending:
        offset = pending.pop()
        node = tree.node(offset)
        descriptors[node.security] += 1
        _check_texts(tree, offset, node)
        for cell in _cells_of(tree, offset, node):
            if lost.pop(cell, None) is None:
                raise DamagedHive(f"cell at {cell:#x} is used twice or is none")
        pending.extend(_checked_subkeys(tree, offset, node))
        _check_values(tree, offset)
        if strict:
            _check_largest(tree, offset, node)
    for cell in _checked_descriptors(tree, descriptors):
        lost.pop(cell, None)
    return sum(lost.values())


def _cells_of(tree: KeyTree, offset: int, node: KeyNode) -> Iterator[int]:
    yield offset
    if node.class_name != NOWHERE and node.class_size_bytes:
        yield node.class_name
    if node.subkey_count:
        leaves, top = list_cells(tree.cells, node.subkey_list)
        yield from (leaf.offset for leaf in leaves)
        if top is not None:
            yield top.offset
    values = tree.value_offsets(offset)
    if values:
        yield node.value_list
    for value in values:
        yield value
        yield from records.data_cells(tree.cells, records.read_value(tree.cells, value), tree.minor)


def _check_texts(tree: KeyTree, offset: int, node: KeyNode) -> None:
    records.key_name(tree.cells, offset, node)
    records.key_class(tree.cells, offset, node)


def _checked_subkeys(tree: KeyTree, offset: int, node: KeyNode) -> list[int]:
    children = list(tree.subkeys(offset))
    if not children:
        return []
    names = [sort_key(name) for name, _ in children]
    if any(left >= right for left, right in pairwise(names)):
        raise DamagedHive(f"subkeys of the key at {offset:#x} are not sorted")
    marks = entry_marks(tree.cells, node.subkey_list)
    for (name, _), (kind, _, mark) in zip(children, marks, strict=True):
        if kind == b"lh" and entry_mark(kind, name) != mark:
            raise DamagedHive(f"the hash of the key {name!r} is wrong")
    return [child for _, child in children]


def _check_values(tree: KeyTree, offset: int) -> None:
    names: set[str] = set()
    for item in tree.value_offsets(offset):
        value = records.read_value(tree.cells, item)
        name = records.value_name(tree.cells, item, value)
        records.read_data(tree.cells, item, value, tree.minor)
        if upcase(name) in names:
            raise DamagedHive(f"the key at {offset:#x} has the value {name!r} twice")
        names.add(upcase(name))


def _check_largest(tree: KeyTree, offset: int, node: KeyNode) -> None:
    longest = max((utf16_size_bytes(name) for name, _ in tree.subkeys(offset)), default=0)
    if longest > node.max_subkey_name & 0xFFFF:
        raise DamagedHive(f"the key at {offset:#x} has a longer subkey name than it says")
    for item in tree.value_offsets(offset):
        value = records.read_value(tree.cells, item)
        size = len(records.read_data(tree.cells, item, value, tree.minor))
        name = records.value_name(tree.cells, item, value)
        if utf16_size_bytes(name) > node.max_value_name or size > node.max_value_data:
            raise DamagedHive(f"the key at {offset:#x} has a larger value than it says")


def _checked_descriptors(tree: KeyTree, users: Counter[int]) -> Iterator[int]:
    nodes = tree.ring.nodes()
    for offset, node in nodes.items():
        if node.users != users[offset]:
            raise DamagedHive(
                f"descriptor at {offset:#x} counts {node.users} users, has {users[offset]}"
            )
        check_descriptor(tree.ring.read(offset))
        yield offset
    if users.keys() - nodes.keys():
        raise DamagedHive("a key has a security descriptor outside the ring")
