"""Conversations: read in the forms that there are, written by chat templates, trained on where the assistant speaks."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from harness import data
from harness.config.compose import compose_settings
from harness.data import Example
from harness.data.chats import Chats
from harness.errors import UserError
from harness.prepare.batch import Encoded, collate
from harness.prepare.encoding import Encoder
from harness.prepare.tokens import Texts
from tests.support.command_line import Harness
from tests.support.made_models import byte_tokenizer, chat_tokenizer, saved

TALK = [
    {"role": "system", "content": "You add."},
    {"role": "user", "content": "What is 2 + 3?"},
    {"role": "assistant", "content": "It is 5."},
    {"role": "user", "content": "And twice that?"},
    {"role": "assistant", "content": "That is 10, since 5 + 5 = 10."},
]
SHORT = [{"role": "user", "content": "The pub?"}, {"role": "assistant", "content": "By the river."}]
LONG = [*TALK, {"role": "user", "content": "Thanks é 北!"}, {"role": "assistant", "content": " You are welcome. \n"}]


def chats(path: Path, *more: str) -> Chats:
    source = compose_settings(["data=chat", f"data.path={path}", "tracker=none", *more]).data
    assert isinstance(source, Chats)
    return source


def written(path: Path, *conversations: Any, name: str = "messages") -> Path:
    path.write_text("".join(json.dumps({name: each}) + "\n" for each in conversations))
    return path


def encoder(tokenizer: Any, source: Chats, length: int = 2000) -> Encoder:
    return Encoder(tokenizer, source, length, 4000)


def said(tokenizer: Any, encoded: Encoded) -> str:
    """What is trained on."""
    return str(tokenizer.decode(list(encoded.labels)))


def example(turns: list[dict[str, str]]) -> Example:
    *before, last = turns
    told = tuple((each["role"], each["content"]) for each in before)
    return Example("asked", (last["content"],), turns=told, place="made, row 1")


def asked(number: int) -> list[dict[str, str]]:
    """A conversation of its own."""
    question, answer = f"And {number} times that?", f"That is {5 * number}."
    return [*TALK[:3], {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


TEMPLATES = {
    "qwen2_5": ["<|im_start|>", "<|im_end|>"],
    "qwen3_instruct_2507": ["<|im_start|>", "<|im_end|>"],
    "llama3": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "phi3": ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"],
    "gemma": ["<start_of_turn>", "<end_of_turn>"],
    "gemma3": ["<start_of_turn>", "<end_of_turn>"],
    "qwen3": ["<|im_start|>", "<|im_end|>"],
    "deepseekv3": ["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"],  # noqa: RUF001  # its own letters
}
"""By the name of a chat template that TRL has: its special tokens."""
WITHOUT_SYSTEM = {"gemma"}


def tokenizer_of(template: str, training: bool) -> Any:
    name = f"{template}_training.jinja" if training else f"{template}.jinja"
    text = files("trl").joinpath("chat_templates", name).read_text()
    return byte_tokenizer("<s>", marks=tuple(TEMPLATES[template]), template=text)


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_same_tokens_and_the_same_mask_as_trls(template: str, tmp_path: Path) -> None:
    """By its trainer with `assistant_only_loss`, on the templates that it ships for training."""
    from trl import SFTConfig, SFTTrainer

    tokenizer = tokenizer_of(template, training=True)
    folder = saved(tmp_path / "model", tokenizer)
    talks = [each[1:] if template in WITHOUT_SYSTEM and each is not SHORT else each for each in (TALK, SHORT, LONG)]
    options: dict[str, Any] = {"output_dir": str(tmp_path / "out"), "report_to": "none", "use_cpu": True, "bf16": False}
    config = SFTConfig(assistant_only_loss=True, max_length=None, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = datasets.Dataset.from_list([{"messages": each} for each in talks])
        trainer = SFTTrainer(str(folder), config, train_dataset=rows, processing_class=tokenizer)
    ours = encoder(tokenizer, chats(written(tmp_path / "c.jsonl", *[SHORT] * 9)))
    for row, talk in zip(trainer.train_dataset, talks, strict=True):
        made = ours.pair(example(talk), talk[-1]["content"])
        assert list(made.ids) == row["input_ids"]
        (labels,) = trainer.data_collator([row])["labels"].tolist()
        assert [i for i, label in enumerate(labels) if label != -100] == made.places
        assert len(made.places) > 5


BESIDE = {"qwen2_5": ("\n", "\n"), "phi3": ("", "\n"), "gemma": ("", "\n"), "gemma3": ("", "\n")}
"""What TRL's marks take in besides, in front of an answer and behind the token that ends it."""


