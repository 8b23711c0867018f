"""Where manifests' macro paths lead."""

import pytest

from wimsmith.errors import DamagedHive, NotSupported, UnsafePath
from wimsmith.offline.components.install.destinations import Places

NATIVE = Places("amd64", r"C:\Windows", "amd64")
WOW = Places("amd64", r"C:\Windows", "wow64")


@pytest.mark.parametrize(
    ("macro", "native", "redirected"),
    [
        ("system32", "Windows/System32", "Windows/SysWOW64"),
        ("programFiles", "Program Files", "Program Files (x86)"),
        ("commonFiles", "Program Files/Common Files", "Program Files (x86)/Common Files"),
        ("wbem", "Windows/System32/wbem", "Windows/SysWOW64/wbem"),
        ("programFilesX86", "Program Files (x86)", "Program Files (x86)"),
        ("drivers", "Windows/System32/drivers", "Windows/System32/drivers"),
        ("inf", "Windows/INF", "Windows/INF"),
        ("fonts", "Windows/Fonts", "Windows/Fonts"),
        ("windows", "Windows", "Windows"),
        ("systemRoot", "Windows", "Windows"),
        ("help", "Windows/Help", "Windows/Help"),
        ("apppatch", "Windows/AppPatch", "Windows/AppPatch"),
        ("prefetch", "Windows/Prefetch", "Windows/Prefetch"),
        ("programData", "ProgramData", "ProgramData"),
        ("public", "Users/Public", "Users/Public"),
        ("documentsSettings", "Users", "Users"),
        ("bootDrive", "", ""),
    ],
)
def test_32_bit_components_have_some_folders_for_themselves(
    macro: str, native: str, redirected: str
) -> None:
    text = rf"$(runtime.{macro})\part\file.dll"
    suffix = "/part/file.dll"
    assert NATIVE.in_image(text) == (native + suffix).lstrip("/")
    assert WOW.in_image(text) == (redirected + suffix).lstrip("/")
    x86 = Places("amd64", r"C:\Windows", "x86")
    assert x86.in_image(text) == WOW.in_image(text)


def test_a_32_bit_image_has_one_view_only() -> None:
    places = Places("x86", r"C:\Windows", "x86")
    assert places.in_image("$(runtime.system32)\\") == "Windows/System32"
    assert not places.is_redirected


def test_other_architectures_are_not_redirected() -> None:
    assert not Places("amd64", r"C:\Windows", "msil").is_redirected


def test_32_bit_arm_components_are_not_guessed_at() -> None:
    """They have folders and keys of their own, beside those of x86."""
    places = Places("arm64", r"C:\Windows", "arm")
    with pytest.raises(NotSupported, match="32-bit ARM"):
        places.online_path("runtime.system32")


@pytest.mark.parametrize(
    ("system_root", "online", "in_image"),
    [
        (r"C:\Windows", r"C:\Windows\System32", "Windows/System32"),
        ("c:\\WINNT\\", r"C:\WINNT\System32", "WINNT/System32"),
        (r"X:\Windows", r"X:\Windows\System32", "Windows/System32"),
    ],
)
def test_the_image_says_where_windows_is(system_root: str, online: str, in_image: str) -> None:
    places = Places("amd64", system_root, "amd64")
    assert places.online_path("runtime.system32") == online
    assert places.in_image("$(runtime.system32)") == in_image


def test_the_drive_stands_alone_in_online_paths() -> None:
    assert NATIVE.online_path("runtime.bootDrive") == "C:"
    assert NATIVE.online_path("RUNTIME.ProgramData") == r"C:\ProgramData"


@pytest.mark.parametrize(
    "text",
    [
        r"$(runtime.startMenu)\Programs",
        r"$(runtime.userProfile)\x",
        r"$(runtime.unheardOf)\x",
        r"$(build.nttree)\x",
        r"C:\Windows\System32",
        r"$(runtime.system32)$(runtime.inf)",
        "$(runtime.system32)file.dll",
        "",
    ],
)
def test_folders_that_nothing_certain_is_known_of_are_refused(text: str) -> None:
    with pytest.raises(NotSupported) as refusal:
        NATIVE.in_image(text)
    assert refusal.value.reason == "macro"


@pytest.mark.parametrize("rest", [r"\..\x", r"\CON", r"\a:b", "\\a\x01b", r"\trailing. \x"])
def test_no_destination_leaves_its_folder(rest: str) -> None:
    with pytest.raises(UnsafePath):
        NATIVE.in_image(f"$(runtime.system32){rest}")


@pytest.mark.parametrize("root", ["", "Windows", r"\Windows", "C:", "C:Windows"])
def test_an_image_without_an_absolute_system_root_is_damaged(root: str) -> None:
    with pytest.raises(DamagedHive):
        Places("amd64", root, "amd64").online_path("runtime.windows")
