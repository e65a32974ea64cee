"""Generation: the same text at any batch size, equal to a loop written by hand; scores equal to their libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data import Example
from harness.data.plain_text import _read
from harness.data.untouched import PanelItem, correct
from harness.evaluation.answers import first_line
from harness.evaluation.general_text import text_loss, windows
from harness.evaluation.panel import shares
from harness.evaluation.scores import score
from harness.results.lines import read_lines, write_lines
from tests.support.texts import texts
from tests.support.tiny import METHODS, Adapted, adapted, settings
from tests.support.trainers import never, quiet, trainer

_made: dict[str, Adapted] = {}


@pytest.fixture
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    """A model trained a few steps by the method that the test names; one for all tests."""
    method = request.param
    if method not in _made:
        chosen = settings(f"method={method}").method
        # Solved examples in front of a prompt are long in tokens of one character.
        overrides = [f"method={method}", f"model.architecture={chosen.facts.architecture}", "model.context=4096"]
        if chosen.lr:  # at a high rate a random model soon says one thing whatever it is asked
            overrides.append(f"method.lr={min(chosen.lr, 1e-3)}")
        a = adapted([*overrides, "train.steps=5"])
        if a.settings.method.trains:
            trainer(a, tmp_path_factory.mktemp(method)).run(never, quiet)
        _made[method] = a
    return _made[method]


@pytest.mark.parametrize("trained", METHODS, indirect=True)
@pytest.mark.parametrize("beams", [1, 3])
def test_same_text_at_any_batch_size(trained: Adapted, beams: int) -> None:
    alone = texts(trained, 1, beams)
    assert texts(trained, 8, beams) == alone
    assert texts(trained, 3, beams) == alone
    assert len(set(alone)) > 1


@pytest.mark.parametrize("trained", METHODS, indirect=True)
def test_greedy_text_is_the_argmax_of_the_plain_forward_pass(trained: Adapted) -> None:
    """The witness calls the model itself, one prompt at a time and without a cache or padding."""
    a = trained
    a.model.eval()
    for example, text in zip(a.task.train[:3], texts(a, 3), strict=False):
        ids = a.task.encoder.prompt(example, 12)
        start = len(ids)
        with torch.no_grad():
            for _ in range(12):
                given = torch.tensor([ids])
                logits = a.model(input_ids=given, attention_mask=torch.ones_like(given), use_cache=False).logits
                ids.append(int(logits[0, -1].argmax()))
                if ids[-1] == a.tokenizer.eos_token_id:
                    break
        assert text == " ".join(str(token) for token in ids[start:] if token != a.tokenizer.eos_token_id)


@pytest.mark.parametrize("trained", ["zero_shot", "full", "lora", "prefix_tuning"], indirect=True)
def test_forgetting_is_nothing_for_the_base_and_something_after(trained: Adapted, tmp_path: Path) -> None:
    base = adapted(["method=zero_shot", "model.context=4096"])
    batches = windows(base.model, base.tokenizer, base.settings.forgetting)
    kept = tmp_path / "logits.safetensors"
    before = text_loss(base.forward, batches, 10**6, keep=kept, base=None)
    after = text_loss(trained.forward, batches, 10**6, keep=None, base=kept)
    # The witness for the loss: transformers' own mean over each window.
    with torch.no_grad():
        own = [base.model(input_ids=b.ids, labels=b.ids).loss.item() for b in batches]
    assert before.loss == pytest.approx(sum(own) / len(own), abs=1e-5)
    assert before.tokens == sum(b.ids.shape[1] - 1 for b in batches)
    assert after.divergence is not None
    assert after.divergence.tokens == before.tokens
    if trained.settings.method.name == "zero_shot":
        assert after.divergence.kl == pytest.approx(0, abs=1e-6)
        assert after.divergence.agreement == 1
        assert after.loss == pytest.approx(before.loss, abs=1e-6)
    else:
        assert after.divergence.kl > 1e-5
        # The witness for the divergence: torch's distributions, on the first window.
        with torch.no_grad():
            p, q = base.forward.logits(batches[0]), trained.forward.logits(batches[0])
        categorical = torch.distributions.Categorical
        each = torch.distributions.kl_divergence(categorical(logits=p), categorical(logits=q))
        for compared in (len(p), 50):
            first = text_loss(trained.forward, batches[:1], compared, keep=None, base=kept).divergence
            assert first is not None
            assert first.tokens == compared
            assert first.kl == pytest.approx(each[:compared].mean().item(), rel=1e-4)
            assert first.kl_std == pytest.approx(float(np.std(each[:compared].numpy())), rel=1e-3)
            assert first.agreement == (p.argmax(-1) == q.argmax(-1))[:compared].double().mean().item()


def test_score_of_perfect_and_empty_answers() -> None:
    examples = [
        Example("name[Aromi], eatType[pub], area[riverside]", ("Aromi is a pub in the riverside area.",)),
        Example("name[Zizzi], food[Thai]", ("Zizzi serves Thai food to everyone.", "There is Thai food at Zizzi.")),
    ]
    perfect = score(examples, [e.references[-1] for e in examples], ("bleu", "rouge", "slots")).quality
    assert perfect["bleu"] == pytest.approx(100)
    assert perfect["rougeL"] == pytest.approx(100)
    assert perfect["ser"] == 0
    empty = score(examples, ["", ""], ("bleu", "rouge", "slots")).quality
    assert empty["bleu"] == 0
    assert empty["ser"] == 100


def test_lines_hold_what_scores_are_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Java, METEOR is null with its reason, and the others have a part in each line."""
    from statistics import fmean

    from harness.metrics import nist

    monkeypatch.setenv("PATH", "")
    examples = [
        Example("name[Aromi], eatType[pub]", ("Aromi is a pub.", "There is a pub called Aromi.")),
        Example("name[Zizzi], food[Thai]", ("Zizzi serves Thai food.",)),
    ]
    made = score(examples, ["Aromi is a good pub.", "Thai food at Zizzi."], ("nist", "meteor", "cider", "slots"))
    assert made.quality["meteor"] is None
    assert "no java" in made.reasons["meteor"]
    assert all("meteor" not in line for line in made.lines)
    assert fmean(line["cider"] for line in made.lines) == pytest.approx(made.quality["cider"])
    sums = [sum(column) for column in zip(*(line["nist"] for line in made.lines), strict=True)]
    assert nist.of_sums_perl(sums) == pytest.approx(made.quality["nist"])
    assert [line["ser"] for line in made.lines] == [[0, 0, 2], [0, 0, 2]]


