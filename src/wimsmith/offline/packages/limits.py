"""How much a package may ask of this server before anyone has checked who made it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PackageLimits:
    """Most that one package may hold or need; what asks for more raises `LimitExceeded`.

    `ratio` is expanded bytes per stored byte, counted only above `ratio_free_bytes`. `nesting` is
    how deep cabinets may stand in each other, `cabinets` how many there may be in all.
    """

    file_bytes: int = 2 << 30
    total_bytes: int = 20 << 30
    files: int = 200_000
    ratio: int = 1000
    ratio_free_bytes: int = 256 << 20
    nesting: int = 3
    cabinets: int = 500
    memory_bytes: int = 512 << 20
    cpu_s: int = 3600
    wall_s: float = 4 * 3600.0


DEFAULT_LIMITS = PackageLimits()
