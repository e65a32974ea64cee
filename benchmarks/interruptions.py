"""Sweeps that are killed, asked to end or interrupted at random moments, by each launcher, and then run again: what of
their work was lost or done twice, and what was left lying about.

`python -m benchmarks.interruptions --moments 40` writes docs/results/interruptions.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

from harness.results.folder import read_record

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/results/interruptions.md"
SWEEP = (
    *("-m", "seed=0,1,2", "model=tiny_random", "data.size=100", "tracker=none", "threads=1", "train.steps=60"),
    *("train.checkpoint_every=20", "eval.test_examples=4", "eval.max_new_tokens=8", "forgetting.max_tokens=512"),
)
STEPS, EVERY = 60, 20
LAUNCHERS = {
    "plain": (),
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit": ("hydra/launcher=submitit_local",),
    "ray": (
        "hydra/launcher=ray",
        "++hydra.launcher.ray.init={address: local, num_cpus: 2, include_dashboard: false}",
    ),
}
ENDS = {
    "killed": (signal.SIGKILL,),
    "SIGTERM": (signal.SIGTERM,),
    "SIGHUP": (signal.SIGHUP,),
    "Ctrl-C": (signal.SIGINT,),
    "Ctrl-C three times": (signal.SIGINT,) * 3,
}
MARK = "INTERRUPTED_BY_A_BENCHMARK"
"""Environment variable by which processes of a trial are told from others."""
LIMIT, GONE = 300, 90
"""Seconds that a command may take, and in which processes that outlive it must have ended: Ray's own agents, whose
command was killed, take a minute."""


@dataclass
class Trial:
    """One sweep: how it was ended and what came of it."""

    launcher: str
    end: str
    moment: float
    finished: int = 0
    going_on: int = 0
    repeated: int = 0
    """Steps that were done before the end and done again after it."""
    seconds: float = 0.0
    """Until the command had ended."""
    problems: list[str] = field(default_factory=list)


def started(arguments: Sequence[str], results: Path, mark: str) -> subprocess.Popen[str]:
    """The command, in a group of its own, as a terminal has it."""
    surroundings = os.environ | {MARK: mark, "HARNESS_CACHE": str(results.parent / "cache"), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments, f"results={results}"],
        cwd=ROOT,
        env=surroundings | {"RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def marked(mark: str) -> Iterator[psutil.Process]:
    """The processes of a trial."""
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.environ().get(MARK) == mark and one.status() != psutil.STATUS_ZOMBIE:
                yield one


def steps_done(results: Path) -> dict[str, int]:
    """By run: the step that it last said it was at."""
    steps = {}
    for path in results.glob("runs/*/progress.json"):
        with contextlib.suppress(ValueError):
            steps[path.parent.name] = int(json.loads(path.read_text()).get("step", 0))
    return steps


def checkpoints(results: Path) -> dict[str, list[dict[str, float]]]:
    """By run: the curve in its checkpoint, whose seconds no other training has."""
    return {
        path.parent.name: list(torch.load(path, weights_only=True)["state"]["curve"])
        for path in results.glob("runs/*/checkpoint.pt")
    }


def left_over(*folders: Path) -> list[str]:
    """Temporary files."""
    names = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [str(path) for path in names if path.suffix == ".partial" or path.name.startswith((".stop", ".record"))]


def trial(launcher: str, end: str, moment: float, work: Path) -> Trial:
    """End a sweep `moment` seconds after it has begun, run it again, and compare."""
    outcome, mark = Trial(launcher, end, moment), uuid.uuid4().hex
    results = Path(tempfile.mkdtemp(dir=work)) / "results"
    arguments = (*SWEEP, *LAUNCHERS[launcher])
    process = started(arguments, results, mark)
    time.sleep(moment)
    whole_group = "Ctrl-C" in end
    began = time.monotonic()
    for number in ENDS[end]:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if whole_group else os.kill)(process.pid, number)
        time.sleep(0.03)
    _, said = process.communicate(timeout=LIMIT)
    outcome.seconds = time.monotonic() - began
    if end != "killed" and process.returncode not in (0, 130):
        outcome.problems.append(f"exit code {process.returncode}")
    if "Traceback" in said:
        outcome.problems.append("a traceback")
    _, alive = psutil.wait_procs(list(marked(mark)), timeout=GONE)
    outcome.problems += [f"left running: {' '.join(one.cmdline())[:80]}" for one in alive]
    records = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in results.glob("runs/*/record.json")}
    whole = {path: kept for path, kept in records.items() if read_record(path).status == "ok"}
    outcome.problems += [
        f"recorded as {read_record(path).status}" for path in records if read_record(path).status not in OK
    ]
    steps, curves = steps_done(results), checkpoints(results)
    outcome.finished, outcome.going_on = len(whole), len(curves)
    for run, step in steps.items():
        if (results / "runs" / run / "record.json") not in whole:
            outcome.repeated += max(0, step - len(curves.get(run, [])))

    again = started(arguments, results, mark)
    _, said = again.communicate(timeout=LIMIT)
    if again.returncode != 0:
        outcome.problems.append(f"again: exit code {again.returncode}: {said.strip().splitlines()[-1:]}")
    outcome.problems += [
        f"{path.parent.name}: written again"
        for path, kept in whole.items()
        if (path.read_bytes(), path.stat().st_mtime_ns) != kept
    ]
    for path in sorted(results.glob("runs/*/curve.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        if [line["step"] for line in lines] != list(range(1, STEPS + 1)):
            outcome.problems.append(f"{path.parent.name}: its curve is not whole")
        if lines[: len(before := curves.get(path.parent.name, []))] != before:
            outcome.problems.append(f"{path.parent.name}: trained again what its checkpoint had")
    final = [read_record(path).status for path in results.glob("runs/*/record.json")]
    if final != ["ok"] * 3:
        outcome.problems.append(f"again: {final}")
    outcome.problems += [f"left: {name}" for name in left_over(results, work / "cache")]
    _, alive = psutil.wait_procs(list(marked(mark)), timeout=GONE)
    outcome.problems += [f"left running: {' '.join(one.cmdline())[:80]}" for one in alive]
    return outcome


OK = ("ok", "interrupted")


def page(trials: Sequence[Trial], seed: int) -> str:
    """The results as markdown."""
    lines = [
        "# Sweeps that are ended at random moments",
        "",
        "`python -m benchmarks.interruptions` starts a sweep of three seeds (60 steps, a checkpoint every 20), ends "
        "it at a random moment, waits until all its processes are gone, and runs the same command again. `killed`, "
        "SIGTERM and SIGHUP go to the command alone, as a scheduler sends them; Ctrl-C goes to its whole group, as a "
        "terminal sends it, once or three times within 0.1 s. A fault is a finished record that was written again, a "
        "step of a checkpoint that was trained again, an exit code other than 130, a traceback, or a process or a "
        f"temporary file that was left; {len(trials)} trials, seed {seed}.",
        "",
        "| launcher | end | trials | after, s | finished before | with a checkpoint | steps done twice | faults |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for launcher in LAUNCHERS:
        for end in ENDS:
            own = [t for t in trials if (t.launcher, t.end) == (launcher, end)]
            if own:
                moments = ", ".join(f"{t.moment:.1f}" for t in own)
                sums = [sum(t.finished for t in own), sum(t.going_on for t in own), sum(t.repeated for t in own)]
                faults = "; ".join(dict.fromkeys(p for t in own for p in t.problems)) or "none"
                lines.append(
                    f"| {launcher} | {end} | {len(own)} | {moments} | {' | '.join(map(str, sums))} | {faults} |"
                )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the trials and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=40, help="trials in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launchers", nargs="+", choices=list(LAUNCHERS), default=list(LAUNCHERS))
    parser.add_argument("--ends", nargs="+", choices=list(ENDS), default=list(ENDS))
    given = parser.parse_args()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup the sweeps would inherit that it is ignored
    rng = random.Random(given.seed)
    trials = []
    with tempfile.TemporaryDirectory() as work:
        whole: dict[str, float] = {}
        for launcher in given.launchers:
            began = time.monotonic()
            folder = Path(work) / f"whole-{launcher}"
            started((*SWEEP, *LAUNCHERS[launcher]), folder / "results", "whole").communicate(timeout=LIMIT)
            whole[launcher] = time.monotonic() - began
        for number in range(given.moments):
            launcher = given.launchers[number % len(given.launchers)]
            end = given.ends[number // len(given.launchers) % len(given.ends)]
            trials.append(trial(launcher, end, rng.uniform(0.5, whole[launcher]), Path(work)))
            one = trials[-1]
            print(f"{number + 1}/{given.moments} {one}", file=sys.stderr, flush=True)
    PAGE.write_text(page(trials, given.seed))


if __name__ == "__main__":
    main()
