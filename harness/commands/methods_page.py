"""`python -m harness methods-page` prints docs/methods.md: each method, from its config and what its tests measured."""

from __future__ import annotations

import json
from typing import Any

import yaml

from harness.errors import Parser
from harness.methods import left_out
from harness.places import CONF, ROOT

MEASURED = ROOT / "docs" / "methods.json"
"""What `tests/methods/test_contract.py` measured, by method."""

HEAD = """# Methods

{count} methods, each a file in `conf/method/`: `method=lora`. What a line says is tested by
`tests/methods/test_contract.py` in one training of each method on a tiny random model; the figures in it are from
there. This page is printed by `python -m harness methods-page`.

- *formula*: what an adapted layer computes; W is the base's weight, x the layer's input.
- *parameters*: trainable ones on the tiny model, a Llama of two layers with 64 hidden units (another where it says so),
  {full:,} parameters in all.
- *start*: before training, the output is the base's bit for bit (same), within 1e-5 (close), or another.
- *merges*: the adapter can be folded into the base's weights; - where there is no adapter.
- *quantized*: storages of the base's weights that it works on; another one is refused before anything is loaded.
"""
COLUMNS = ["method", "paper", "formula", "parameters", "start", "merges", "quantized", "kinds", "learning rate", "from"]


def configs() -> dict[str, dict[str, Any]]:
    """Every method's file, by its name."""
    paths = sorted((CONF / "method").glob("*.yaml"))
    return {path.stem: yaml.safe_load(path.read_text()) for path in paths}


def row(name: str, config: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """The cells of a method's line."""
    facts = config["facts"]
    authors, _, address = facts["paper"].rpartition(", ")
    tiny = facts.get("architecture", "llama")
    return [
        f"`{name}`",
        f"[{authors}]({address})" if authors else facts["paper"],
        facts["formula"].replace("|", "\\|"),
        f"{measured['trainable']:,}" + ("" if tiny == "llama" else f" ({tiny})"),
        facts["start"] + (f": {facts['start_reason']}" if "start_reason" in facts else ""),
        {True: "yes", False: "no", None: "-"}[measured.get("merges")],
        ", ".join(measured["quantized"]) or "none",
        ", ".join(facts["kinds"]),
        "-" if config.get("lr") is None else f"{float(config['lr']):g}",
        facts["lr_from"],
    ]


def page() -> str:
    """docs/methods.md."""
    measured = json.loads(MEASURED.read_text())
    methods = configs()
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    lines += [" | ".join(row(name, config, measured[name])) for name, config in methods.items()]
    table = "\n".join(f"| {line} |" for line in lines)
    reasons = "\n".join(f"- `{name}`: {why}." for name, why in sorted(left_out.PEFT_TYPES.items()))
    variants = "\n".join(f"- {name}: {why}." for name, why in sorted(left_out.LORA_VARIANTS.items()))
    head = HEAD.format(count=len(methods), full=measured["full"]["trainable"])
    return (
        f"{head}\n{table}\n\n## Left out\n\nTypes of PEFT without a config:\n\n{reasons}\n\n"
        f"Variants of LoRA in PEFT without a config:\n\n{variants}\n"
    )


def main(arguments: list[str]) -> None:
    """Print the page. Raises UserError."""
    Parser(prog="python -m harness methods-page", description=__doc__).parse_args(arguments)
    print(page(), end="")
