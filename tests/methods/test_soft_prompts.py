"""Soft prompts: what they start as, what they cost, and that what is saved is what was trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.commands.explain_prompt import nearest_tokens
from harness.prepare.base_model import load_base
from harness.training.optimizer import trainable
from tests.support.texts import texts
from tests.support.tiny import adapted
from tests.support.trainers import never, quiet, trainer

WIDTH, TOKENS = 64, 16
MLP = TOKENS * WIDTH + (WIDTH * 128 + 128) + (128 * 128 + 128) + (128 * WIDTH + WIDTH)
# Two layers, two directions, four gates each: the first reads the vectors, the second both directions of the first.
LSTM = sum(2 * (4 * 128 * (read + 128) + 8 * 128) for read in (WIDTH, 256))
COUNTS = {
    ("prompt_tuning",): TOKENS * WIDTH,
    ("p_tuning",): MLP,
    ("p_tuning", "method.encoder=lstm"): TOKENS * WIDTH + LSTM + (256 * 256 + 256) + (256 * WIDTH + WIDTH),
    # Keys and values of 2 heads of 16 in 2 layers: rows of 128; the MLP reads vectors as wide as the keys of a layer.
    ("prefix_tuning",): TOKENS * 128,
    ("prefix_tuning_mlp",): TOKENS * 32 + (32 * 128 + 128) + (128 * 128 + 128),
    ("multitask_prompt_tuning",): TOKENS * WIDTH + TOKENS + WIDTH,
    # In 2 layers, 10 vectors and a gate.
    ("adaption_prompt",): 2 * (10 * WIDTH + 1),
}


@pytest.mark.parametrize("chosen", COUNTS, ids=" ".join)
def test_counts_saved_vectors_and_texts(chosen: tuple[str, ...], tmp_path: Path) -> None:
    a = adapted([f"method={chosen[0]}", *chosen[1:]])
    assert sum(p.numel() for p in trainable(a.model).values()) == COUNTS[chosen]
    trainer(a, tmp_path).run(never, quiet)
    a.model.eval()
    a.settings.method.save(a.model, tmp_path / "adapter")
    loaded = a.settings.method.load(load_base(a.settings)[0], tmp_path / "adapter").eval()
    batch = a.task.validation[0]
    given = {"input_ids": batch.ids, "attention_mask": batch.mask}
    with torch.no_grad():
        assert torch.equal(loaded(**given).logits, a.model(**given).logits)
    for beams in (1, 3):
        assert texts(a, 8, beams) == texts(a, 1, beams)


def test_prompt_starts_as_its_text() -> None:
    base = adapted(["method=zero_shot"])
    a = adapted(["method=prompt_tuning", "method.init=text", "method.init_text=abcde"])
    read = (base.tokenizer("abcde")["input_ids"] * 4)[:16]
    ids = a.task.encoder.prompt(a.task.train[0], 12)
    with torch.no_grad():
        expected = base.model(input_ids=torch.tensor([read + ids])).logits
        got = a.model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids))).logits
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_cpt_reads_its_examples_moves_inputs_alone_and_within_its_radius(tmp_path: Path) -> None:
    base = adapted(["method=zero_shot"])
    a = adapted(["method=cpt", "method.lr=0.1", "method.examples=2", "method.decay=0.5"])
    first = next(a.task.batches(4, 0))[:2]
    context = [token for example in first for token in example.ids]
    ids = a.task.encoder.prompt(a.task.train[0], 12)
    with torch.no_grad():
        expected = base.model(input_ids=torch.tensor([context + ids])).logits[:, len(context) :]
        got = a.model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids))).logits
        torch.testing.assert_close(got[:, -len(ids) :], expected, atol=1e-5, rtol=1e-5)
        # The penalty, by hand: each answer's tokens weigh decay ** its distance from the text.
        log = base.model(input_ids=torch.tensor([context])).logits[0].log_softmax(-1)
    wanted, start = [], 0
    for n, example in enumerate(first):
        at = range(start + example.scored_from, start + len(example.ids))
        wanted += [-(0.5 ** (2 - n)) * log[i - 1, context[i]].item() for i in at]
        start += len(example.ids)
    penalty = a.settings.method.penalty(a.model)
    assert penalty is not None
    assert penalty.item() == pytest.approx(sum(wanted) / len(wanted), abs=1e-5)

    trainer(a, tmp_path).run(never, quiet)
    delta = a.model.prompt_encoder["default"].delta_embedding.weight.detach().norm(dim=-1)
    inputs = torch.tensor([i < e.scored_from for e in first for i in range(len(e.ids))])
    radius = 0.1 * (64 / 2048) ** 0.5
    assert torch.all(delta[~inputs] == 0)
    assert torch.all(delta[inputs] > 0)
    assert torch.all(delta <= radius * (1 + 1e-5))


def test_nearest_tokens_by_cosine() -> None:
    vectors = torch.tensor([[2.0, 0.0], [-3.0, 3.0]])
    embeddings = torch.tensor([[0.0, 1.0], [5.0, 0.0], [1.0, 1.0]])
    tokens, distances = nearest_tokens(vectors, embeddings, 2)
    half = 0.5**0.5
    assert tokens.tolist() == [[1, 2], [0, 2]]
    torch.testing.assert_close(distances, torch.tensor([[0.0, 1 - half], [1 - half, 1.0]]))
