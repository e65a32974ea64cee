"""Classes judged by their likelihood as answers, against a plain forward pass for each; chat templates; long inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.data import Example
from harness.errors import UserError
from harness.evaluation.answers import answer_of
from harness.evaluation.likelihood import log_likelihoods
from harness.evaluation.predict import predict
from harness.prepare.base_model import load_base
from harness.prepare.batch import Encoded
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.encoding import Encoder
from harness.prepare.forward import LabelForward
from harness.results.lines import read_lines
from harness.results.record import Record
from harness.training.precision import to_master_precision
from tests.support.command_line import TINY
from tests.support.records import run_folder
from tests.support.tasks import chosen, problems, write
from tests.support.tiny import Adapted
from tests.support.trainers import never, quiet, trainer

CUISINE = ("data=cuisine", "data.size=100", "data.head=false", "data.prompt='{{ source }}\nFood:'")
KINDS = {
    "causal": ("method=lora",),
    "soft prompt": ("method=prompt_tuning",),
    "prefix": ("method=prefix_tuning",),
    "seq2seq": ("method=lora", "model.architecture=t5"),
}


def adapted(*overrides: str) -> Adapted:
    settings = chosen(*overrides)
    model, tokenizer = load_base(settings)
    task = EncodedTask(settings, (model, tokenizer))
    torch.manual_seed(0)
    model = settings.method.apply(model, task.site())
    to_master_precision(model)
    return Adapted(settings, model, tokenizer, task, LabelForward(model, torch.float32))


def by_hand(a: Adapted, prompt: str, answer: str) -> list[float]:
    """Log-likelihoods of an answer's tokens: one text, no batch, the model's own logits."""
    given = a.tokenizer(prompt, add_special_tokens=a.task.kind == "seq2seq")["input_ids"]
    ids = a.tokenizer(answer if a.task.kind == "seq2seq" else f" {answer}", add_special_tokens=False)["input_ids"]
    a.model.eval()
    with torch.no_grad():
        if a.task.kind == "seq2seq":
            start = a.model.config.decoder_start_token_id
            decoder = torch.tensor([[start, *ids[:-1]]])
            logits = a.model(input_ids=torch.tensor([given]), decoder_input_ids=decoder).logits[0]
        else:
            whole = torch.tensor([given + ids])
            logits = a.model(input_ids=whole, attention_mask=torch.ones_like(whole)).logits[0, -len(ids) - 1 : -1]
    return [logits[i].log_softmax(-1)[token].item() for i, token in enumerate(ids)]


@pytest.mark.parametrize("kind", KINDS)
def test_classes_by_likelihood(kind: str, tmp_path: Path) -> None:
    a = adapted(*CUISINE, *KINDS[kind], "method.lr=0.01", "train.steps=3", "train.warmup_steps=1")
    trainer(a, tmp_path).run(never, quiet)
    classes = a.settings.data.classes or ()
    made = {}
    for size in (1, 3):
        a.task.settings = chosen(*CUISINE, *KINDS[kind], f"eval.batch_size={size}")
        made[size] = predict(a.task, a.settings.method.generate, a.model, a.forward, lambda done: None)
    for i, example in enumerate(a.task.test):
        each = [by_hand(a, f"{example.source}\nFood:", name) for name in classes]
        for size in (1, 3):
            one = made[size][i]
            sums = [sum(values) for values in each]
            means = [sum(values) / len(values) for values in each]
            assert one.text == classes[sums.index(max(sums))]
            assert one.probabilities == pytest.approx(torch.tensor(sums).softmax(0).tolist(), rel=1e-3, abs=1e-9)
            assert one.normalised == pytest.approx(torch.tensor(means).softmax(0).tolist(), rel=1e-3)
            assert sum(one.probabilities or ()) == pytest.approx(1)
    assert len({one.probabilities for one in made[1]}) > 1


def test_classes_of_one_token_are_read_once() -> None:
    """The last token of a text has no part in its likelihood but as what is looked for."""
    a = adapted(*CUISINE, "method=zero_shot")
    prompt = a.task.encoder.prompt(a.task.test[0], 1)
    rows = [Encoded((*prompt, token), scored_from=len(prompt)) for token in range(3, 13)]
    sizes = []
    handle = a.model.register_forward_pre_hook(
        lambda _, args, given: sizes.append(len(given["input_ids"])), with_kwargs=True
    )
    found = [value for value, _ in log_likelihoods(a.forward, rows, 32, a.task.pad, "cpu")]
    handle.remove()
    assert sizes == [1]
    with torch.no_grad():
        expected = a.model(input_ids=torch.tensor([prompt])).logits[0, -1].log_softmax(-1)[3:13]
    assert found == pytest.approx(expected.tolist(), rel=1e-4)


def test_log_likelihoods_at_any_batch_size() -> None:
    a = adapted(*CUISINE, "method=zero_shot")
    texts = [row for rows in a.task.judged.values() for row in rows]
    alone = log_likelihoods(a.forward, texts, 1, a.task.pad, "cpu")
    together = log_likelihoods(a.forward, texts, 7, a.task.pad, "cpu")
    assert [count for _, count in together] == [count for _, count in alone]
    assert [value for value, _ in together] == pytest.approx([value for value, _ in alone], rel=1e-5)


@pytest.mark.parametrize("head", [True, False])
def test_a_run_keeps_probabilities(head: bool, run_point: Callable[..., Record], tmp_path: Path) -> None:
    given = ("data=cuisine", "data.size=100", f"data.head={head}", "method=zero_shot")
    record = run_point(*given, small=TINY)
    assert record.status == "ok", record.cause
    assert {"accuracy", "macro_f1", "ece", "brier", "val_loss"} <= set(record.quality)
    for name in ("accuracy_normalised", "ece_normalised", "brier_normalised"):
        assert (name in record.quality) is not head
    assert set(record.baselines) == {"most_frequent_class"}
    classes = record.key["data"]["classes"]
    lines = read_lines(run_folder(tmp_path / "results", record.id) / "predictions.jsonl")
    for line in lines:
        likeliest = max(range(len(classes)), key=lambda i: line["probabilities"][i])
        assert line["prediction"] == classes[likeliest]
        assert line["right"] is (likeliest == line["label"])
        assert sum(line["probabilities"]) == pytest.approx(1)
        assert ("probabilities_normalised" in line) is not head
    assert record.quality["accuracy"] == sum(line["right"] for line in lines) / len(lines)
    distances = [sum((p - (i == line["label"])) ** 2 for i, p in enumerate(line["probabilities"])) for line in lines]
    assert record.quality["brier"] == pytest.approx(sum(distances) / len(lines))


def test_a_head_and_no_head_on_one_model(run_point: Callable[..., Record], tmp_path: Path) -> None:
    """Each has its own base and its own measurements of it, whatever was loaded before."""
    for number, split in enumerate(("train", "validation", "test")):
        write(tmp_path / f"{split}.jsonl", [{"q": f"{number} {i}", "a": "b"} for i in range(4)])
    rows = ("data=jsonl", f"data.path={tmp_path}", "data.prompt='{{ q }}'", "data.answer='{{ a }}'")
    cuisine = ("data=cuisine", "data.size=100")
    two_classes = (*rows, "data.classes=[a,b]", "data.metrics=[classes]", "data.head=true")
    for given in ((*cuisine, "data.head=true"), (*cuisine, "data.head=false"), two_classes):
        record = run_point(*given, "method=zero_shot", "model.seed=7", small=TINY)
        assert record.status == "ok", record.cause
    trained = run_point(*cuisine, "data.head=false", "method=lora", "model.seed=7", "train.batch_size=1", small=TINY)
    assert trained.status == "ok", trained.cause
    assert trained.forgetting is not None


def test_a_class_that_begins_another_is_refused() -> None:
    a = adapted(*CUISINE, "method=zero_shot")
    source = a.settings.data.model_copy(update={"classes": ("no", "not sure")})
    made = Encoder(a.tokenizer, source, 512, 1024)
    with pytest.raises(UserError, match="'no' begins 'not sure'"):
        made.candidates(Example("x", ("no",)))


CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def encoder(tokenizer: Any, *overrides: str, max_length: int = 60, context: int = 60) -> Encoder:
    source = chosen("data=restaurants", "data.size=100", "data.prompt='{{ source }}:'", *overrides).data
    return Encoder(tokenizer, source, max_length, context)


@pytest.fixture
def tokenizer() -> Any:
    _, made = load_base(chosen("data=restaurants", "data.size=100", "method=zero_shot"))
    return made


def test_chat_template(tokenizer: Any) -> None:
    example, shot = Example("ask", ("yes",)), Example("before", ("no",))
    with pytest.raises(UserError, match=r"data\.chat=false"):
        encoder(tokenizer, "data.chat=true").prompt(example, 1)
    tokenizer.chat_template = CHAT
    chat = encoder(tokenizer, "data.chat=true", context=200)
    assert tokenizer.decode(chat.prompt(example, 1)) == "<user>ask:</user><assistant>"
    shown = "<user>before:</user><assistant>no</assistant><user>ask:</user><assistant>"
    assert tokenizer.decode(chat.prompt(example, 1, [shot])) == shown
    pair = chat.pair(example, "yes")
    assert tokenizer.decode(pair.ids) == "<user>ask:</user><assistant>yes</assistant><end>"
    assert tokenizer.decode(pair.ids[pair.scored_from :]) == "yes</assistant><end>"
    plain = encoder(tokenizer, context=200)
    assert plain.prompt(example, 1, [shot]) == tokenizer("before: no\n\nask:")["input_ids"]
    assert tokenizer.decode(plain.pair(example, "yes").ids) == "ask: yes<end>"


LONG = "".join(chr(97 + i % 26) for i in range(100))


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_long_input_loses_text_on_the_side_that_is_named(tokenizer: Any, side: str, chat: bool) -> None:
    """One token a character: 60 tokens hold 50 of the prompt before 10 of an answer, less what the template adds."""
    tokenizer.chat_template = CHAT
    made = encoder(tokenizer, f"data.truncate={side}", f"data.chat={chat}")

    def expected(room: int) -> str:
        room, prompt = room - len("<user></user><assistant>") * chat, f"{LONG}:"
        kept = prompt[-room:] if side == "left" else prompt[:room]
        return f"<user>{kept}</user><assistant>" if chat else kept

    fitted = made.fit(Example(LONG, ("yes",)), 10)
    assert (tokenizer.decode(fitted.ids), fitted.cut) == (expected(50), True)
    assert not made.fit(Example("short", ("yes",)), 10).cut
    answer = "12345678</assistant><end>" if chat else " 12345678<end>"
    pair = made.pair(Example(LONG, ("12345678",)), "12345678")
    assert tokenizer.decode(pair.ids[pair.scored_from :]) == answer
    taken = len(answer) - len("<end>") + 1
    assert (tokenizer.decode(pair.ids[: pair.scored_from]), pair.cut) == (expected(60 - taken), True)
    assert len(pair.ids) == 60


def test_a_long_answer_keeps_half_of_the_room(tokenizer: Any) -> None:
    pair = encoder(tokenizer, "data.truncate=left").pair(Example(LONG, (LONG,)), LONG)
    assert tokenizer.decode(pair.ids) == f"{LONG}:"[-30:] + f" {LONG}"[:30]
    assert pair.cut
    pair = encoder(tokenizer, "data.truncate=left").pair(Example("short", (LONG,)), LONG)
    assert tokenizer.decode(pair.ids) == f"short: {LONG}"[:60]


def test_a_long_input_is_refused_by_default(tokenizer: Any) -> None:
    with pytest.raises(UserError, match=r"data\.truncate"):
        encoder(tokenizer).pair(Example(LONG, ("yes",)), "yes")
    with pytest.raises(UserError, match="context of 60"):
        encoder(tokenizer).prompt(Example(LONG, ("yes",)), 10)


def test_answers_of_one_line_and_of_several() -> None:
    given = ("data=restaurants", "data.size=100")
    text = "\n 4 + 4 = 8\n#### 8\n\nQuestion: more"
    assert answer_of(text, chosen(*given).data) == "4 + 4 = 8"
    several = chosen(*given, "+data.multiline=true", "+data.stop=['\nQuestion:']").data
    assert answer_of(text, several) == "4 + 4 = 8\n#### 8"


MIX = ("data=mix", "data.tasks.restaurants.size=100", "data.tasks.cuisine.size=100")


def test_a_mixture_draws_by_weight_and_scores_each(run_point: Callable[..., Record], tmp_path: Path) -> None:
    record = run_point(*MIX, "method=lora", "train.batch_size=2", small=TINY)
    assert record.status == "ok", record.cause
    assert {"restaurants/bleu", "restaurants/ser", "cuisine/accuracy", "val_loss"} <= set(record.quality)
    assert {"restaurants/best_constant", "cuisine/most_frequent_class"} <= set(record.baselines)
    assert record.test_examples == 8  # four of each
    lines = read_lines(run_folder(tmp_path / "results", record.id) / "predictions.jsonl")
    assert [line["index"] for line in lines] == list(range(8))
    assert [line["task"] for line in lines] == ["restaurants"] * 4 + ["cuisine"] * 4


def test_weights_of_a_mixture() -> None:
    """Three to one: of 320 draws 240 are expected, with a standard deviation of 7.7."""
    a = adapted(*MIX, "method=zero_shot", "data.task_weights.restaurants=3")
    batches = a.task.batches(10, 0)
    texts = [a.tokenizer.decode(example.ids) for _ in range(32) for example in next(batches)]
    share = sum(text.startswith("Restaurant: ") for text in texts)
    assert abs(share - 240) < 4 * math.sqrt(320 * 0.75 * 0.25)
    assert all("\nWhat do they cook?" in text for text in texts if not text.startswith("Restaurant: "))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.tasks.cuisine.head=true"], "data.tasks.cuisine: a mixture has no classification head"),
        (["data.task_weights.cuisine=0"], "data.task_weights.cuisine=0.0: must be above 0"),
        (["+data.task_weights.gsm8k=1"], "data.task_weights.gsm8k: there is no such task"),
        (["data.tasks.cuisine.size=1"], "data.tasks.cuisine: data.size"),
        (["+data.tasks.cuisine.siez=1"], "data.tasks.cuisine.siez: unknown key; did you mean data.tasks.cuisine.size?"),
        (["data.tasks.cuisine.seed=x"], "data.tasks.cuisine.seed=x"),
    ],
)
def test_what_is_wrong_with_a_mixture(overrides: list[str], says: str) -> None:
    (line,) = problems(*MIX, *overrides)
    assert says in line


def test_a_task_is_added_to_a_mixture(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "validation", "test")):
        write(tmp_path / f"{split}.jsonl", [{"q": f"{number} {i}", "a": "b"} for i in range(3)])
    task = ("data.tasks.own.prompt='{{ q }}'", "data.tasks.own.answer='{{ a }}'", f"data.tasks.own.path={tmp_path}")
    settings = chosen(*MIX, "+data@data.tasks.own=jsonl", *task)
    assert settings.data.weights() == {"restaurants": 1.0, "cuisine": 1.0, "own": 1.0}
    assert settings.run_id() != chosen(*MIX, "+data@data.tasks.own=jsonl", *task, "data.tasks.own.chat=true").run_id()
