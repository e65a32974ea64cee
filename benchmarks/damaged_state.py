"""Every file that a sweep keeps, damaged in several ways: what the next commands make of it.

`python -m benchmarks.damaged_state` writes docs/results/damaged_state.md. One file is damaged at a time, in a copy of
the results and the cache of a sweep that is done, or was stopped in training; then the same sweep is run again, its
table is printed, and its adapter is asked.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/results/damaged_state.md"
SWEEP = (
    *("-m", "seed=0,1", "hydra.sweeper.name=two", "model=tiny_random", "data.size=100", "tracker=none", "threads=1"),
    *("train.steps=30", "train.checkpoint_every=5", "eval.test_examples=4", "eval.max_new_tokens=8"),
    *("forgetting.max_tokens=512", "inference.batch_sizes=[1]", "inference.repeats=2", "inference.seconds=0.1"),
)
LEFT_OUT = ("log.txt", "lock", ".lock", "progress.json", "config.yaml")
"""Names of files that are written and never read again, or hold nothing."""
TIMES = re.compile(r"\d+(\.\d+)? (s|min)\b|\([^)]* s\)")


def _cut(path: Path, other: Path | None) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path, other: Path | None) -> None:
    path.write_bytes(b"")


def _flip(path: Path, other: Path | None) -> None:
    content, numbers = bytearray(path.read_bytes()), random.Random(path.name)
    content[numbers.randrange(len(content))] ^= 1 << numbers.randrange(8)
    path.write_bytes(content)


def _another(path: Path, other: Path | None) -> None:
    assert other is not None
    path.write_bytes(other.read_bytes())


def _gone(path: Path, other: Path | None) -> None:
    path.unlink()


WAYS: dict[str, Callable[[Path, Path | None], None]] = {
    "cut in half": _cut,
    "emptied": _empty,
    "a bit flipped": _flip,
    "another's": _another,
    "gone": _gone,
}


@dataclass(frozen=True)
class Outcome:
    """What the commands made of one damage."""

    file: str
    way: str
    codes: tuple[int, ...]
    lines: tuple[str, ...]
    """What they said that they do not say otherwise."""
    same: bool
    """Every score of the sweep is the one that it was."""

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if any("Traceback" in line for line in self.lines):
            return "TRACEBACK"
        if self.lines:
            return "healed" if self.same and not any(self.codes) else "told"
        return "unharmed" if self.same and not any(self.codes) else "SILENT"


def run(command: list[str], work: Path) -> subprocess.CompletedProcess[str]:
    """A command with its cache in the folder."""
    surroundings = os.environ | {"HARNESS_CACHE": str(work / "cache"), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=600
    )


def commands(work: Path) -> list[list[str]]:
    """What is run after a damage."""
    results = work / "results"
    adapter = min((results / "runs").iterdir())
    return [
        ["harness", *SWEEP, f"results={results}"],
        ["reports", "two", "--results", str(results)],
        ["harness", "generate", "--prompt", "name: Aromi", "--adapters", str(adapter)],
    ]


def said(work: Path) -> tuple[tuple[int, ...], list[str], str]:
    """Exit codes and lines of stderr without times of all commands, and the sweep's scores."""
    done = [run(command, work) for command in commands(work)]
    lines = [TIMES.sub("", line) for each in done for line in each.stderr.splitlines() if line.strip()]
    records = [json.loads(path.read_text()) for path in sorted(work.glob("results/runs/*/record.json"))]
    scores = json.dumps([[each[name] for name in ("id", "quality", "base_quality", "forgetting")] for each in records])
    return tuple(each.returncode for each in done), [line.replace(str(work), "…") for line in lines], scores


def files(work: Path) -> Iterator[Path]:
    """What is kept, a file of each kind."""
    kinds = set()
    for path in sorted(work.rglob("*")):
        kind = re.sub(r"[0-9a-f]{12,}|-[01]\b", "*", str(path.relative_to(work)))
        if path.is_file() and kind not in kinds and not path.name.endswith(LEFT_OUT) and path.stat().st_size:
            kinds.add(kind)
            yield path


