"""Marvin32, the checksum of registry log entries (published by Microsoft in SymCrypt, MIT)."""

import struct

LOG_SEED = 0x82EF_4D88_7A4E_55C5
_MASK = 0xFFFFFFFF


def marvin32(data: bytes, seed: int = LOG_SEED) -> int:
    """64-bit Marvin32 of `data`: the low word is the first half of the state, as logs store it."""
    low, high = seed & _MASK, seed >> 32
    whole = len(data) & ~3
    tail = int.from_bytes(data[whole:] + b"\x80", "little")
    words = [word for (word,) in struct.iter_unpack("<I", data[:whole])]
    # The shifts are written out: a call per word would double the time of a large log.
    for word in (*words, tail, 0):
        low = (low + word) & _MASK
        high ^= low
        low = (((low << 20) | (low >> 12)) + high) & _MASK
        high = (((high << 9) | (high >> 23)) & _MASK) ^ low
        low = (((low << 27) | (low >> 5)) + high) & _MASK
        high = ((high << 19) | (high >> 13)) & _MASK
    return high << 32 | low
