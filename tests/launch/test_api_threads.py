"""`harness.api` in several threads, and within somebody's own Hydra application."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hydra import compose, initialize_config_dir

from harness import api
from harness.launch import run_once


def test_settings_in_several_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(lambda seed: api.settings("model=tiny_random", f"seed={seed}"), range(8))
    assert [settings.seed for settings in made] == list(range(8))


def test_within_a_hydra_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("colour: red\n")
    with initialize_config_dir(str(tmp_path), version_base=None):
        assert api.settings("model=tiny_random", "seed=3").seed == 3
        assert compose("mine").colour == "red", "it is there as before"


def test_a_thread_that_is_done_ends_no_other_ones_worker() -> None:
    class Counted:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    mine, other = Counted(), Counted()
    there = {threading.get_ident(): mine, -1: other}
    run_once._workers.update(there)  # type: ignore[arg-type]
    try:
        run_once.close_own()
        assert (mine.closed, other.closed) == (1, 0)
    finally:
        for key in there:
            run_once._workers.pop(key, None)
