"""Counting the content that an image names must agree with parsing it, or refuse it."""

import random

import pytest

from offline.wim.images import TIMES, rich, sha1
from wimsmith.errors import DamagedWim, LimitExceeded
from wimsmith.offline.wim.format.counting import count_content
from wimsmith.offline.wim.format.metadata import parse_metadata, serialize_metadata
from wimsmith.offline.wim.format.tree import Tree


def test_counts_are_those_of_the_tree() -> None:
    tree = rich().tree
    assert count_content(serialize_metadata(tree)) == tree.references()


def test_an_empty_image_names_nothing() -> None:
    assert not count_content(serialize_metadata(Tree.new(times=TIMES)))


def test_directories_that_share_a_list_are_refused() -> None:
    tree = Tree.new(times=TIMES)
    for name in ("first", "second"):
        tree.make_directory(name)
        tree.put_file(f"{name}/file", sha1(name.encode()))
    data = bytearray(serialize_metadata(tree))
    first, second = (data.index(name.encode("utf-16-le")) - 102 for name in ("first", "second"))
    data[second + 16 : second + 24] = data[first + 16 : first + 24]
    for reader in (count_content, parse_metadata):
        with pytest.raises(DamagedWim):
            reader(bytes(data))


def test_a_directory_in_itself_ends_in_an_error() -> None:
    tree = Tree.new(times=TIMES)
    tree.make_directory("a/b")
    data = bytearray(serialize_metadata(tree))
    inner = data.index("b".encode("utf-16-le"), data.index("a".encode("utf-16-le")) + 8) - 102
    outer = data.index("a".encode("utf-16-le")) - 102
    data[inner + 16 : inner + 24] = data[outer + 16 : outer + 24]
    with pytest.raises(DamagedWim):
        count_content(bytes(data))


def test_damaged_metadata_is_refused_or_counted_as_it_is_parsed() -> None:
    chance = random.Random(20)
    whole = serialize_metadata(rich().tree)
    agreed = refused = 0
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2))):
            at = chance.randrange(0, len(data), 2)
            data[at] = chance.choice((0, 1, 8, 0x10, 0x7F, 0xFF, chance.randrange(256)))
        if chance.random() < 0.05:
            del data[chance.randrange(len(data)) :]
        try:
            counts = count_content(bytes(data))
        except DamagedWim:
            refused += 1
            with pytest.raises((DamagedWim, LimitExceeded)):
                parse_metadata(bytes(data))
            continue
        try:
            assert counts == parse_metadata(bytes(data)).references()
            agreed += 1
        except (DamagedWim, LimitExceeded):
            refused += 1
    assert agreed > 1000
    assert refused > 100
