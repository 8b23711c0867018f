"""Words for the states in which packages and features of an image are."""

PACKAGE_STATES = {
    0x00: "absent",
    0x05: "uninstall pending",
    0x10: "resolving",
    0x20: "resolved",
    0x30: "staging",
    0x40: "staged",
    0x50: "superseded",
    0x60: "install pending",
    0x65: "partially installed",
    0x70: "installed",
    0x80: "permanent",
}
"""`CurrentState` of a package, as the component-based servicing key stores it."""
_PENDING = 0x60
_ENABLED = 0x70


def package_state(state: int) -> str:
    """The word for the state of a package; the number of one that nobody knows."""
    return PACKAGE_STATES.get(state, f"{state:#x}")


def feature_state(state: int, *, has_payload: bool) -> str:
    """The word for the state of a feature, as DISM has it."""
    if state >= _ENABLED:
        return "Enabled"
    if state >= _PENDING:
        return "Enable Pending"
    return "Disabled" if has_payload else "Disabled with Payload Removed"
