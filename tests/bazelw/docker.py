"""Runs a command as Docker does by default: with no new namespaces.

usage: docker.py COMMAND [ARGUMENT ...]

Docker starts a container with a filter of system calls. This installs the part of that
filter that Bazel's sandbox meets: new namespaces and mounts are refused, and `clone3`,
whose flags a filter cannot read, does not exist. For x86-64.
"""

import ctypes
import errno
import os
import struct
import sys

_X86_64 = 0xC000003E
# Numbers of system calls on x86-64.
_MOUNT, _UMOUNT2, _PIVOT_ROOT, _UNSHARE, _SETNS = 165, 166, 155, 272, 308
_CLONE, _CLONE3 = 56, 435
_NEW_NAMESPACES = 0x7E020000  # all CLONE_NEW… flags

# seccomp(2) and linux/filter.h: `struct seccomp_data` has the number of the call at 0,
# the processor at 4 and the low half of the first argument at 16.
_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_PR_SET_SECCOMP, _MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _refuse(call: int, error: int) -> bytes:
    return _instruction(_IF_EQUAL, call, 0, 1) + _instruction(_RETURN, _FAIL | error)


def docker_filter() -> bytes:
    """Returns the filter as a program of the kernel."""
    allow = _instruction(_RETURN, _ALLOW)
    refused = (_MOUNT, _UMOUNT2, _PIVOT_ROOT, _UNSHARE, _SETNS)
    return b"".join(
        [
            _instruction(_LOAD, 4),
            _instruction(_IF_EQUAL, _X86_64, 1, 0),
            allow,
            _instruction(_LOAD, 0),
            *(_refuse(call, errno.EPERM) for call in refused),
            _refuse(_CLONE3, errno.ENOSYS),
            _instruction(_IF_EQUAL, _CLONE, 1, 0),
            allow,
            _instruction(_LOAD, 16),
            _instruction(_IF_ANY_BIT, _NEW_NAMESPACES, 0, 1),
            _instruction(_RETURN, _FAIL | errno.EPERM),
            allow,
        ]
    )


def install(program: bytes) -> None:
    """Makes the kernel apply a filter to this process and all that it starts.

    Raises:
        OSError: the kernel refuses it.
    """
    held = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0),
        (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(described)),
    ):
        if libc.prctl(*arguments, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    install(docker_filter())
    os.execvp(sys.argv[1], sys.argv[1:])
