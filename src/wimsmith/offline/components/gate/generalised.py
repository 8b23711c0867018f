r"""Whether an image is that of one computer: installed, and not generalised since.

Setup keeps the state of an image twice, in `Setup\State\State.ini` and in the registry
("Windows Setup States" in Microsoft's documentation). Boot and recovery images (Windows PE) are
never installed, and media images may never have been.
"""

import re

from wimsmith.offline.components.store.lookups import CURRENT_VERSION, Store

_STATE_FILE = "Setup/State/State.ini"
_STATE_KEY = r"Microsoft\Windows\CurrentVersion\Setup\State"
_STATE_LINE = re.compile(r"^\s*ImageState\s*=\s*(\w+)\s*$", re.IGNORECASE | re.MULTILINE)
_MAX_CHARACTERS = 65_536
_UNFINISHED = "IMAGE_STATE_UNDEPLOYABLE"
_OF_ONE_COMPUTER = ("IMAGE_STATE_COMPLETE", "IMAGE_STATE_SPECIALIZE_")


def why_not_generalised(store: Store) -> str:
    """The evidence that the image belongs to one computer; empty if there is none.

    `GeneralizationState` in SYSTEM is shown and decides nothing: it is 7 before Sysprep runs and
    after Windows has been set up again.
    """
    if is_preinstallation(store):
        return ""
    states = image_states(store)
    tied = [one for one in states if one.startswith(_OF_ONE_COMPUTER)]
    if _UNFINISHED in states and not tied and _has_met_a_computer(store):
        tied = [_UNFINISHED]
    if not tied:
        return ""
    value = store.draft.hive("SYSTEM").value(r"Setup\Status\SysprepStatus", "GeneralizationState")
    number = f", GeneralizationState {int.from_bytes(value.data[:4], 'little')}" if value else ""
    return f"its state is {tied[0]}{number}: it is the Windows of one computer, not generalised"


def image_states(store: Store) -> tuple[str, ...]:
    """What the file and the registry say of the state of the image, in capitals."""
    path = f"{store.image.windows}/{_STATE_FILE}"
    found = [match[1] for match in _STATE_LINE.finditer(_text(store, path))]
    value = store.software.value(_STATE_KEY, "ImageState")
    if value is not None:
        found.append(value.text().strip())
    return tuple(dict.fromkeys(one.upper() for one in found if one))


def is_preinstallation(store: Store) -> bool:
    """Whether it is a boot or recovery image."""
    kind = store.software.value(CURRENT_VERSION, "InstallationType")
    return store.software.exists(rf"{CURRENT_VERSION}\WinPE") or (
        kind is not None and kind.text().strip().lower() == "windowspe"
    )


def _has_met_a_computer(store: Store) -> bool:
    """Whether volumes of a computer are known: images as they come on media know none."""
    return any(True for _ in store.draft.hive("SYSTEM").values("MountedDevices"))


def _text(store: Store, path: str) -> str:
    """Text of a small file, in the encodings that Windows writes; "" where there is none."""
    data = dict(store.draft.read_many([path])).get(path, b"")[:_MAX_CHARACTERS]
    if data.startswith(b"\xff\xfe"):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")
