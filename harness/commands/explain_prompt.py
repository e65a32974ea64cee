"""What trained prompt vectors are like: `python -m harness explain-prompt RUN` names the nearest tokens of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands._finished import finished_run, markdown_table
from harness.errors import Parser, UserError

if TYPE_CHECKING:
    import torch


DESCRIPTION = """\
For each trained vector before the text, the tokens of the vocabulary whose embeddings are nearest by cosine, each with
its cosine distance (1 - cosine: 0 the same direction, 1 at a right angle)."""


def main(arguments: list[str]) -> None:
    """Print the table of one run. Raises UserError."""
    parser = Parser(prog="python -m harness explain-prompt", description=DESCRIPTION)
    parser.add_argument("run", help="folder or id of a finished run")
    parser.add_argument("--tokens", type=int, default=3, metavar="N", help="tokens named for each vector (%(default)s)")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER", help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.tokens < 1:
        raise UserError(f"--tokens={options.tokens}: must be at least 1")
    rows = explain(options.run, options.results, options.tokens)
    print(markdown_table(rows))


def explain(name: str, results: Path, count: int) -> list[dict[str, str]]:
    """A row a vector: its place, its length, and its `count` nearest tokens. Raises UserError for a run without any."""
    from harness.methods.soft_prompts import InputVectors

    run = finished_run(name, results)
    if not isinstance(run.settings.method, InputVectors):
        raise UserError(
            f"{name}: {run.record.label} has no vectors in the place of tokens; name a run of prompt_tuning, "
            "p_tuning, multitask_prompt_tuning or cpt"
        )
    import torch

    from harness.prepare.base_model import load_base

    model, tokenizer = load_base(run.settings)
    adapted = run.adapted(model)
    with torch.no_grad():
        vectors = adapted.get_prompt(batch_size=1)[0].float()
        tokens, distances = nearest_tokens(
            vectors, model.get_input_embeddings().weight[: len(tokenizer)].float(), count
        )
    rows = []
    for i, (near, far) in enumerate(zip(tokens.tolist(), distances.tolist(), strict=True), 1):
        shown = [f"{tokenizer.decode([token])!r} {distance:.3f}" for token, distance in zip(near, far, strict=True)]
        named = {f"nearest {j}": text for j, text in enumerate(shown, 1)}
        rows.append({"vector": str(i), "length": f"{vectors[i - 1].norm():.3g}"} | named)
    return rows


def nearest_tokens(vectors: torch.Tensor, embeddings: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` rows of `embeddings` [tokens, width] nearest to each of `vectors` [n, width] by cosine, nearest
    first: their numbers [n, count] and cosine distances [n, count]."""
    from torch.nn.functional import normalize

    cosines = normalize(vectors, dim=-1) @ normalize(embeddings, dim=-1).T
    best = cosines.topk(min(count, len(embeddings)), dim=-1)
    return best.indices, 1 - best.values
