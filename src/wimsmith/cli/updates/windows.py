"""Names of Windows by the build that packages name as their parent."""

from collections.abc import Mapping
from types import MappingProxyType

_NAMES: Mapping[int, str] = MappingProxyType(
    {
        6002: "Windows Vista SP2, Server 2008 SP2",
        7600: "Windows 7, Server 2008 R2",
        7601: "Windows 7 SP1, Server 2008 R2 SP1",
        9200: "Windows 8, Server 2012",
        9600: "Windows 8.1, Server 2012 R2",
        10240: "Windows 10 1507",
        10586: "Windows 10 1511",
        14393: "Windows 10 1607, Server 2016",
        15063: "Windows 10 1703",
        16299: "Windows 10 1709",
        17134: "Windows 10 1803",
        17763: "Windows 10 1809, Server 2019",
        18362: "Windows 10 1903 and 1909",
        19041: "Windows 10 2004 to 22H2",
        20348: "Windows Server 2022",
        22000: "Windows 11 21H2",
        22621: "Windows 11 22H2 and 23H2",
        25398: "Windows Server 23H2",
        26100: "Windows 11 24H2 and later, Server 2025",
    }
)


def windows_name(build: str) -> str:
    """`Windows 7 SP1 (6.1.7601)` for `6.1.7601`; the bare build where no name is known."""
    number = build.rpartition(".")[2]
    name = _NAMES.get(int(number)) if number.isdecimal() else None
    return f"{name} ({build})" if name else f"build {build}"
