"""Places of an image that belong to the servicing of Windows: edits there are done, and told."""

from collections.abc import Iterator

from wimsmith.offline import paths
from wimsmith.offline.changes import (
    ChangeSet,
    CreateKey,
    Link,
    MakeDirectory,
    PutFile,
    Remove,
    Rename,
    ReplaceContent,
    TreeEdit,
)
from wimsmith.offline.image import HIVE_PATHS
from wimsmith.offline.paths import fold
from wimsmith.offline.wim.format.tree import Entry, Tree

_STORE = "WINDOWS/WINSXS"
_PLACES = {
    _STORE: "the component store",
    "WINDOWS/SERVICING": "the records of servicing",
    "WINDOWS/SYSTEM32/CATROOT": "the catalogs that vouch for files of Windows",
    "WINDOWS/SYSTEM32/DRIVERSTORE": "the driver store",
}
_HIVES = frozenset(fold(path) for path in HIVE_PATHS.values())
_STORE_KEYS = ("MICROSOFT/WINDOWS/CURRENTVERSION/COMPONENT BASED SERVICING",)


def warnings_of(tree: Tree, changes: ChangeSet) -> tuple[str, ...]:
    """What is worth knowing about changes that `tree` does not have yet, each once."""
    counts: dict[str, int] = {}
    for edit in changes.tree:
        for sentence in _sentences(tree, edit):
            counts[sentence] = counts.get(sentence, 0) + 1
    for change in changes.registry:
        about = None if isinstance(change, CreateKey) else _key_sentence(change.hive, change.key)
        if about is not None:
            counts[about] = counts.get(about, 0) + 1
    return tuple(
        sentence if count == 1 else f"{sentence} ({count} times)"
        for sentence, count in counts.items()
    )


def _sentences(tree: Tree, edit: TreeEdit) -> Iterator[str]:
    touched = [edit.path, edit.new_path] if isinstance(edit, Rename) else [edit.path]
    for path in touched:
        place = _place(path)
        if place and not (isinstance(edit, MakeDirectory) and tree.find(path)):
            yield f"{place}: changed by hand, which servicing may take for damage"
    entry = tree.find(edit.path)
    if entry is None or not isinstance(edit, PutFile | ReplaceContent | Link | Remove | Rename):
        return
    if isinstance(edit, ReplaceContent) and fold(edit.path) in _HIVES:
        yield "a whole registry hive is replaced"
    for one in _files(tree, entry):
        if _is_of_windows(one, entry):
            yield _FILE_OF_WINDOWS[type(edit)]


_FILE_OF_WINDOWS: dict[type, str] = {
    PutFile: "a file of the component store gets another content under this name alone; servicing"
    " or `sfc` may bring the old one back",
    Link: "a file of the component store is replaced under this name",
    ReplaceContent: "a file of the component store gets another content, also in the store, which"
    " servicing takes for damage",
    Remove: "a file of the component store is removed under this name; servicing or `sfc` may bring"
    " it back",
    Rename: "a file of the component store is moved; servicing or `sfc` may bring it back",
}


def _files(tree: Tree, entry: Entry) -> Iterator[Entry]:
    return (one for one in tree.walk(entry) if not one.is_directory)


def _is_of_windows(entry: Entry, top: Entry) -> bool:
    """Whether a file that stands outside the store has a name in it."""
    names = entry.inode.entries
    return len(names) > 1 and not _in_store(top) and any(map(_in_store, names))


def _in_store(entry: Entry) -> bool:
    above: Entry | None = entry
    names: list[str] = []
    while above is not None and above.parent is not None:
        names.append(above.name)
        above = above.parent
    return [fold(name) for name in names[-2:]] == ["WINSXS", "WINDOWS"]


def _place(path: str) -> str | None:
    folded = fold("/".join(paths.split(path)))
    for prefix, name in _PLACES.items():
        if folded == prefix or folded.startswith(f"{prefix}/"):
            return name
    return None


def _key_sentence(hive: str, key: str) -> str | None:
    if hive == "COMPONENTS":
        return "the hive COMPONENTS holds the records of the component store"
    folded = fold(key.replace("\\", "/"))
    if hive == "SOFTWARE" and folded.startswith(_STORE_KEYS):
        return "the key Component Based Servicing holds the records of packages"
    return None
