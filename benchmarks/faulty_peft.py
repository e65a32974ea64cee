"""Faults planted in a copy of PEFT, and the same PEFT over and over: which runs the gate names.

`python -m benchmarks.faulty_peft --work FOLDER` prints the table and writes docs/results/faulty_peft.md. What FOLDER
holds already is not measured again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.gate.baseline import measured
from reports.gate.compare import compare
from reports.gate.entries import Baseline
from reports.gate.measure import allocator_settings, measure
from reports.gate.rows import Comparison
from reports.read.run import Run
from reports.read.runs import load_sweep

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/results/faulty_peft.md"
TIMES = 20
"""Comparisons of unchanged code."""
METHODS = "method=full,ia3,loha,lora,olora,p_tuning,prefix_tuning,rslora,vera"


@dataclass(frozen=True)
class Fault:
    """A change of PEFT's sources."""

    title: str
    file: str
    """Below PEFT's folder."""
    old: str
    new: str
    runs: tuple[str, ...]
    """Methods that it changes, of METHODS."""


FAULTS = {
    "scaling": Fault(
        *("rsLoRA's scaling is 0", "tuners/lora/layer.py"),
        *("self.scaling[adapter_name] = lora_alpha / math.sqrt(r)", "self.scaling[adapter_name] = 0.0", ("rslora",)),
    ),
    "init": Fault(
        *("LoHa's B₂ starts at random and A₂ at 0, not the other way round", "tuners/loha/layer.py"),
        "nn.init.kaiming_uniform_(self.hada_w2_a[adapter_name], a=math.sqrt(5))\n"
        "            nn.init.zeros_(self.hada_w2_b[adapter_name])",
        "nn.init.zeros_(self.hada_w2_a[adapter_name])\n"
        "            nn.init.kaiming_uniform_(self.hada_w2_b[adapter_name], a=math.sqrt(5))",
        ("loha",),
    ),
    "bias": Fault(
        *("P-tuning's network leaves out its last bias", "tuners/p_tuning/model.py"),
        "            output_embeds = self.mlp_head(input_embeds)\n",
        "            output_embeds = self.mlp_head(input_embeds) - self.mlp_head[-1].bias\n",
        ("p_tuning",),
    ),
    # A model of two layers has six places of (IA)3, the first of which is in the first layer.
    "gradient": Fault(
        *("gradients of (IA)³'s first place are 0", "tuners/ia3/layer.py"),
        "        self.ia3_l[adapter_name] = nn.Parameter(weight)\n        if init_ia3_weights:\n"
        "            self.reset_ia3_parameters(adapter_name)\n"
        "        self._move_adapter_to_device_of_base_layer(adapter_name)\n",
        "        self.ia3_l[adapter_name] = nn.Parameter(weight)\n        if init_ia3_weights:\n"
        "            self.reset_ia3_parameters(adapter_name)\n"
        "        self._move_adapter_to_device_of_base_layer(adapter_name)\n"
        "        IA3Layer.places = getattr(IA3Layer, 'places', -1) + 1\n"
        "        if IA3Layer.places % 6 == 0:\n"
        "            self.ia3_l[adapter_name].register_hook(torch.zeros_like)\n",
        ("ia3",),
    ),
}


def faulty_copy(folder: Path, names: Sequence[str]) -> Path:
    """A folder for PYTHONPATH with a copy of PEFT that has these faults. Raises ValueError where PEFT's sources are
    others than those that a fault changes."""
    spec = importlib.util.find_spec("peft")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    shutil.copytree(spec.submodule_search_locations[0], folder / "peft", ignore=shutil.ignore_patterns("__pycache__"))
    for fault in (FAULTS[name] for name in names):
        path = folder / "peft" / fault.file
        text = path.read_text(encoding="utf-8")
        if fault.old not in text:
            raise ValueError(f"{path}: has no {fault.old!r}; this PEFT is another than the fault was written for")
        path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    return folder


@contextlib.contextmanager
def python_path(folder: Path | None) -> Iterator[None]:
    """What is measured in the block finds modules in this folder first."""
    before = os.environ.get("PYTHONPATH")
    given = [str(each) for each in (folder, before) if each]
    os.environ["PYTHONPATH"] = os.pathsep.join(given)
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def measured_once(work: Path, name: str, fault: str, repeats: int) -> Path:
    """The results folder of this measurement, made unless it is there."""
    results = work / name
    if not (results / "allocator.txt").exists():
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        copy = work / f"peft-{name}"
        if fault and not copy.exists():
            faulty_copy(copy, [fault])
        with python_path(copy if fault else None):
            measure("gate", [METHODS], range(repeats), results)
    return results


def of(results: Path, repeat: int) -> Baseline:
    """What one repeat in a folder measured."""

    def within(run: Run) -> bool:
        return run.record is not None and run.record.key["repeat"] == repeat

    runs = [run for run in load_sweep(results, "gate").runs if within(run)]
    return measured(runs, "gate", allocator_settings())


def named(found: Comparison) -> list[str]:
    """The runs that a comparison fails on, in its order."""
    return list(dict.fromkeys(row.run for row in found.of("regression", "moved")))


def main() -> None:
    """Measure what is missing, print the table and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--times", type=int, default=TIMES, help="comparisons of unchanged code; default: %(default)s")
    options = parser.parse_args()
    work = options.work.resolve()
    before = of(measured_once(work, "first", "", 1), 0)
    unchanged = measured_once(work, "unchanged", "", options.times)
    again = [compare(before, of(unchanged, repeat)) for repeat in range(options.times)]
    found = {name: compare(before, of(measured_once(work, name, name, 1), 0)) for name in FAULTS}
    text = page(before, found, again)
    PAGE.write_text(text, encoding="utf-8")
    print(text)


def page(before: Baseline, found: dict[str, Comparison], again: Sequence[Comparison]) -> str:
    """The page of results."""
    alarms = sum(bool(each.of("regression", "moved")) for each in again)
    lines = [
        "# Faults planted in a copy of PEFT",
        "",
        "Which runs the gate (docs/regressions.md) names when PEFT itself is at fault. "
        "`python -m benchmarks.faulty_peft` made this page. "
        f"PEFT {before.versions['peft']}, torch {before.versions['torch']}; {before.machine.device}, threads: "
        f"{before.machine.threads}; {len(before.runs)} runs of the sweep `gate`, one repeat each.",
        "",
        "| fault | changes | named | what is said |",
        "|---|---|---|---|",
    ]
    for name, each in found.items():
        notes = "; ".join(row.note for row in each.of("regression", "moved"))
        lines.append(f"| {FAULTS[name].title} | {', '.join(FAULTS[name].runs)} | {', '.join(named(each))} | {notes} |")
    lines += ["", f"The same PEFT, {len(again)} times: {alarms} comparisons with a run that moved or regressed.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
