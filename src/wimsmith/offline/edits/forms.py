"""How each edit is called, and which words it takes: one table for scripts, commands and data.

A word is a required one, which stands behind the name of the edit, or an option.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from wimsmith.offline.edits.kinds import (
    Add,
    Delete,
    DeleteRegistryKey,
    DeleteRegistryValue,
    Edit,
    ImportReg,
    MakeFolder,
    MakeRegistryKey,
    Move,
    PlaceAnswerFile,
    RemovePackage,
    Replace,
    Secure,
    SetFeature,
    SetRegistryValue,
)

FLAGS = frozenset({"overwrite", "parents", "recursive", "source_time"})
"""Options that take no word."""


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of edit as it is written down."""

    kind: type[Any]
    required: tuple[str, ...]
    options: tuple[str, ...] = ()


FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "add": Form(
            Add,
            ("source", "path"),
            ("overwrite", "parents", "attributes", "time", "sddl", "owner", "links"),
        ),
        "replace": Form(Replace, ("path", "source"), ("source_time",)),
        "rm": Form(Delete, ("path",), ("recursive",)),
        "mv": Form(Move, ("path", "new_path"), ("overwrite", "parents")),
        "mkdir": Form(MakeFolder, ("path",), ("parents", "attributes", "time", "sddl", "owner")),
        "security": Form(Secure, ("path",), ("sddl", "owner")),
        "import-reg": Form(ImportReg, ("source",), ("hive", "root", "code_page")),
        "set-value": Form(SetRegistryValue, ("key", "name", "type", "data"), ("hive",)),
        "delete-value": Form(DeleteRegistryValue, ("key", "name"), ("hive",)),
        "create-key": Form(MakeRegistryKey, ("key",), ("hive",)),
        "delete-key": Form(DeleteRegistryKey, ("key",), ("hive",)),
        "answer-file": Form(PlaceAnswerFile, ("source",)),
        "enable-feature": Form(SetFeature, ("feature",)),
        "disable-feature": Form(SetFeature, ("feature",)),
        "remove-package": Form(RemovePackage, ("package",)),
    }
)

_DRIVERS = (
    "Give Setup their folder in the answer file (DriverPaths of PnpCustomizationsWinPE), or let"
    " `drvload` of Windows PE load them."
)
_LANGUAGES = (
    "language packs are not added to offline images: boot files, fonts and settings belong to them,"
    " and the last cumulative update has to follow"
)
REFUSED: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "add-driver": ("drivers", "drivers are not added to offline images", _DRIVERS),
        "add-language-pack": (
            "language-pack",
            _LANGUAGES,
            "Take media of that language, or add the pack on Windows with `dism /Add-Package`.",
        ),
        "add-package": (
            "packages",
            "updates are no edits: they are planned, proved and reported on their own",
            "Use `wimsmith wim service` for a file, or `wimsmith service` at a site.",
        ),
        "add-app": (
            "provisioned-app",
            "apps are not provisioned in offline images",
            "Use `dism /Add-ProvisionedAppxPackage` on Windows.",
        ),
        "set-edition": (
            "edition",
            "the edition of an offline image is not changed",
            "Take the image of that edition, or use `dism /Set-Edition` on Windows.",
        ),
    }
)
"""What people look for here and do not find: reason code, sentence, what to do instead."""

_VERBS = {form.kind: verb for verb, form in FORMS.items() if form.kind is not SetFeature}
_UNTOLD = frozenset({"data"})
_SHOWN_CHARACTERS = 200


def verb_of(edit: Edit) -> str:
    """The name of an edit's kind."""
    if isinstance(edit, SetFeature):
        return "enable-feature" if edit.enabled else "disable-feature"
    return _VERBS[type(edit)]


def title(edit: Edit) -> str:
    """An edit in one line, without options and without the data of values."""
    verb = verb_of(edit)
    names = [name for name in FORMS[verb].required if name not in _UNTOLD | {"type"}]
    words = [str(getattr(edit, name))[:_SHOWN_CHARACTERS] for name in names]
    return " ".join((verb, *(f'"{word}"' if not word or " " in word else word for word in words)))
