"""Registry hives (REGF): read, edit in place, write. Formats: docs/internals/registry.md."""

from wimsmith.offline.registry.base import MAX_HIVE_BYTES
from wimsmith.offline.registry.hive import Hive, Key
from wimsmith.offline.registry.logs import LOG_SUFFIXES
from wimsmith.offline.registry.security import default_security
from wimsmith.offline.registry.values import (
    Value,
    ValueType,
    encode_dword,
    encode_multi_text,
    encode_qword,
    encode_text,
)

__all__ = [
    "LOG_SUFFIXES",
    "MAX_HIVE_BYTES",
    "Hive",
    "Key",
    "Value",
    "ValueType",
    "default_security",
    "encode_dword",
    "encode_multi_text",
    "encode_qword",
    "encode_text",
]
