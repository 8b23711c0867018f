"""Takes away what a worker process does not need, by system calls through ctypes.

Landlock (Linux 5.13 and later; facts from the kernel's `userspace-api/landlock` page) binds root as
well: after `confine` the process can create, change, truncate or remove files only below the given
folders, cannot start programs, and, where the kernel knows how, open TCP connections or signal
processes outside. Reading stays allowed.
"""

import contextlib
import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_CLONE_NEWNET = 0x40000000
_NOBODY = 65534

_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_NET_TCP = 0b11
_SCOPE_ALL = 0b11


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def confine(writable: Sequence[Path]) -> bool:
    """Allow writing only below the folders `writable`, for good; return whether the kernel does it.

    Threads that run already are not bound, so this comes before any is started.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    abi = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)
    if abi < 1:
        return False
    writing = _writing(abi)
    attributes = _RulesetAttributes(
        writing | _EXECUTE, _NET_TCP if abi >= 4 else 0, _SCOPE_ALL if abi >= 6 else 0
    )
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _syscall(
        libc, _CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0)
    )
    with contextlib.ExitStack() as opened:
        opened.callback(os.close, ruleset)
        for folder in writable:
            place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, place)
            rule = ctypes.byref(_PathBeneath(writing, place))
            _syscall(libc, _ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, ctypes.c_uint32(0))
        libc.prctl(_PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(word) for word in (1, 0, 0, 0)))
        _syscall(libc, _RESTRICT_SELF, ruleset, ctypes.c_uint32(0))
    return True


def leave_network() -> bool:
    """Move into an empty network; return whether that was allowed (it needs root)."""
    return int(ctypes.CDLL(None).unshare(_CLONE_NEWNET)) == 0


def drop_root() -> bool:
    """Become nobody if this is root, for workers that open no file; return whether it was."""
    if os.geteuid() != 0:
        return False
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    return True


def _writing(abi: int) -> int:
    access = _WRITE_FILE | _REMOVE_AND_MAKE
    if abi >= 2:
        access |= _REFER
    if abi >= 3:
        access |= _TRUNCATE
    return access


def _syscall(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    result = int(libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock: {os.strerror(code)}")
    return result
