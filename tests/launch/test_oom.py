"""A run that memory runs out for is recorded as that, with the most that it held."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.host.out_of_memory import held, kernel_kills
from harness.places import ROOT
from tests.support.command_line import LIMIT, SMALL, Harness

LARGE = ("data.size=1600", "train.batch_size=1024", "train.max_length=1024", "train.validation_examples=8")
"""A step that needs some gigabytes; loading and scoring before it need little."""

EVENTS = "low 0\nhigh 0\nmax 31\noom 4\noom_kill %d\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill %d\n"
VMSTAT = "nr_free_pages 1024\noom_kill %d\nnuma_hit 5\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/memory.events": EVENTS % 3, "proc/vmstat": VMSTAT % 9}, 3),
        ({"proc/self/cgroup": "0::/../x", "sys/fs/cgroup/memory.events": EVENTS % 0, "proc/vmstat": VMSTAT % 9}, 0),
        ({"proc/self/cgroup": "9:cpu,memory:/a\n0::/", "sys/fs/cgroup/memory/a/memory.oom_control": CONTROL % 2}, 2),
        ({"proc/self/cgroup": "4:memory:/docker/1", "sys/fs/cgroup/memory/memory.oom_control": CONTROL % 1}, 1),
        ({"proc/self/cgroup": "0::/", "proc/vmstat": VMSTAT % 9}, 9),
        ({"proc/vmstat": "nr_free_pages 1024\n"}, None),
        ({}, None),
    ],
)
def test_where_the_kernel_counts(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    """The most telling file that there is: version 2 of control groups, version 1, the machine."""
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert kernel_kills(tmp_path) == expected


def test_what_was_held_is_told_as_far_as_it_is_known() -> None:
    assert held(3 * 2**29, None) == "; at its peak it held 1.50 GiB resident"
    assert held(2**30, 2**34) == "; at its peak it held 1.00 GiB resident and 16.00 GiB in tensors on the GPU"
    assert held(None, None) == ""


@pytest.fixture
def small_memory() -> Iterator[tuple[Path, int]]:
    """A control group and the bytes that its processes may have together."""
    limit = 1000 * 2**20
    for place, setting in (("memory", "memory.limit_in_bytes"), (".", "memory.max")):
        folder = Path("/sys/fs/cgroup", place, f"peft-harness-test-{uuid.uuid4().hex[:8]}")
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / setting).write_text(str(limit))
            yield folder, limit
            return
        except OSError:
            continue
        finally:
            folder.rmdir()
    pytest.skip("no control group with a limit of memory can be made here: that needs root")


def test_a_run_that_the_kernel_kills_for_memory(harness: Harness, small_memory: tuple[Path, int]) -> None:
    folder, limit = small_memory
    command = [sys.executable, "-m", "harness", *SMALL, *LARGE, f"results={harness.results}"]
    joined = ["sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh", *command]
    result = subprocess.run(joined, capture_output=True, text=True, cwd=ROOT, timeout=LIMIT)
    assert result.returncode == 1, result.stderr
    (record,) = harness.records().values()
    assert record.status == "oom"
    assert "memory ran out" in (record.cause or "")
    assert record.step in (None, 0)
    assert record.memory is not None
    assert record.memory.process_peak_rss is not None
    # The command and the worker had the rest.
    assert limit / 4 < record.memory.process_peak_rss <= limit
    assert f"{record.memory.process_peak_rss / 2**30:.2f} GiB" in (record.cause or "")
