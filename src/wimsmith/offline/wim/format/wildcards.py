"""Names and paths of an image by pattern: `*` any characters, `?` one, `**` any folders."""

import re
from collections.abc import Callable, Iterator, Sequence

from wimsmith.offline import paths
from wimsmith.offline.wim.format.tree import Entry, Tree

ANY_FOLDERS = "**"


def has_wildcards(text: str) -> bool:
    """Whether a path is a pattern. No name that Windows accepts has these characters."""
    return "*" in text or "?" in text


def name_matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name matches a pattern for names, ignoring case as Windows does."""
    parts = {"*": ".*", "?": "."}
    text = "".join(
        parts.get(one, re.escape(one)) for one in paths.fold(re.sub(r"\*+", "*", pattern))
    )
    match = re.compile(text, re.DOTALL).fullmatch
    return lambda name: match(paths.fold(name)) is not None


def matching(tree: Tree, pattern: str) -> list[Entry]:
    """Entries whose path matches a pattern, each once, in the order of the tree."""
    names = _names(pattern)
    pending = [(tree.root, 0)]
    seen: set[tuple[Entry, int]] = set()
    while pending:
        step = pending.pop()
        if step not in seen:
            seen.add(step)
            pending += _steps(*step, names)
    found = {entry for entry, place in seen if place == len(names)}
    return [entry for entry in tree.walk() if entry in found] if found else []


def _names(pattern: str) -> list[str]:
    """Names of a pattern; one `**` after another would say nothing more."""
    names: list[str] = []
    for name in paths.split(pattern):
        if name != ANY_FOLDERS or names[-1:] != [ANY_FOLDERS]:
            names.append(name)
    return names


def _steps(entry: Entry, place: int, names: Sequence[str]) -> Iterator[tuple[Entry, int]]:
    if place == len(names):
        return
    children = (entry.children or {}).values()
    if names[place] != ANY_FOLDERS:
        matches = name_matcher(names[place])
        yield from ((child, place + 1) for child in children if matches(child.name))
        return
    yield entry, place + 1
    is_last = place + 1 == len(names)
    for child in children:
        if child.is_directory:
            yield child, place
        elif is_last:
            yield child, place + 1
