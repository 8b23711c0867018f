"""Whether the base is reset where that is asked for, and the note that it has been."""

import re

from wimsmith.offline.components.store.lookups import CBS, Store
from wimsmith.offline.filetime import to_datetime
from wimsmith.offline.registry.values import ValueType, encode_text

_CONFIGURATION = r"Microsoft\Windows\CurrentVersion\SideBySide\Configuration"
_NOTE = "LastResetBase_UTC"
_WITH_MILLISECONDS = re.compile(r".*\.\d{3}")


def why_skipped(store: Store) -> str:
    """Why the base is not reset, as Windows would not reset it either; empty if it is."""
    value = store.software.value(_CONFIGURATION, "DisableResetbase")
    if value is None or not any(value.data):
        return ""
    return (
        "the base was not reset, because the image has switched that off: only what is superseded "
        "was removed. To have it reset, set the value first: wimsmith wim edit FILE INDEX "
        rf"--set-value 'HKLM\SOFTWARE\{_CONFIGURATION}' DisableResetbase dword 0"
    )


def note_reset(store: Store, now: int) -> None:
    """Write when the base was reset: `2026/11/21:21:14:14`, in the form an older note has."""
    old = store.software.value(CBS, _NOTE)
    moment = to_datetime(now)
    assert moment is not None, "the time of a run is a moment"
    text = f"{moment:%Y/%m/%d:%H:%M:%S}"
    if old is not None and old.type == ValueType.SZ and _WITH_MILLISECONDS.fullmatch(old.text()):
        text += f".{moment.microsecond // 1000:03}"
    store.software.set_value(CBS, _NOTE, ValueType.SZ, encode_text(text))
