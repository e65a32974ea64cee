"""A published table, with runs of one's own beside it, from an installed package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.command_line import needs_java
from tests.support.installed import FAST, lines
from tests.support.tables import rows_under

FIGURES = {"1": "68.72", "4": "70.38", "16": "69.61"}
"""BLEU by rank, as the LoRA paper prints it (appendix, effect of r on GPT-2 Medium)."""


@needs_java
def test_a_published_table(said: Callable[..., str], tmp_path: Path) -> None:
    rows = "".join(f'"name[Aromi], eatType[pub], near[{i}]","Aromi is a pub near {i}."\n' for i in range(40))
    (tmp_path / "FOLDER").mkdir()
    for at, name in enumerate(("trainset", "devset", "testset_w_refs")):
        (tmp_path / f"FOLDER/{name}.csv").write_text("mr,ref\n" + rows.replace("near", f"near{at}"))
    (show,) = lines("papers.md", "python -m reports paper lora_rank_ablation ")
    (scaled,) = lines("papers.md", "python -m harness +sweep=papers/scaled")

    assert ours(said(show)) == {}, "nothing is run yet"
    said(scaled, "method.rank=1,4", "seed=0", *FAST)
    text = said(show)
    assert set(ours(text)) == {"1", "4"}
    assert all(0 <= float(cell.split()[0]) <= 100 for cell in ours(text).values())
    assert {path.name for path in tmp_path.iterdir()} == {"FOLDER", "results"}


def ours(text: str) -> dict[str, str]:
    """Our BLEU by rank, where there is one; what was published stands beside."""
    found = {row["r"]: row for row in rows_under(text, "lora_rank_ablation: BLEU")}
    assert {rank: found[rank]["published"] for rank in FIGURES} == FIGURES
    return {rank: row["ours"] for rank, row in found.items() if "—" not in row["ours"]}