@pytest.mark.parametrize("template", sorted(TEMPLATES.keys() - {"qwen3", "deepseekv3"}))
def test_where_a_template_marks_nothing_turns_begin_and_end_where_they_are_asked_and_ended(template: str) -> None:
    """The original template beside TRL's marked one: they differ in line feeds around turns, which no model is asked
    for, and which stand behind the token that ends its answer."""
    plain, marked = tokenizer_of(template, training=False), tokenizer_of(template, training=True)
    talk = LONG[1:] if template in WITHOUT_SYSTEM else LONG
    ids, own = Texts(plain).conversation(talk, every=True)
    _, theirs = Texts(marked).conversation(talk, every=True)
    runs = "".join(plain.decode([ids[i]]) if i in set(own) else "\n\n\n" for i in range(len(ids)))
    answers = [each for each in runs.split("\n\n\n") if each]
    ends = TEMPLATES[template][-1]
    assert answers == [
        f"{each['content'] if template.startswith(('qwen', 'phi')) else each['content'].strip()}{ends}"
        for each in talk
        if each["role"] == "assistant"
    ]
    before, behind = BESIDE.get(template, ("", "\n" if template.startswith("qwen") else ""))
    extra = len(answers) * (len(before) + len(behind))
    assert len(set(theirs) - set(own)) in (extra, extra - 1, extra + 1), "the last turn's end may differ"
    assert set(own) <= set(theirs)


