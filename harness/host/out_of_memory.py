"""Runs that memory ran out for: whether the kernel ended one (it counts what it kills), and what it held."""

from __future__ import annotations

from pathlib import Path


def kernel_kills(root: Path = Path("/")) -> int | None:
    """Processes that the kernel has ended so far for want of memory: in this process's control group, else on this
    machine. None where the system does not tell. `root`: where /proc and /sys are."""
    for path in _counters(root):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdigit():
                return int(count)
    return None


def _counters(root: Path) -> list[Path]:
    """The files that may have the count, the most telling first: a group's own does not count what befell others."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        groups = []
    place = root / "sys/fs/cgroup"
    paths = []
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2, https://docs.kernel.org/admin-guide/cgroup-v2.html
            paths.append(place / path.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):  # version 1, whose group of the memory alone may be another one
            paths.append(place / "memory" / path.lstrip("/") / "memory.oom_control")
    # A container sees its own group as the root, whatever the path above says.
    return [*paths, place / "memory.events", place / "memory/memory.oom_control", root / "proc/vmstat"]


def held(rss: int | None, cuda: int | None) -> str:
    """What a cause says of the memory that was reached, in bytes: of the process, and of tensors on the GPU."""
    parts = [(rss, "resident"), (cuda, "in tensors on the GPU")]
    known = [f"{size / 2**30:.2f} GiB {where}" for size, where in parts if size is not None]
    return f"; at its peak it held {' and '.join(known)}" if known else ""
