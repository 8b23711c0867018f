"""XML text of manifests: a tree of elements, written the way the real ones look."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

_BOM = "\ufeff"
PROLOG = '<?xml version="1.0" encoding="utf-8" standalone="yes"?>'


@dataclass(frozen=True, slots=True)
class Node:
    """An element; `text` is used when there are no children."""

    tag: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    children: tuple["Node", ...] = ()
    text: str = ""


def node(tag: str, children: Iterable[Node] = (), /, **attributes: str | None) -> Node:
    """An element; attributes that are None are left out."""
    kept = {name: value for name, value in attributes.items() if value is not None}
    return Node(tag, kept, tuple(children))


def render(root: Node, *, bom: bool = False) -> bytes:
    """The document as UTF-8 with CR LF, optionally after a byte order mark."""
    lines = [PROLOG, *_lines(root, 0)]
    return ((_BOM if bom else "") + "\r\n".join(lines)).encode()


def _lines(item: Node, depth: int) -> Iterable[str]:
    indent = "  " * depth
    head = item.tag + "".join(
        f" {name}={_quoted(value)}" for name, value in item.attributes.items()
    )
    if item.children:
        yield f"{indent}<{head}>"
        for child in item.children:
            yield from _lines(child, depth + 1)
        yield f"{indent}</{item.tag}>"
    elif item.text:
        yield f"{indent}<{head}>{escape(item.text)}</{item.tag}>"
    else:
        yield f"{indent}<{head} />"


def _quoted(value: str) -> str:
    return quoteattr(value, {'"': "&quot;", "\r": "&#xD;", "\n": "&#xA;", "\t": "&#x9;"})
