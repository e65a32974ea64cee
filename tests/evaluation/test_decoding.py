"""Greedy is greedy, whatever generation settings a model comes with, and answers end where the model ends them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.data import Example
from harness.errors import UserError
from harness.evaluation.answers import write_answers
from harness.prepare.base_model import LoadedModel, load_base
from harness.prepare.decoding import ends, stated
from harness.prepare.encoded_task import encoder_of
from harness.results.lines import read_lines
from harness.results.record import Record
from tests.support.made_models import TURNS, byte_tokenizer, chat_tokenizer, saved
from tests.support.records import run_folder
from tests.support.tiny import Adapted, adapted

OWN = {
    "penalty": {"repetition_penalty": 1.5},
    "sampling": {"do_sample": True, "temperature": 0.7, "top_p": 0.9},
    "suppressed": {"suppress_tokens": [70, 71, 72, 73], "bad_words_ids": [[75]]},
    "forced": {"forced_eos_token_id": 0, "min_new_tokens": 5, "exponential_decay_length_penalty": [1, 2.0]},
    "searching": {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 2},
    "returning": {"return_dict_in_generate": True, "num_return_sequences": 1, "output_scores": True},
    "stopping": {"stop_strings": ["e"], "max_time": 0.0001, "guidance_scale": 1.5},
}
"""What a model may come with."""


def of(folder: Path, *overrides: str) -> Adapted:
    return adapted(["model=path", f"model.path={folder}", *overrides])


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("method", ["zero_shot", "lora", "prompt_tuning", "prefix_tuning"])
def test_an_answer_is_the_argmax_of_the_plain_forward_pass(own: str, method: str, tmp_path: Path) -> None:
    a = of(saved(tmp_path / "model", byte_tokenizer("<s>"), OWN[own]), f"method={method}", "eval.max_new_tokens=6")
    a.model.eval()
    made = write_answers(
        a.settings.method.generate,
        LoadedModel(a.model, a.tokenizer),
        list(a.task.prompts.values()),
        a.settings.eval,
        source=None,
    )
    for ids, found in zip(a.task.prompts.values(), made, strict=True):
        ids = list(ids)
        start = len(ids)
        with torch.no_grad():
            while len(ids) < start + 6 and ids[-1] != a.tokenizer.eos_token_id:
                given = torch.tensor([ids])
                given = {"input_ids": given, "attention_mask": torch.ones_like(given)}
                ids.append(int(a.model(**given, use_cache=False).logits[0, -1].argmax()))
        text = a.tokenizer.decode(ids[start:], skip_special_tokens=True).strip().split("\n")[0].strip()
        assert (found.text, found.ended) == (text, ids[-1] == a.tokenizer.eos_token_id)


def test_what_was_left_out_is_in_the_signature(tmp_path: Path) -> None:
    a = of(saved(tmp_path / "model", byte_tokenizer(), OWN["penalty"] | OWN["sampling"]), "method=lora")
    said = stated(a.settings.eval, a.model, a.tokenizer)
    assert said.startswith("greedy|new:12|ends:</s>|")
    assert "not as the model's own repetition_penalty=1.5" in said
    assert "temperature=0.7" in said
    plain = of(saved(tmp_path / "plain", byte_tokenizer()), "method=lora", "eval.beams=2", "eval.no_repeat_ngram=3")
    assert stated(plain.settings.eval, plain.model, plain.tokenizer) == "beams:2|new:12|no_repeat_ngram:3|ends:</s>"


def test_answers_end_at_the_ends_of_model_and_template(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    folder = saved(tmp_path / "model", tokenizer, {"eos_token_id": [tokenizer.eos_token_id, 70]})
    model, loaded = load_base(of(folder, "method=zero_shot").settings)
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert ends(model.own_generation_config, loaded) == (tokenizer.eos_token_id, 70, end)
    assert model.generation_config.eos_token_id == [tokenizer.eos_token_id, 70, end]


@pytest.mark.parametrize("given", ["</s>", [[0], [5]], -1, [0, None], True, 2.0])
def test_end_tokens_that_are_none_are_said(given: object, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", byte_tokenizer())
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": given}))
    with pytest.raises(UserError, match=r"eos_token_id"):
        load_base(of(folder, "method=zero_shot").settings)


def test_an_end_token_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    folder = saved(tmp_path / "model", tokenizer, {"eos_token_id": [tokenizer.eos_token_id, 99999]})
    model, _ = load_base(of(folder, "method=zero_shot").settings)
    assert model.generation_config.eos_token_id == [tokenizer.eos_token_id]


def test_the_token_that_a_decoder_starts_from_ends_no_answer() -> None:
    """As BART's, which is its end token; and one that its settings put behind it is learned, too."""
    a = adapted(["model.architecture=t5", "method=zero_shot", "eval.max_new_tokens=5"])
    end = 99
    a.model.config.decoder_start_token_id = a.model.generation_config.decoder_start_token_id = end
    a.model.generation_config.eos_token_id = [end]
    written = []

    def answer(*given: Any) -> Any:
        written.append(a.settings.method.generate(*given))
        return written[-1]

    (prompt, *_) = a.task.prompts.values()
    (made,) = write_answers(answer, LoadedModel(a.model, a.tokenizer), [prompt], a.settings.eval)
    first, *rest = written[0][0].tolist()
    assert first == end
    assert made.ended is (end in rest)
    assert made.ended is False, "or it shows nothing"
    a.model.generation_config.forced_bos_token_id = 7
    pair = encoder_of(a.settings, (a.model, a.tokenizer)).pair(Example("name[Aromi]", ("The pub.",)), "The pub.")
    assert pair.answer[:2] == (end, 7)


