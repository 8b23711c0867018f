"""Takes away what a worker process does not need, by system calls through ctypes.

Landlock (Linux 5.13 and later; facts from the kernel's `userspace-api/landlock` page) binds root as
well: after `confine` the process can create, change, truncate or remove files only below the given
folders, cannot start programs, and, where the kernel knows how, open TCP connections or signal
processes outside. Reading stays allowed.

A seccomp filter (facts from the kernel's `userspace-api/seccomp_filter` page) refuses sockets,
programs and the memory of other processes, also where Landlock does not know them, without root.
"""

import contextlib
import ctypes
import os
import platform
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
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
_REFER_ABI = 2  # before Linux 5.19 a confined process could link files within one folder only
_NET_TCP = 0b11
_SYSTEM: Mapping[str, tuple[int, tuple[int, ...]]] = MappingProxyType(
    {
        "x86_64": (0xC000_003E, (41, 59, 101, 311, 322, 425)),
        "aarch64": (0xC000_00B7, (198, 221, 117, 271, 281, 425)),
    }
)
"""The kernel's number of an architecture, and there: socket, execve, ptrace, process_vm_writev,
execveat, io_uring_setup."""
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_ALLOW, _REFUSE = 0x7FFF_0000, 0x0005_0000 | 1  # with EPERM
_OTHER_CONVENTION = 0x4000_0000  # x32 counts from here
_SCOPE_ALL = 0b11


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.c_char_p))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def confine(writable: Sequence[Path], *, links: bool = False) -> bool:
    """Allow writing only to and below `writable`, for good; return whether the kernel does it.

    Threads that run already are not bound, so this comes before any is started.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    abi = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)
    if abi < (_REFER_ABI if links else 1):
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
        for path in writable:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            opened.callback(os.close, place)
            access = writing if path.is_dir() else writing & (_WRITE_FILE | _TRUNCATE)
            rule = ctypes.byref(_PathBeneath(access, place))
            _syscall(libc, _ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, ctypes.c_uint32(0))
        libc.prctl(_PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(word) for word in (1, 0, 0, 0)))
        _syscall(libc, _RESTRICT_SELF, ruleset, ctypes.c_uint32(0))
    return True


def refuse_calls() -> bool:
    """Refuse sockets, programs and foreign memory for good; return whether the kernel does it."""
    if platform.machine() not in _SYSTEM:
        return False
    code = _filter(*_SYSTEM[platform.machine()])
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(word) for word in (1, 0, 0, 0)))
    mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    return int(libc.prctl(_PR_SET_SECCOMP, mode, ctypes.byref(program))) == 0


def _filter(architecture: int, refused: Sequence[int]) -> bytes:
    """Instructions of 8 bytes: what to do, how many to skip if true and if false, an operand."""
    count = len(refused)
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_IF_EQUAL, 0, count + 3, architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_IF_AT_LEAST, count + 1, 0, _OTHER_CONVENTION),
        *((_IF_EQUAL, count - place, 0, number) for place, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


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
