"""What the benchmarks that write a table share: its lines about the machine, its files, and silent libraries."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers


def quiet() -> None:
    """Keep transformers' warnings and bars out of the output."""
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def add_common(parser: argparse.ArgumentParser, name: str) -> None:
    """The precision, and where the table of this name goes."""
    parser.add_argument(
        "--dtype", choices=["auto", "bf16", "fp32"], default="auto", help="auto: as the harness chooses on this CPU"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        default=Path(__file__).parent / "results" / f"{name}.md",
        help=f"the table; every step goes to the same name with .json (default: benchmarks/results/{name}.md)",
    )


def machine(environment: Mapping[str, Any], versions: Mapping[str, Any]) -> list[str]:
    """Lines of a list: the machine, and the versions."""
    return [
        f"- {environment['device']}; {environment['threads']} threads; load average before "
        f"{environment['load_average']:.1f}",
        f"- {', '.join(f'{name} {number}' for name, number in versions.items())}\n",
    ]


def deliver(table: str, result: dict[str, Any], path: Path) -> None:
    """Print the table, and write it and everything that it is made of."""
    print(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table)
    path.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
