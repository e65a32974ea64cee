"""How long the page of many runs takes to build, to open in Chromium, to filter and to sort: synthetic records."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.results.folder import RunFolder, run_id
from harness.results.record import Record
from harness.results.sections import Forgetting, Memory, Parameters, Throughput
from harness.results.sweep_files import write_sweep
from reports.commands.page import built, parser

WORDS = [
    "the",
    "a",
    "cheap",
    "pub",
    "near",
    "river",
    "with",
    "good",
    "food",
    "and",
    "high",
    "rating",
    "in",
    "city",
    "centre",
    "serves",
    "French",
    "Thai",
    "families",
]


def synthetic(results: Path, count: int) -> None:
    """`count` records with predictions of 20 examples and curves of 100 steps; one in fifty has failed."""
    rng = random.Random(0)
    listed = []
    for i in range(count):
        method = rng.choice(["lora", "ia3", "vera", "dora", "prefix_tuning", "full"])
        record = _record(rng, i, method)
        folder = RunFolder.of(results, record.id).path
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(record.model_dump_json(indent=1))
        listed.append({"id": record.id, "label": record.label, "overrides": f"method={method} seed={i % 5}"})
        if record.status == "ok":
            said = [{"index": j, "prediction": " ".join(rng.choices(WORDS, k=24))} for j in range(20)]
            (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in said))
            curve = [{"step": step, "loss": 5 / step + rng.random()} for step in range(1, 101)]
            (folder / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in curve))
    write_sweep(results, "synthetic", "How quick is the page?", listed[: count // 2])


def _record(rng: random.Random, i: int, method: str) -> Record:
    rank, steps = rng.choice([1, 2, 4, 8, 16, 64]), rng.choice([100, 1000])
    settings = {
        "method": {
            "name": method,
            "rank": rank,
            "alpha": float(rank),
            "number": i,
            "lr": rng.choice([1e-4, 2e-4, 1e-3]),
        }
    }
    settings |= {"train": {"steps": steps, "batch_size": 8, "optimizer": "adamw"}, "seed": i % 5, "dtype": "bf16"}
    settings |= {"eval": {"test_examples": 20, "beams": 1}}
    versions = dict.fromkeys(("harness", "torch", "transformers", "peft", "tokenizers"), "1.0")
    key = {"settings": settings, "model": {"name": "synthetic"}, "data": {"name": "restaurants", "sha256": "0" * 64}}
    key |= {"environment": {"versions": versions, "device": "cpu", "threads": 1}, "repeat": 0}
    run, label = run_id(method, key), f"{method} r={rank} {i}"
    if i % 50 == 0:
        cause = "CUDA out of memory: tried to allocate 2.0 GiB"
        return Record(
            id=run, key=key, status="oom", cause=cause, step=3, started="2026-01-01", method=method, label=label
        )
    quality = {name: rng.uniform(0, 70) for name in ("bleu", "nist", "meteor", "rouge_l", "cider", "ser")}
    return Record(
        id=run,
        key=key,
        status="ok",
        step=steps,
        started="2026-01-01T00:00:00+00:00",
        seconds={"train": rng.uniform(10, 900), "evaluate": rng.uniform(1, 60), "total": rng.uniform(20, 999)},
        method=method,
        label=label,
        learning_rate=2e-4,
        parameters=Parameters(
            trainable=int(10 ** rng.uniform(3, 8)), added=0, total=10**9, adapter_bytes=10**6, full_copy_bytes=2 * 10**9
        ),
        memory=Memory(train_cuda_allocated=int(rng.uniform(1, 80) * 2**30)),
        throughput=Throughput(
            tokens_per_second=rng.uniform(1e3, 1e5),
            samples_per_second=rng.uniform(1, 99),
            tokens_per_second_iqr=10.0,
            timed_steps=90,
        ),
        quality={"val_loss": rng.uniform(1, 3)} | quality,
        base_quality={"val_loss": 3.2, "bleu": 5.0},
        test_examples=20,
        forgetting=Forgetting(
            text="t",
            tokens=500,
            loss_before=3.0,
            loss_after=rng.uniform(3, 4),
            kl=rng.uniform(0, 1),
            panel_before=0.8,
            panel_after=rng.uniform(0, 1),
            panel_by_task={},
        ),
    )


TYPE = "(q => {{ q.value = '{}'; q.dispatchEvent(new Event('input')); }})(document.querySelector('[name=q]'))"
ACTS = {
    "sort by a number": "document.querySelector('th[data-key=bleu] button').click()",
    "sort by text": "document.querySelector('th[data-key=label] button').click()",
    "filter": TYPE.format("lora r=8"),
    "filter no more": TYPE.format(""),
    "trade-offs": "document.getElementById('tab-tradeoff').click()",
    "choose": "document.getElementById('tab-choose').click()",
    "open a run": "document.querySelector('#panel button.link').click()",
}
"""What is done in the page, in this order."""
TIMED = (
    "act => { const start = performance.now(); eval(act); document.body.offsetHeight; "
    "return performance.now() - start }"
)
"""From the event until the page is laid out anew, in ms."""


def in_chromium(path: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """The least of some rounds, in ms, of opening the page and of each act: by the clock, and of the page's thread,
    which other programs do not slow."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ("open", *ACTS)}
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(rounds):
            opened = browser.new_page(viewport={"width": 1280, "height": 800})
            session = opened.context.new_cdp_session(opened)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            start = time.perf_counter()
            opened.goto(path.as_uri(), wait_until="commit")
            opened.wait_for_selector("html[data-ready]", state="attached", timeout=120_000)
            busy = _thread(session)
            found["open"].append((1000 * (time.perf_counter() - start), busy))
            for name, act in ACTS.items():
                clock = opened.evaluate(TIMED, act)
                before, busy = busy, _thread(session)
                found[name].append((clock, busy - before))
            opened.close()
        browser.close()
    return {name: (min(t[0] for t in times), min(t[1] for t in times)) for name, times in found.items()}


def _thread(session: Any) -> float:
    """Milliseconds that the page's main thread has worked so far."""
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    return 1000 * float(metrics["TaskDuration"])


def main() -> None:
    """Print the figures as a Markdown table."""
    given = argparse.ArgumentParser(prog="python -m benchmarks.page_speed", description=__doc__)
    given.add_argument("--runs", type=int, default=10_000, metavar="N", help="default: %(default)s")
    given.add_argument("--rounds", type=int, default=5, metavar="N", help="openings (default: %(default)s)")
    options = given.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results, output = Path(folder) / "results", Path(folder) / "page.html"
        synthetic(results, options.runs)
        start, cpu = time.perf_counter(), time.process_time()
        text = built(parser().parse_args(["--results", str(results)]), print)
        output.write_text(text)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        times = in_chromium(output, options.rounds)
    print(f"\n| {options.runs:,} runs, file of {len(text) / 1e6:.0f} MB | by the clock | of a core |\n|---|--:|--:|")
    print(f"| build | {seconds:.1f} s | {cpu:.1f} s |")
    for name, (clock, busy) in times.items():
        print(f"| {name} | {clock:,.0f} ms | {busy:,.0f} ms |")


if __name__ == "__main__":
    main()