def done(work: Path) -> None:
    """The sweep, done."""
    run(commands_first(work), work)


def commands_first(work: Path) -> list[str]:
    return ["harness", *SWEEP, f"results={work / 'results'}"]


def stopped(work: Path) -> None:
    """The sweep, stopped in its first training."""
    surroundings = os.environ | {"HARNESS_CACHE": str(work / "cache"), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", *commands_first(work)],
        cwd=ROOT,
        env=surroundings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(work.glob("results/runs/*/checkpoint.pt")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.wait()


def others(work: Path) -> dict[str, list[Path]]:
    """By name: files that are somebody else's."""
    found: dict[str, list[Path]] = {}
    for path in sorted(work.rglob("*")):
        found.setdefault(path.name, []).append(path)
    return found


def tried(prepare: Callable[[Path], None], scratch: Path, only: Callable[[Path], bool]) -> Iterator[Outcome]:
    """Every damage of a prepared sweep."""
    pristine, work = scratch / prepare.__name__ / "pristine", scratch / prepare.__name__ / "work"
    pristine.mkdir(parents=True)
    prepare(pristine)
    shutil.copytree(pristine, work, symlinks=True)
    _, usual, scores = said(work)
    usual_said = set(usual)
    strangers = others(scratch / "stranger")
    for path in [p for p in files(pristine) if only(p)]:
        place = path.relative_to(pristine)
        for way, damage in WAYS.items():
            same_name = [p for p in [*pristine.rglob(path.name), *strangers.get(path.name, [])] if p != path]
            if way == "another's":
                same_name = [p for p in same_name if p.read_bytes() != path.read_bytes()]
                if not same_name:
                    continue
            shutil.rmtree(work)
            shutil.copytree(pristine, work, symlinks=True)
            damage(work / place, same_name[0] if same_name else None)
            codes, lines, again = said(work)
            new = tuple(line for line in lines if line not in usual_said)
            name = re.sub(r"[0-9a-f]{12,}", "*", str(place))
            yield Outcome(name, way, codes, new, again == scores)


def page(outcomes: dict[str, list[Outcome]]) -> str:
    """The results as markdown."""
    lines = [
        "# What is kept, damaged",
        "",
        "`python -m benchmarks.damaged_state` damages one file at a time of a sweep that is done, or was stopped in "
        "training, and then runs the sweep again, prints its table, and lets an adapter answer. *Unharmed*: nothing is "
        "said, and every score is the same; *healed*: a line says what was made anew or left out, and every score is "
        "the same; *told*: a line says what is wrong, and a command refuses it.",
    ]
    for title, rows in outcomes.items():
        lines += ["", f"## {title}", "", "| file | " + " | ".join(WAYS) + " |", "|---|" + "---|" * len(WAYS)]
        for file in dict.fromkeys(row.file for row in rows):
            own = {row.way: row.verdict for row in rows if row.file == file}
            lines.append(f"| `{file}` | " + " | ".join(own.get(way, "") for way in WAYS) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Try everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a part of the files' names")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        stranger = Path(scratch) / "stranger"
        stranger.mkdir()
        run([*commands_first(stranger), "method=ia3", "eval.test_examples=3", "forgetting.max_tokens=400"], stranger)
        found = {}
        for title, prepare, only in (
            ("A sweep that is done", done, lambda path: given.only in str(path)),
            ("One that was stopped", stopped, lambda path: given.only in str(path) and "runs/" in str(path)),
        ):
            found[title] = []
            for outcome in tried(prepare, Path(scratch), only):
                print(outcome.verdict, outcome, file=sys.stderr, flush=True)
                found[title].append(outcome)
    if not given.only:
        PAGE.write_text(page(found))


if __name__ == "__main__":
    main()
