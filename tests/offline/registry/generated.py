"""A hive of 12 MB as a real machine has them, made from nothing."""

import random
from functools import lru_cache

from wimsmith.offline.registry import (
    Hive,
    ValueType,
    default_security,
    encode_dword,
    encode_multi_text,
    encode_qword,
    encode_text,
)

KEYS = 33_000
WRITTEN = 0x01DA_0000_0000_0000
_WORDS = ("Microsoft", "Class", "Shell", "Open", "Command", "Proxy", "Caf\u00e9", "\u0414\u0430")


@lru_cache(maxsize=1)
def large_hive() -> bytes:
    """About 33,000 keys, four levels deep, with 80,000 values of all kinds."""
    chance = random.Random(12)
    hive = Hive.new()
    others = [default_security().replace(b"\x19\x00\x02\x00", bytes([n, 0, 2, 0])) for n in (9, 25)]
    hive.create_key("Classes", others[0])
    for number in range(KEYS // 3):
        path = f"Classes\\{{{chance.getrandbits(64):016X}-{number:05}}}"
        hive.create_key(path, others[1] if number % 50 == 0 else None)
        hive.set_value(path, "", ValueType.SZ, encode_text(chance.choice(_WORDS) * 3))
        hive.set_value(path, "AppID", ValueType.SZ, encode_text(f"{chance.getrandbits(128):032X}"))
        below = f"{path}\\{chance.choice(_WORDS)}"
        hive.create_key(below, class_name="Class" if number % 100 == 0 else "")
        hive.set_value(below, "Path", ValueType.EXPAND_SZ, encode_text("%SystemRoot%\\" * 6))
        hive.set_value(below, "Flags", ValueType.DWORD, encode_dword(number))
        hive.set_value(below, "List", ValueType.MULTI_SZ, encode_multi_text(_WORDS))
        last = f"{below}\\{number:05}"
        hive.set_value(last, "When", ValueType.QWORD, encode_qword(number << 32))
        hive.set_value(last, "Data", ValueType.BINARY, chance.randbytes(chance.randrange(120)))
        if number % 500 == 0:
            hive.set_value(last, "Large", ValueType.BINARY, chance.randbytes(40_000))
    return hive.serialize(WRITTEN)
