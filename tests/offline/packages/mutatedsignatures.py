"""Signed messages changed by someone who knows DER: parts change, lengths are right again.

Half of the changed lists and digests are signed anew, so that they get past the signature.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from offline.packages import madesignatures as made
from offline.packages.madesignatures import World
from wimsmith.practice.der import tlv

TRUST_LIST = "1.3.6.1.4.1.311.10.1"
STAMPED = datetime(2015, 7, 21, tzinfo=UTC)
_NUMBERS = (b"", b"\0", b"\x7f", b"\x80", b"\xff" * 4, b"\xff" * 20, bytes(300))
_TAGS = (0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x17, 0x18, 0x30, 0x31, 0xA0, 0xA1, 0x80)


@dataclass
class Node:
    """An element; a constructed one has `inside`, another `content`."""

    tag: int
    content: bytes = b""
    inside: list["Node"] = field(default_factory=list)

    @property
    def constructed(self) -> bool:
        return bool(self.tag & 0x20)

    def encode(self) -> bytes:
        if not self.constructed:
            return tlv(self.tag, self.content)
        return tlv(self.tag, b"".join(one.encode() for one in self.inside))

    def all(self) -> list["Node"]:
        """This node and all below it."""
        return [self, *(below for one in self.inside for below in one.all())]


def parse(data: bytes) -> Node:
    """The tree of sound DER."""
    node, _end = _parse(data, 0)
    return node


def _parse(data: bytes, at: int) -> tuple[Node, int]:
    tag, size = data[at], data[at + 1]
    at += 2
    if size > 0x80:
        width = size - 0x80
        size = int.from_bytes(data[at : at + width], "big")
        at += width
    end = at + size
    if not tag & 0x20:
        return Node(tag, data[at:end]), end
    inside = []
    while at < end:
        node, at = _parse(data, at)
        inside.append(node)
    return Node(tag, inside=inside), end


def changed(data: bytes, chance: random.Random) -> bytes:
    """Sound DER with a few elements changed."""
    tree = parse(data)
    for _change in range(chance.choice((1, 1, 2, 4))):
        chance.choice(_CHANGES)(chance.choice(tree.all()), chance)
    return tree.encode()


def _content(node: Node, chance: random.Random) -> None:
    if node.constructed or not node.content:
        return
    data = bytearray(node.content)
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    node.content = bytes(data)


def _replaced(node: Node, chance: random.Random) -> None:
    if not node.constructed:
        node.content = chance.choice(_NUMBERS)


def _removed(node: Node, chance: random.Random) -> None:
    if node.inside:
        del node.inside[chance.randrange(len(node.inside))]


def _repeated(node: Node, chance: random.Random) -> None:
    if node.inside:
        node.inside += [chance.choice(node.inside)] * chance.choice((1, 2, 70))


def _swapped(node: Node, chance: random.Random) -> None:
    chance.shuffle(node.inside)


def _retagged(node: Node, chance: random.Random) -> None:
    tag = chance.choice(_TAGS)
    if bool(tag & 0x20) == node.constructed:
        node.tag = tag


def _buried(node: Node, chance: random.Random) -> None:
    """Put deep below others."""
    for _level in range(chance.choice((1, 3, 60))):
        node.inside = [Node(node.tag, node.content, node.inside)]
        node.tag, node.content = 0x30, b""


def _moved(node: Node, chance: random.Random) -> None:
    """Take the content of another element of the same kind."""
    if not node.constructed:
        node.content = bytes(chance.randrange(256) for _byte in range(chance.randrange(40)))


_CHANGES: tuple[Callable[[Node, random.Random], None], ...] = (
    *(_content,) * 5,
    *(_replaced,) * 2,
    *(_removed,) * 2,
    _repeated,
    _swapped,
    _retagged,
    _buried,
    _moved,
)


def content_of(catalog: bytes) -> bytes:
    """The trust list in a catalog, as DER."""
    signed = parse(catalog).inside[1].inside[0]
    return signed.inside[2].inside[1].inside[0].encode()


def changed_catalog(good: bytes, here: World, chance: random.Random) -> bytes:
    """A catalog with changes, in half of the cases in a list that is then signed."""
    if chance.randrange(2):
        return changed(good, chance)
    content = changed(content_of(good), chance)
    return made.message(TRUST_LIST, content, here.signer, here.chain)


def changed_signature(here: World, cabinet: bytes, chance: random.Random) -> bytes:
    """A cabinet whose signature, time stamp or stated digest was changed."""
    stamp = made.token(here.stamper, [here.stamper], STAMPED)
    choice = chance.randrange(3)
    if choice == 0:
        blob = changed(made.file_signature(here, cabinet, unsigned=[stamp]), chance)
    elif choice == 1:
        blob = made.file_signature(
            here, cabinet, unsigned=[lambda signature: changed(stamp(signature), chance)]
        )
    else:
        digest = made.cabinet_digest(cabinet, "sha256")
        content = changed(made.indirect_data("sha256", digest), chance)
        blob = made.message(made.INDIRECT_DATA, content, here.signer, here.chain)
    return made.with_signature(cabinet, blob)
