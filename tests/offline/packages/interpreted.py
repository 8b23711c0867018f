"""The delta decoder twice in one process: as it is installed, and from its Python source."""

import importlib
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

import wimsmith.offline.packages.deltas
from wimsmith.offline.packages.deltas import bits

PACKAGE = "wimsmith.offline.packages.deltas"
DECODER = (
    "bits",
    "rift",
    "copystream",
    "peimage",
    "petransform",
    "perelocations",
    "x86code",
    "amd64code",
    "pedelta",
    "lzxdelta",
    "pa19",
    "delta",
)


def is_compiled() -> bool:
    """Whether the decoder that is installed here runs compiled."""
    return not str(bits.__file__).endswith(".py")


class _FromSource:
    """Finds the modules of the decoder as source, wherever compiled ones are found first."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, module = name.rpartition(".")
        if package != PACKAGE or module not in DECODER:
            return None
        path = str(Path(wimsmith.offline.packages.deltas.__file__).parent / f"{module}.py")
        return spec_from_file_location(name, path, loader=SourceFileLoader(name, path))


@cache
def interpreted() -> dict[str, ModuleType]:
    """Modules of the decoder by their short names, imported from source."""
    names = {module: f"{PACKAGE}.{module}" for module in DECODER}
    installed = {module: importlib.import_module(name) for module, name in names.items()}
    finder = _FromSource()
    try:
        sys.meta_path.insert(0, finder)
        for name in names.values():
            del sys.modules[name]
        return {module: importlib.import_module(name) for module, name in names.items()}
    finally:
        sys.meta_path.remove(finder)
        for module, original in installed.items():
            sys.modules[names[module]] = original
            setattr(wimsmith.offline.packages.deltas, module, original)