def test_the_last_turn_alone(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    path = written(tmp_path / "c.jsonl", *[TALK] * 9)
    every = encoder(tokenizer, chats(path)).pair(example(TALK), TALK[-1]["content"])
    last = encoder(tokenizer, chats(path, "data.loss=last")).pair(example(TALK), TALK[-1]["content"])
    assert said(tokenizer, every) == "It is 5.<|end|>That is 10, since 5 + 5 = 10.<|end|>"
    assert said(tokenizer, last) == "That is 10, since 5 + 5 = 10.<|end|>"
    assert every.ids == last.ids
    marked = tokenizer_of("llama3", training=True)
    own = encoder(marked, chats(path, "data.loss=last")).pair(example(TALK), TALK[-1]["content"])
    assert said(marked, own) == "That is 10, since 5 + 5 = 10.<|eot_id|>"


def test_one_exchange_is_what_a_pair_under_chat_is(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    pairs = tmp_path / "p.jsonl"
    pairs.write_text("".join(json.dumps({"q": f"q {i}", "a": "By the river."}) + "\n" for i in range(9)))
    given = ["data=jsonl", f"data.path={pairs}", "data.prompt='{{q}}'", "data.answer='{{a}}'", "data.chat=true"]
    pair = Encoder(tokenizer, compose_settings([*given, "tracker=none"]).data, 900, 900)
    talk = encoder(tokenizer, chats(written(tmp_path / "c.jsonl", *[SHORT] * 9)))
    one, other = (
        pair.pair(Example("The pub?", ("By the river.",)), "By the river."),
        talk.pair(example(SHORT), "By the river."),
    )
    assert (one.ids, one.places) == (other.ids, other.places)
    assert pair.prompt(Example("The pub?", ("",)), 9) == talk.prompt(example(SHORT), 9)


def test_what_counts_in_a_batch_is_what_each_example_says(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    ours = encoder(tokenizer, chats(written(tmp_path / "c.jsonl", *[TALK] * 9)))
    made = [ours.pair(example(each), each[-1]["content"]) for each in (TALK, SHORT, LONG)]
    batch = collate(made, 0)
    labels = batch.inputs()["labels"]
    for row, each in zip(labels.tolist(), made, strict=True):
        assert [i for i, label in enumerate(row) if label != -100] == each.places
        assert [label for label in row if label != -100] == list(each.labels)
    assert batch.targets.tolist() == [label for each in made for label in each.labels]
    assert batch.scored is not None
    assert torch.equal(batch.scored, batch.predict.nonzero().t())  # type: ignore[union-attr]


GPT = {"user": "human", "assistant": "gpt"}
FORMS: dict[str, tuple[str, Callable[[list[dict[str, str]]], list[Any]]]] = {
    "openai": ("messages", lambda talk: talk),
    "sharegpt": (
        "conversations",
        lambda talk: [{"from": GPT.get(each["role"], each["role"]), "value": each["content"]} for each in talk],
    ),
    "parts": ("messages", lambda talk: [t | {"content": [{"type": "text", "text": t["content"]}]} for t in talk]),
    "a column of one's own": ("turns", lambda talk: talk),
}


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "hub"])
@pytest.mark.parametrize("form", FORMS)
def test_forms_and_files_say_the_same(form: str, kind: str, tmp_path: Path) -> None:
    name, change = FORMS[form]
    rows = [{name: change(asked(i))} for i in range(20)]
    table = datasets.Dataset.from_list(rows)
    words = [f"data.column={name}"] if name == "turns" else []
    if kind == "hub":
        place = tmp_path / "set"
        place.mkdir()
        table.to_parquet(place / "train.parquet")
        splits = "data.hub_splits={train:train,validation:train,test:train}"
        source = compose_settings(["data=chat", f"data.hub_id={place}", splits, "tracker=none", *words]).data
    else:
        path = tmp_path / f"c.{kind}"
        table.to_parquet(path) if kind == "parquet" else table.to_json(path)
        source = chats(path, *words)
    splits, _ = data.load(source)
    found = [each for split in (splits.train, splits.validation, splits.test) for each in split]
    assert sorted(each.references[0] for each in found) == sorted(f"That is {5 * i}." for i in range(20))
    wanted = {tuple((t["role"], t["content"]) for t in asked(i)[:-1]) for i in range(20)}
    assert {each.turns for each in found} == wanted


WRONG: dict[str, tuple[Any, str]] = {
    "two users": ([SHORT[0], *SHORT], "turn 2: two turns of the user follow one another; join them"),
    "a role": ([{"role": "critic", "content": "x"}, *SHORT], "turn 1: has the role critic; known are system, user"),
    "no role": ([{"content": "x"}, *SHORT], "turn 1: has the role None; known are"),
    "an empty turn": ([SHORT[0], {"role": "assistant", "content": "  "}], "turn 2: is empty"),
    "null": ([SHORT[0], {"role": "assistant", "content": None}], "turn 2: is empty"),
    "a number": ([SHORT[0], {"role": "assistant", "content": 3}], "turn 2: its content is no text but int"),
    "a tool": ([SHORT[0], {"role": "assistant", "content": "", "tool_calls": [{"id": 1}]}], "turn 2: calls a tool"),
    "a weight": ([SHORT[0], SHORT[1] | {"weight": 0}], "turn 2: has the weight 0, where turns count alike"),
    "a thought": (
        [SHORT[0], SHORT[1] | {"reasoning_content": "hm"}],
        "turn 2: has reasoning_content, which is not read",
    ),
    "an image": (
        [{"role": "user", "content": [{"type": "image", "url": "x"}]}, SHORT[1]],
        "turn 1: has a part of the type image",
    ),
    "no answer": ([SHORT[0]], "ends with a turn of the user, so that there is no answer to train on"),
    "an answer first": ([SHORT[1], *SHORT], "turn 1: the assistant answers nobody"),
    "a late system": ([*SHORT, {"role": "system", "content": "x"}, *SHORT], "turn 3: a system's turn comes first"),
    "nothing": ([], "messages is no list of turns"),
    "a text": ("hello", "messages is no list of turns"),
    "texts": (["hello"], "turn 1: is no object"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_conversation_that_is_none_is_refused_with_its_row(wrong: str, tmp_path: Path) -> None:
    bad, why = WRONG[wrong]
    path = written(tmp_path / "c.jsonl", *[SHORT] * 3, bad, *[SHORT] * 3)
    with pytest.raises(UserError) as refused:
        data.load(chats(path))
    (line,) = refused.value.problems
    assert line.startswith("c.jsonl, row 4")
    assert why in line


def test_tools_are_refused_and_what_says_nothing_is_not(tmp_path: Path) -> None:
    extra = {"weight": 1, "reasoning_content": None, "name": "x"}
    rows = [{"messages": [turn | extra for turn in asked(i)], "tools": None} for i in range(20)]
    rows[1] |= {"tools": "[]", "functions": []}
    rows[2]["messages"][0]["weight"] = None  # as a parquet file has it of every turn that has none
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert data.load(chats(path))[0].train
    rows[3]["tools"] = [{"type": "function", "function": {"name": "f"}}]
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"^d.jsonl, row 4: offers tools, which the prompt would lack"):
        data.load(chats(path))
    rows[3] |= {"tools": None, "functions": [{"name": "f"}]}
    path = tmp_path / "e.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"^e.jsonl, row 4: offers functions, which"):
        data.load(chats(path))


def test_other_files_and_templates_that_do_not_fit(tmp_path: Path) -> None:
    other = written(tmp_path / "c.jsonl", *[SHORT] * 9, name="texts")
    with pytest.raises(UserError, match=r"c.jsonl, row 1: has no column messages or conversations"):
        data.load(chats(other))
    with pytest.raises(UserError, match=r"data.column"):
        data.load(chats(written(tmp_path / "d.jsonl", *[SHORT] * 9), "data.column=turns"))
    with pytest.raises(UserError, match=r"has conversations, and no template"):
        chats(other, "eval.paraphrases=['{{ source }}']")
    source = chats(written(tmp_path / "e.jsonl", *[TALK] * 9))
    failing = chat_tokenizer("{{ raise_exception('no system here') }}")
    with pytest.raises(UserError, match=r"chat template refuses these turns .no system here"):
        encoder(failing, source).pair(example(TALK), "x")
    with pytest.raises(UserError, match=r"has no chat template"):
        encoder(byte_tokenizer("<s>"), source).pair(example(TALK), "x")


def test_what_is_too_long_is_refused_or_loses_exchanges_or_its_end(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    path = written(tmp_path / "c.jsonl", *[LONG] * 9)
    whole = encoder(tokenizer, chats(path)).pair(example(LONG), LONG[-1]["content"])
    room = len(whole.ids) - 5
    with pytest.raises(UserError, match=r"is longer than"):
        encoder(tokenizer, chats(path), room).pair(example(LONG), LONG[-1]["content"])
    left = encoder(tokenizer, chats(path, "data.truncate=left"), room).pair(example(LONG), LONG[-1]["content"])
    assert left.cut
    assert said(tokenizer, left) == "That is 10, since 5 + 5 = 10.<|end|>You are welcome.<|end|>"
    assert "You add." in tokenizer.decode(left.ids), "the system's turn stays"
    right = encoder(tokenizer, chats(path, "data.truncate=right"), room).pair(example(LONG), LONG[-1]["content"])
    assert right.ids == whole.ids[:room]
    with pytest.raises(UserError, match=r"made, row 1: nothing of the conversation is trained on"):
        encoder(tokenizer, chats(path, "data.truncate=right"), 20).pair(example(LONG), LONG[-1]["content"])
    short = encoder(tokenizer, chats(path, "data.truncate=left")).fit(example(LONG), 4000 - room + 30)
    assert short.cut
    assert len(short.ids) <= room - 30


def test_a_run_on_conversations(harness: Harness, tmp_path: Path) -> None:
    model = saved(tmp_path / "model", chat_tokenizer())
    talks = [asked(i) for i in range(40)]
    path = written(tmp_path / "c.jsonl", *talks)
    words = ("data=chat", f"data.path={path}", "model=path", f"model.path={model}")
    small = ("train.steps=4", "train.warmup_steps=1", "eval.test_examples=2", "tracker=none")
    ran = harness(*words, *small, "eval.max_new_tokens=4", "eval.typos=0.1", "method=lora", small=())
    assert ran.returncode == 0, ran.stderr
    (record,) = harness.records().values()
    assert record.status == "ok"
    assert record.key["data"]["divided"] == {"train": 0.9, "validation": 0.05, "test": 0.05, "seed": 0}
    tokenizer = chat_tokenizer()
    made = encoder(tokenizer, chats(path)).pair(example(talks[0]), talks[0][-1]["content"])
    assert record.checks is not None
    assert abs(record.checks.supervised_share - len(made.places) / len(made.ids)) < 0.02
