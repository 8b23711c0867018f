"""The real Universal C Runtime update, a newer package of the same components, and back again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from offline.components.removal.kit import WINNERS, Workshop, lasting_differences, text
from wimsmith.practice.maker import program
from wimsmith.practice.names import WINDOWS_TOKEN, Identity, winners_key
from wimsmith.practice.spec import (
    ComponentSpec,
    DeploymentSpec,
    FileSpec,
    Generation,
    PackageSpec,
    UpdateEntry,
)

Opened = Callable[..., Workshop]
NEWER = "6.1.7601.24000"
LIBRARY = "windows/system32/ucrtbase.dll"


@pytest.fixture
def update(real: Path) -> Path:
    return next((real / "msu").glob("Windows6.1-KB2999226-x64.msu"))


def newer(made: Workshop, family: Identity) -> PackageSpec:
    """A generated package that brings a newer version of a real component."""
    file = FileSpec("ucrtbase.dll", program("newer runtime"))
    component = ComponentSpec(family.at(NEWER), (file,))
    deployment = DeploymentSpec(Identity("Practice-Newer-Runtime", NEWER), (component,))
    return made.maker.package("KB5000400", "1.0.0.0", UpdateEntry("newer", deployment))


def test_the_real_update_comes_back_when_a_newer_one_goes(workshop: Opened, update: Path) -> None:
    made = workshop(generation=Generation.WINDOWS_7)
    clean = made.observe()
    real = made.install(update)
    installed = made.observe()
    holder = next(one for one in installed.entries[LIBRARY].links if "winsxs" in one)
    key = holder.split("/")[2]
    assert "6.1.7601.18937" in key
    keys = installed.hives["COMPONENTS"][rf"DerivedData\Components\{key}".lower()]
    name = keys.values["identity"].data.decode("ascii").partition(",")[0]
    family = Identity(name, NEWER, token=WINDOWS_TOKEN)

    generated = made.install(newer(made, family))
    superseding = made.observe()
    assert holder not in superseding.entries[LIBRARY].links
    branch = rf"{WINNERS}\{winners_key(family)}\6.1"
    assert text(superseding, "SOFTWARE", branch) == NEWER

    made.removed(generated)
    after = made.observe()
    assert holder in after.entries[LIBRARY].links
    assert after.entries[LIBRARY].sha1 == installed.entries[LIBRARY].sha1
    assert text(after, "SOFTWARE", branch) == "6.1.7601.18937"
    assert lasting_differences(installed, after) == []

    made.removed(real)
    assert lasting_differences(clean, made.observe()) == []
