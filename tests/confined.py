"""`python confined.py SETTINGS COMMAND…`: become COMMAND under what systemd would forbid a service.

Run by path, with nothing of the project. SETTINGS, as JSON, stand for a unit's `SystemCallFilter`,
`RestrictAddressFamilies` and `MemoryDenyWriteExecute`, done by libseccomp and prctl(2) as systemd does it.
"""

import ctypes
import errno
import json
import os
import socket
import subprocess
import sys

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_MDWE = 65
_REFUSE_EXEC_GAIN = 1
_ERRNO = 0x00050000 | errno.EPERM  # SCMP_ACT_ERRNO(EPERM)
_ALLOW = 0x7FFF0000
_EQUAL = 4  # SCMP_CMP_EQ


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def calls(group: str) -> set[str]:
    """The system calls of a group of systemd's, such as `@system-service`."""
    listed = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", group], check=True, capture_output=True, text=True
    )
    names = [line.strip() for line in listed.stdout.splitlines()[1:] if line.strip()]
    found: set[str] = set()
    for name in names:
        if name.startswith("@"):
            found |= calls(name)
        elif not name.startswith("#"):
            found.add(name)
    return found


def forbid(allowed: set[str], families: list[str]) -> None:
    """All other system calls fail with EPERM, as sockets of other families do."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ERRNO)))
    for name in sorted(allowed - {"socket"}):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != -1:  # of another architecture
            library.seccomp_rule_add(context, ctypes.c_uint32(_ALLOW), number, 0)
    number = library.seccomp_syscall_resolve_name(b"socket")
    for family in families:
        equal = (_Comparison * 1)(_Comparison(0, _EQUAL, int(getattr(socket, family)), 0))
        library.seccomp_rule_add_array(context, ctypes.c_uint32(_ALLOW), number, 1, equal)
    if library.seccomp_load(context) != 0:
        sys.exit("the system calls could not be filtered")


def main() -> None:
    settings = json.loads(sys.argv[1])
    process = ctypes.CDLL(None, use_errno=True)
    process.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if settings["deny_write_execute"]:
        # Linux 6.3 and newer; an older one is not asked.
        process.prctl(_PR_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0)
    forbid(set(settings["calls"]), settings["families"])
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - that is its purpose


if __name__ == "__main__":
    main()
