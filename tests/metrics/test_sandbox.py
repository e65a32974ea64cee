"""What a program in the sandbox cannot do, however it tries: real programs, under each maker of sandboxes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from harness.errors import UserError
from harness.metrics.tools import sandbox
from tests.support.command_line import wait_for


@pytest.fixture(params=["bwrap", "unshare"])
def maker(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name}")
    if not sandbox.run(name, "")[1]:
        pytest.skip(f"{name} may make no namespaces here")
    return name


REFUSED = """
def refused(what, *arguments):
    try:
        what(*arguments)
    except (OSError, RuntimeError, MemoryError, ValueError):
        return True
    raise AssertionError(what)
"""
"""Of the programs below: an attempt that has to fail, for the program to come to its end."""


def ends(maker: str, program: str) -> bool:
    begun, ended = sandbox.run(maker, REFUSED + program)
    assert begun
    return ended


def test_an_ordinary_program_comes_to_its_end(maker: str) -> None:
    assert ends(maker, "import math, re, itertools, collections, heapq, decimal, hashlib, string, datetime, random")
    assert ends(maker, "open('note', 'w').write('x'); assert open('note').read() == 'x'")
    assert ends(maker, "print('é', flush=True)")
    assert not ends(maker, "assert 1 == 2")
    assert not ends(maker, "def f(:")
    assert not ends(maker, "input()")
    assert not ends(maker, "import numpy")


def test_no_network(maker: str) -> None:
    """A real server on loopback, of which the program knows the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        port = server.getsockname()[1]
        assert ends(
            maker,
            f"import socket\nrefused(socket.create_connection, ('127.0.0.1', {port}), 2)\n"
            "refused(socket.create_connection, ('192.0.2.1', 80), 2)\nrefused(socket.getaddrinfo, 'example.com', 80)",
        )
        with pytest.raises(TimeoutError):
            server.accept()
        with socket.create_connection(("127.0.0.1", port)):  # it was there to be found
            server.accept()


def test_no_writing_outside_its_folder(maker: str, tmp_path: Path) -> None:
    there = [*sandbox.PLACES, "/", "/etc", "/dev/shm", "/proc", str(Path.home()), str(tmp_path), os.getcwd()]
    places = [f"{place}/hostile" for place in there]
    assert ends(maker, f"for place in {places}: refused(open, place, 'w')")
    assert not any(Path(place).exists() for place in places)
    assert ends(maker, "import os; os.mkdir('/tmp/hostile'); open('/tmp/hostile/x', 'w').write('x')")
    assert not (Path(tempfile.gettempdir()) / "hostile").exists()
    assert ends(maker, "import os; assert os.listdir() == []")  # nothing is left for the next one


def test_neither_files_nor_environment_nor_processes_are_seen(
    maker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (tmp_path / "token").write_text("hf_secret")
    hidden = [str(tmp_path / "token"), __file__, "/etc/passwd", f"/proc/{os.getpid()}/environ", "/proc/self"]
    with tempfile.NamedTemporaryFile(dir=Path.home()) as file:
        assert ends(
            maker,
            "import os\nassert 'secret' not in str(os.environ) and len(os.environ) < 8, os.environ\n"
            f"for path in {[*hidden, file.name]}: assert not os.path.exists(path), path\n"
            "for path in ('/proc', '/old'): assert not os.path.exists(path) or not os.listdir(path), path\n"
            f"refused(os.kill, {os.getpid()}, 9)",
        )


def test_no_other_process_and_no_thread(maker: str) -> None:
    assert ends(
        maker,
        "import os, subprocess, threading, ctypes\n"
        "refused(os.fork); refused(os.forkpty); refused(subprocess.run, ['/bin/true'])\n"
        "refused(os.posix_spawn, '/bin/true', ['true'], {}); assert os.system('true') != 0\n"
        "refused(threading.Thread(target=print).start)\nassert ctypes.CDLL(None).unshare(0x10000000) == -1",
    )
    assert not ends(maker, "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass")


def test_no_more_memory_than_is_allowed(maker: str) -> None:
    assert ends(maker, "refused(bytearray, 10 * 2**30)")
    assert not ends(maker, "kept = []\nwhile True: kept.append(bytearray(2**26))")
    full = "for i in range(100): open(str(i), 'wb').write(bytes(2**20))"  # the folder is memory, too
    assert ends(maker, f"def fill():\n    {full}\nrefused(fill)")


def test_no_end_is_a_failure(maker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not ends(maker, "while True: pass")
    assert not ends(maker, "import signal\nfor s in (2, 15, 24): signal.signal(s, signal.SIG_IGN)\nwhile True: pass")
    monkeypatch.setattr(sandbox, "SECONDS", 2.0)
    assert not ends(maker, "import time; time.sleep(1e6)")
    assert not left()


def left() -> list[int]:
    """The programs that still run."""
    words = {each.pid: each.info["cmdline"] or () for each in psutil.process_iter(["cmdline"])}
    return [number for number, each in words.items() if any("What runs in the sandbox" in word for word in each)]


def test_none_outlives_a_killed_command_for_long(maker: str) -> None:
    program = "import time; time.sleep(1e6)"
    code = f"from harness.metrics.tools import sandbox as s; s.SECONDS = 5.0; s.run({maker!r}, {program!r})"
    with subprocess.Popen([sys.executable, "-c", code]) as command:
        wait_for(left)
        command.kill()
    wait_for(lambda: not left())


def test_limits_stay(maker: str) -> None:
    assert ends(
        maker,
        "import resource\nfor what in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):\n"
        "    refused(resource.setrlimit, what, (2**40, 2**40))",
    )


def test_it_kills_nobody_but_itself(maker: str) -> None:
    for whom in ("os.getppid()", "1", "-1", "0", "os.getpid()"):
        ends(maker, f"import os\nos.kill({whom}, 9)")
    assert sandbox.run(maker, "")[1]


def test_a_flood_of_output_goes_nowhere(maker: str) -> None:
    before = psutil.Process().memory_info().rss
    assert not ends(maker, "while True: print('x' * 2**20)")
    assert not ends(
        maker,
        "import os\nwhile True:\n    for fd in range(64):\n        try: os.write(fd, b'x' * 2**20)\n"
        "        except OSError: pass",
    )
    assert psutil.Process().memory_info().rss - before < 64 * 2**20


@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "raise SystemExit(0)",
        "import atexit, os; atexit.register(os._exit, 0); raise KeyError",
        "import os\nfor fd in range(64):\n    try: os.write(fd, b'a' * 32)\n    except OSError: pass\nos._exit(0)",
        "import os; print('passed', 'OK', '.' + 'a' * 32, flush=True); os._exit(0)",
        "import os; os.execv('/bin/true', ['true'])",
    ],
)
def test_an_early_exit_is_no_end(maker: str, program: str) -> None:
    assert not ends(maker, f"{program}\nassert False")


def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox.maker.cache_clear()
    why = "there is no sandbox to run code in (bwrap is not installed, unshare is not installed); install bubblewrap"
    with pytest.raises(UserError) as refused:
        sandbox.comes_to_its_end("")
    assert refused.value.problems[0].startswith(why)
    assert (sandbox.problem() or "").startswith(why)
    for name in ("bwrap", "unshare"):  # which are there, and may not do it
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    assert "bwrap makes none here, unshare makes none here" in (sandbox.problem() or "")