def test_first_line() -> None:
    assert first_line("\n  A pub. \nAnother thing") == "A pub."
    assert first_line(" \n ") == ""


ENDS = ("\u2028", "\u2029", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\r")
"""What is no end of a line, though Python's `splitlines` takes it for one."""


@pytest.mark.parametrize("end", ENDS)
def test_only_line_feeds_end_a_line(end: str, tmp_path: Path) -> None:
    """An answer with another mark in it is whole when it is scored, and when it is read again."""
    text = f"alpha one two{end}three beta gamma"
    assert first_line(f"\r\n{text}\r\nmore") == text
    example = Example("x", (text,))
    made = score([example], [first_line(f"{text}\n")], ("bleu", "rouge"))
    assert {name: value for name, value in made.quality.items() if value is not None} == pytest.approx(
        {"bleu": 100, "rouge1": 100, "rouge2": 100, "rougeL": 100, "rougeLsum": 100}
    )
    write_lines(tmp_path / "predictions.jsonl", made.lines)
    assert [line["prediction"] for line in read_lines(tmp_path / "predictions.jsonl")] == [text]
    assert correct(PanelItem("words", "Say it.", ("gamma",)), text)
    (tmp_path / "text.txt").write_bytes(f"{text}\r\nlast".encode())
    assert _read(tmp_path / "text.txt") == [text, "last"]


def test_shares() -> None:
    lines = [{"task": "sum", "right": True}, {"task": "sum", "right": False}, {"task": "repeat", "right": True}]
    assert shares(lines) == {"sum": 0.5, "repeat": 1.0, "all": pytest.approx(2 / 3)}


def test_prefix_starts_as_its_text() -> None:
    """At the start the trained keys and values are those of the text, so that the model answers as if it read it."""
    base = adapted(["method=zero_shot"])
    a = adapted(["method=prefix_tuning", "method.init_text=abcdefgh", "method.virtual_tokens=20"])
    read = (base.tokenizer("abcdefgh")["input_ids"] * 3)[:20]
    ids = a.task.encoder.prompt(a.task.train[0], 12)
    with torch.no_grad():
        expected = base.model(input_ids=torch.tensor([read + ids])).logits[:, 20:]
        got = a.model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)).logits
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_head_sees_states_that_lie_together_and_scores_the_same(dtype: str) -> None:
    a = adapted([f"dtype={dtype}"])
    model = a.model.get_base_model()
    head = model.get_output_embeddings()
    seen: list[torch.Tensor] = []
    head.register_forward_hook(lambda _module, args, _out: seen.append(args[0]))
    ids = torch.arange(24).view(3, 8)
    with torch.no_grad():
        last = model(input_ids=ids, logits_to_keep=1).logits
        states = model.model(input_ids=ids).last_hidden_state[:, -1:]
        assert not states.is_contiguous()
        plain = torch.nn.functional.linear(states, head.weight)
    assert seen[0].is_contiguous()
    torch.testing.assert_close(last, plain, rtol=1e-5 if dtype == "fp32" else 0, atol=1e-6 if dtype == "fp32" else 0)