@pytest.mark.parametrize("closing", ["<|end|>", "</said>"])
def test_a_chat_run_learns_to_end_its_turn(closing: str, tmp_path: Path, run_point: Callable[..., Record]) -> None:
    """On one pair, until it is known by heart: the answer is whole, ends by itself, and has nothing of the template."""
    folder = saved(tmp_path / "model", chat_tokenizer(TURNS.replace("<|end|>", closing)))
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"q": f"{split}?", "a": "The pub by the river."}))
    data = ["data=jsonl", f"data.path={tmp_path}", "data.prompt='{{ q }}'", "data.answer='{{ a }}'", "data.chat=true"]
    train = ["train.steps=40", "train.batch_size=1", "train.warmup_steps=2", "train.validation_examples=1"]
    quick = ["forgetting.max_tokens=64", "inference.batch_sizes=[]", "tracker=none", "threads=1", "dtype=fp32"]
    small = ("model=path", f"model.path={folder}", *data, *train, *quick, "eval.max_new_tokens=24")
    record = run_point("method=full", "method.lr=0.005", small=small)
    assert record.status == "ok", record.cause
    (line,) = read_lines(run_folder(tmp_path / "results", record.id) / "predictions.jsonl")
    assert line["prediction"] == "The pub by the river."
    assert line["ended"] is True
    assert record.ended == 1
    assert record.signatures["answers"].startswith("greedy|new:24|ends:</s>")


def test_a_kept_model_has_its_own_generation_settings(tmp_path: Path, run_point: Callable[..., Record]) -> None:
    folder = saved(tmp_path / "model", byte_tokenizer(), OWN["penalty"])
    small = ("model=path", f"model.path={folder}", "data.size=100", "train.steps=3", "train.warmup_steps=1")
    quick = ("eval.test_examples=2", "eval.max_new_tokens=4", "forgetting.max_tokens=64", "inference.batch_sizes=[]")
    record = run_point("method=lora", "keep_model=true", "tracker=none", small=(*small, *quick))
    assert record.status == "ok", record.cause
    kept = json.loads((run_folder(tmp_path / "results", record.id) / "model/generation_config.json").read_text())
    assert kept["repetition_penalty"] == 1.5


def test_a_model_names_the_end_token_that_its_tokenizer_lacks(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", byte_tokenizer(eos=None), eos_token_id=5)
    a = of(folder, "method=zero_shot")
    assert (a.tokenizer.eos_token_id, a.task.pad) == (5, 5)
    assert next(a.task.batches(1, 0))[0].ids[-1] == 5


@pytest.mark.parametrize(
    ("tokenizer", "given", "says"),
    [
        (byte_tokenizer(eos=None), {}, "no end token"),
        ("grown pad", {}, r"pads with \[PAD\] with the id \d+, the model's embeddings have \d+ rows"),
        ("grown text", {}, r"a text has the token Restaurant: with the id \d+"),
        ("cut", {}, r"a text has the token"),
    ],
    ids=["no end", "pad outside", "added word outside", "too few rows"],
)
def test_tokens_that_cannot_serve_are_said(tokenizer: Any, given: dict[str, Any], says: str, tmp_path: Path) -> None:
    rows = None
    if isinstance(tokenizer, str):
        kind, tokenizer = tokenizer, byte_tokenizer()
        rows = len(tokenizer)
        if kind == "grown pad":
            tokenizer.add_special_tokens({"pad_token": "[PAD]"})
        elif kind == "grown text":
            tokenizer.add_tokens(["Restaurant:"])
        else:
            rows -= 40
    folder = saved(tmp_path / "model", tokenizer, rows=rows, **given)
    with pytest.raises(UserError, match=says) as caught:
        next(of(folder, "method=lora").task.batches(4, 0))
    assert len(str(caught.value).splitlines()) == 1


def test_they_are_said_before_training(tmp_path: Path, run_point: Callable[..., Record]) -> None:
    folder = saved(tmp_path / "model", byte_tokenizer(eos=None))
    record = run_point("model=path", f"model.path={folder}", "method=lora", small=("data.size=100", "tracker=none"))
    assert (record.status, record.user_error, record.step) == ("error", True, None)
    assert "no end token" in (record.cause or "")
