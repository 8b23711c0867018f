"""Compiles the inner loops of the delta decoder to C, where a compiler is at hand.

A build hook of hatchling, and a script that `bin/setup` runs: `python hatch_build.py`. The sources
are ordinary Python modules; `.pxd` files beside them state the C types. Without Cython or a
compiler nothing is compiled, one line says so, and the same modules run interpreted.
"""

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
SOURCE_ROOT = ROOT / "src"
PACKAGE = SOURCE_ROOT / "wimsmith" / "offline" / "packages" / "deltas"
MODULES = (
    "bits",
    "rift",
    "copystream",
    "peimage",
    "petransform",
    "perelocations",
    "x86code",
    "amd64code",
)
STAMP = PACKAGE / "compiled.sha256"
_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
_ENDS = (".py", ".pxd")
_DIRECTIVES = {"annotation_typing": False, "language_level": "3"}


class CompileHook(BuildHookInterface[Any]):
    """Adds the compiled modules to a wheel; for an editable installation they stay in `src`."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile what is out of date, before files are collected."""
        if compile_modules() and version == "standard":
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["artifacts"] += [f"/{one.relative_to(ROOT)}" for one in compiled_files()]


def compiled_files() -> list[Path]:
    """Where the compiled modules of this Python are, whether they exist or not."""
    return [PACKAGE / f"{module}{_SUFFIX}" for module in MODULES]


def source_digest() -> str:
    """What the compiled modules depend on, in one hash."""
    digest = hashlib.sha256(f"{sys.version} {_SUFFIX}\n".encode())
    sources = [PACKAGE / f"{module}{ending}" for module in MODULES for ending in _ENDS]
    for path in (Path(__file__), *sources):
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def compile_modules() -> bool:
    """Compile the modules unless they are up to date; return whether they are now."""
    files = compiled_files()
    if all(file.exists() for file in (STAMP, *files)) and STAMP.read_text() == source_digest():
        return True
    for file in (STAMP, *files):
        file.unlink(missing_ok=True)
    reason = _missing()
    if reason is None:
        with tempfile.TemporaryDirectory() as folder:
            reason = _compile(Path(folder))
    if reason is not None:
        sys.stderr.write(f"note: deltas are expanded by interpreted code: {reason}\n")
        return False
    STAMP.write_text(source_digest())
    return True


def _missing() -> str | None:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return None if header.exists() else f"{header} is missing"


def _compile(folder: Path) -> str | None:
    """Compile into `folder`, then move the results beside their sources."""
    command = [sys.executable, str(Path(__file__)), "--build", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        return f"compiling failed: {last}"
    for file in compiled_files():
        built = folder / "lib" / file.relative_to(SOURCE_ROOT)
        beside = file.with_name(f".{file.name}.part")
        shutil.copyfile(built, beside)
        beside.replace(file)
    return None


def _build(folder: Path) -> None:
    from Cython.Build import cythonize  # noqa: PLC0415 - only the child process needs it
    from setuptools import Distribution, Extension  # noqa: PLC0415 - same

    extensions = [
        Extension(
            f"wimsmith.offline.packages.deltas.{module}",
            [str((PACKAGE / f"{module}.py").relative_to(ROOT))],
            extra_compile_args=["-O2", "-g0"],
            extra_link_args=["-s"],
        )
        for module in MODULES
    ]
    modules = cythonize(
        extensions,
        build_dir=str(folder / "c"),
        compiler_directives=_DIRECTIVES,
        include_path=[str(SOURCE_ROOT)],
    )
    distribution = Distribution({"name": "wimsmith", "ext_modules": modules})
    command = distribution.get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "temp")
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--build"]:
        _build(Path(sys.argv[2]))
    else:
        compile_modules()
