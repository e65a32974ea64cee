"""Plans as a table to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

SHORT = {
    "base_weights": "base",
    "quantization_constants": "constants",
    "adapter": "adapter",
    "gradients": "gradients",
    "optimizer_state": "optimizer",
    "activations": "activations",
    "temporaries": "temporaries",
    "kv_cache": "KV cache",
}
"""Columns of owners; one that owns nothing anywhere is left out."""


def size(count: int) -> str:
    """Bytes in GiB, or in MiB where that is less than a hundredth."""
    return f"{count / 2**30:.2f}" if count >= 2**30 / 100 or not count else f"{count / 2**30:.4f}"


def text(lines: Sequence[dict[str, Any]], budget: str | None) -> str:
    """A row for each plan; then what would make it fit, and the largest tensors of its peak where asked for."""
    owners = [owner for owner in SHORT if any(line["by_owner"][owner] for line in lines)]
    head = ["model", "row", "peak [GiB]", "in", *(f"{SHORT[owner]}" for owner in owners), "trainable"]
    head += [f"fits {budget}"] if budget else []
    rows = []
    overrides_of = [line["overrides"].split() for line in lines]
    for line in lines:
        # What sets the points of a sweep apart, besides what the row's name says.
        apart = [o for o in line["overrides"].split() if any(o not in other for other in overrides_of)]
        apart = [o for o in apart if not o.startswith(("model=", "method=", "method.rank=", "quantization="))]
        row = [
            line["model"],
            " ".join([line["label"], *apart]) + (" (measured)" if line["measured"] else ""),
            size(line["peak_bytes"]),
            line["peak_phase"],
        ]
        row += [*(size(line["by_owner"][owner]) for owner in owners), f"{line['trainable_parameters']:,}"]
        rows.append(row + ([{True: "yes", False: "no", None: ""}[line["fits"]]] if budget else []))
    parts = [tabulate(rows, headers=head, tablefmt="github", disable_numparse=True)]
    for line in lines:
        if line["fits"] is False:
            parts.append(_changes(line))
        if line["largest"]:
            cells = [
                [held["owner"], size(held["bytes"]), held["name"], held["shape"], held["dtype"], held["made_by"]]
                for held in line["largest"]
            ]
            names = ["owner", "GiB", "module or parameter", "shape", "dtype", "made by"]
            parts.append(f"{line['overrides']}\n" + tabulate(cells, headers=names, tablefmt="github"))
    return "\n\n".join(parts)


def _changes(line: dict[str, Any]) -> str:
    if not line["suggestions"]:
        return f"{line['overrides']}: none of the changes that were tried makes it fit"
    if not line["suggestions"][0]["fits"]:
        least = line["suggestions"][0]
        return (
            f"{line['overrides']}: no change that was tried makes it fit; the least is "
            f"{size(least['peak_bytes'])} GiB, with {least['overrides']}"
        )
    options = [f"  {size(change['peak_bytes'])} GiB with {change['overrides']}" for change in line["suggestions"]]
    return "\n".join([f"{line['overrides']}: fits with one of, cheapest first,", *options])
