"""Runs a program that a model wrote where it can do no harm: without network, files, environment and other processes,
and with little time and memory. bubblewrap makes the place, or where it is not installed unshare(1) and mount(8)."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from harness.errors import UserError
from harness.metrics.tools.sandbox_inside import BEGUN, LIMITS, MIB

FAMILIES = ("pass_at_1",)
"""The families of scores that run what a model wrote: only where that is asked for."""
ASK = "runs code that a model wrote, in a sandbox, and only where asked to: eval.run_code=true, or score --run-code"
SECONDS = 60.0
"""Of wall time, for a program that waits, or a machine that is busy; `sandbox_inside.py` has the other limits."""
ROOM = 4 * 2**20
"""Bytes of the folder that it may write to."""
INSTALL = "install bubblewrap (Debian, Ubuntu, Fedora, conda-forge: bubblewrap), or allow user namespaces"

PLACES = tuple(
    dict.fromkeys(
        os.path.realpath(place) if place in (sys.base_prefix, sys.base_exec_prefix) else place
        for place in ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/nix/store", sys.base_prefix, sys.base_exec_prefix)
        if os.path.isdir(place)
    )
)
"""The folders that a program can read: Python and the system's libraries."""
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONHASHSEED": "0"}
"""All that a program sees of one. With a seed, what passed yesterday passes today."""
LIBRARIES = f"LD_LIBRARY_PATH={sysconfig.get_config_var('LIBDIR')}"
PYTHON = ("env", LIBRARIES, os.path.realpath(sys.executable), "-S", "-s", "-P")
"""Without the packages of this environment, and without those of the user."""
MOUNTS = """set -e
root=$1; room=$2; shift 2
mount -t tmpfs -o size=1m,mode=755 none "$root"
mkdir "$root/tmp" "$root/old" "$root/proc"
while [ "$1" != -- ]; do mkdir -p "$root$1"; mount --rbind "$1" "$root$1"; shift; done; shift
while read -r _ _ _ _ place _; do
  case $place in "$root"/*) mount -o remount,bind,ro,nosuid,nodev "$place";; esac
done < /proc/self/mountinfo
mount -t tmpfs -o "size=$room,nosuid,nodev" none "$root/tmp"
mount --rbind /proc "$root/proc"
mount -o remount,bind,ro,nosuid,nodev "$root"
cd "$root"; pivot_root . old; umount -l /old; umount -l /proc; cd /tmp
exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs "$@"
"""
"""What bubblewrap does, where there is none: a root of its own that has PLACES, for reading."""


def comes_to_its_end(program: str) -> bool:
    """Whether a Python program comes to its end in the sandbox, without an error and within the limits. Raises
    UserError where there is no sandbox."""
    begun, ended = run(maker(), program)
    if not begun and not run(maker(), "")[1]:
        raise UserError(f"{maker()} makes no sandbox any more; is the machine out of memory, processes or disk?")
    return ended


def problem() -> str | None:
    """Why there is no sandbox on this machine, and what to do; None where there is one."""
    try:
        maker()
    except UserError as error:
        return error.problems[0]
    return None


@functools.cache
def maker() -> str:
    """`bwrap` or `unshare`: the first that makes a sandbox in which a program runs. Raises UserError."""
    why = []
    for name in ("bwrap", "unshare"):
        if shutil.which(name) is None:
            why.append(f"{name} is not installed")
        elif run(name, "")[1]:
            return name
        else:
            why.append(f"{name} makes none here")
    raise UserError(f"there is no sandbox to run code in ({', '.join(why)}); {INSTALL}")


def signature() -> str:
    """What a program ran in, as far as it can change whether it comes to its end."""
    seconds, memory = LIMITS[resource.RLIMIT_CPU], LIMITS[resource.RLIMIT_AS] // MIB
    return f"python {sys.version_info.major}.{sys.version_info.minor}, standard library, {seconds} s, {memory} MiB"


def run(name: str, program: str) -> tuple[bool, bool]:
    """Whether a program began in a sandbox that `bwrap` or `unshare` makes, and whether it came to its end."""
    # The word is drawn for each program, which therefore cannot print it; nor does one that exits early come to it.
    word = secrets.token_hex(16)
    inside = Path(__file__).with_name("sandbox_inside.py").read_text(encoding="utf-8")
    limited = ("timeout", "-s", "KILL", f"{SECONDS:g}", *PYTHON)  # also where this process is killed and cannot wait
    with tempfile.TemporaryFile() as said, tempfile.TemporaryDirectory() as root:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [*_command(name, root), *limited, "-c", inside],
                input=json.dumps([word, program]).encode(),
                stdout=said,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd="/",
                timeout=2 * SECONDS,
                start_new_session=True,
                check=False,
            )
        said.seek(0)
        text = said.read(2 * len(word))
    return text != b"", text == BEGUN + word.encode()


def _command(name: str, root: str) -> list[str]:
    """What comes before a command, for it to run in the sandbox; `root`: an empty folder, which stays empty."""
    found = shutil.which(name) or name
    if name == "bwrap":
        binds = [word for place in PLACES for word in ("--ro-bind", place, place)]
        own = ["--size", str(ROOM), "--tmpfs", "/tmp", "--chdir", "/tmp", "--remount-ro", "/"]
        return [found, "--unshare-all", "--die-with-parent", "--new-session", *binds, *own]
    alone = ["--user", "--map-root-user", "--net", "--pid", "--ipc", "--uts", "--cgroup", "--mount"]
    return [found, *alone, "--fork", "--kill-child", "sh", "-c", MOUNTS, "sh", root, str(ROOM), *PLACES, "--"]
