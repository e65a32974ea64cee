"""What a model reads begins as its tokenizer begins every text, once; turns end as the chat template ends them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast

from harness.config.compose import compose_settings
from harness.data import Example
from harness.data.untouched import load_panel
from harness.errors import UserError
from harness.evaluation.answers import answer_of
from harness.evaluation.general_text import text_loss, windows
from harness.evaluation.lm_eval_model import wrapped
from harness.evaluation.panel import panel_prompt
from harness.measure.peak_memory import Meter
from harness.memory.longest_batches import run_batches
from harness.methods import answer
from harness.prepare.base_model import DTYPES
from harness.prepare.chat import frame, turn
from harness.prepare.encoding import Encoder
from harness.prepare.tokens import Texts, opening
from harness.results.record import Record
from harness.run.latency import Latency
from tests.support.made_models import TURNS, byte_tokenizer, chat_tokenizer, saved, space_tokenizer
from tests.support.tiny import Adapted, adapted, settings

AROMI = Example("name[Aromi], eatType[pub]", ("Aromi is a pub by the river.", "The pub Aromi."))
PROMPT = "Restaurant: name[Aromi], eatType[pub]\nDescription:"


@pytest.fixture(scope="module")
def with_bos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("bos"), byte_tokenizer("<s>"))


def of(folder: Path, *overrides: str) -> Adapted:
    return adapted(["model=path", f"model.path={folder}", *overrides])


def begins(a: Adapted, ids: Any) -> bool:
    """With one BOS, as the tokenizer has it."""
    whole = a.tokenizer("anything")["input_ids"]
    assert whole[0] == a.tokenizer.bos_token_id
    return list(ids)[:1] == whole[:1] and list(ids)[1:2] != whole[:1]


def test_everything_begins_as_the_tokenizer_begins_a_text(with_bos: Path) -> None:
    """Training, validation, test prompts, few-shot prompts, classes by likelihood, panel, general text, the planner's
    batches and the prompts that are timed."""
    a = of(with_bos, "method=lora")
    assert all(begins(a, each.ids) for each in next(a.task.batches(4, 0)))
    assert all(begins(a, row) for batch in a.task.validation for row in batch.ids.tolist())
    assert all(begins(a, ids) for ids in a.task.prompts.values())
    few = of(with_bos, "method=few_shot", "method.shots=2")
    assert all(begins(few, ids) for ids in few.task.prompts.values())
    classes = of(with_bos, "data=cuisine", "data.size=100", "data.head=false", "method=zero_shot")
    assert all(begins(classes, each.ids) for rows in classes.task.judged.values() for each in rows)
    assert begins(a, panel_prompt(a.tokenizer, load_panel("embedded")[0]))
    first = windows(a.model, a.tokenizer, a.settings.forgetting)[0]
    assert begins(a, first.ids[0].tolist())
    planned = run_batches(a.task, DTYPES["fp32"])
    assert all(begins(a, row) for batch in (*planned.training, planned.scored) for row in batch.ids.tolist())
    assert planned.prompts is not None
    ids, mask = planned.prompts
    assert mask is not None
    assert all(begins(a, row[keep.bool()].tolist()) for row, keep in zip(ids, mask, strict=True))
    blocks = compose_settings(["model=tiny_random", "tracker=none", "data=wikitext", f"data.path={with_bos}"]).data
    plain = Encoder(a.tokenizer, blocks, 60, 60)
    made = plain.pair(Example("", ("The pub.",)), "The pub.")
    assert begins(a, made.ids)
    assert made.scored_from == 1


def test_prompts_that_are_timed_begin_so_too(with_bos: Path) -> None:
    a = of(with_bos, "method=lora", "inference.batch_sizes=[2]", "inference.seconds=0.01")
    seen: list[torch.Tensor] = []

    def watched(model: Any, ids: torch.Tensor, mask: torch.Tensor, config: Any) -> torch.Tensor:
        seen.append(ids)
        return answer(model, ids, mask, config)

    latency = Latency(a.settings, a.tokenizer, Meter("cpu"), lambda: None)
    latency.measure("unmerged", watched, lambda: a.model)
    assert latency.found["unmerged"][0].batch_size == 2
    assert all(begins(a, row) for ids in seen for row in ids.tolist())


@pytest.mark.parametrize("make", [byte_tokenizer, lambda: byte_tokenizer("<s>"), space_tokenizer])
def test_prompt_and_answer_are_the_tokens_of_the_joined_text(make: Callable[[], Any]) -> None:
    tokenizer = make()
    encoder = Encoder(tokenizer, settings().data, 200, 200)
    pair = encoder.pair(AROMI, AROMI.references[0])
    whole = tokenizer(f"{PROMPT} {AROMI.references[0]}")["input_ids"]
    assert list(pair.ids) == [*whole, tokenizer.eos_token_id]
    assert list(pair.ids[: pair.scored_from]) == tokenizer(PROMPT)["input_ids"]


def test_where_a_token_would_span_both_the_boundary_stays() -> None:
    """The prompt ends in a space, which byte tokenizers join with the word behind it: the model is asked with the
    prompt's own tokens, and learns to go on from them."""
    tokenizer = byte_tokenizer("<s>")
    texts = Texts(tokenizer)
    before, behind = "Description: ", "pub by the river"
    assert tokenizer(before + behind)["input_ids"][: len(texts.ids(before))] != list(texts.ids(before))
    ids = (*texts.ids(before), *texts.following(before, texts.ids(before), behind))
    assert list(texts.ids(before)) == tokenizer(before)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == before + behind
    spaced = space_tokenizer()
    # A line feed is no space, so that a word behind it has none in front.
    followed = Texts(spaced).following("Description:", Texts(spaced).ids("Description:"), "The")
    assert not spaced.convert_ids_to_tokens(list(followed))[0].startswith("▁")


def test_a_prompt_without_tokens_is_refused() -> None:
    """White space, under a tokenizer that drops it, and nothing is put in front."""
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Strip()
    encoder = Encoder(tokenizer, settings("data.prompt='{{ source }}'").data, 200, 200)
    for refused in (lambda e: encoder.pair(e, "x"), lambda e: encoder.fit(e, 4)):
        with pytest.raises(UserError, match=r"^rows\.csv, row 3: the prompt ' ' has no tokens"):
            refused(Example(" ", ("x",), place="rows.csv, row 3"))


def test_a_template_that_writes_bos_itself_has_it_once() -> None:
    tokenizer = chat_tokenizer()
    chat = Encoder(tokenizer, settings("data.chat=true").data, 200, 200)
    ids = chat.prompt(AROMI, 10)
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id
    written = Encoder(tokenizer, settings("data.prompt='<s>Restaurant: {{ source }}'").data, 200, 200)
    assert written.prompt(AROMI, 10).count(tokenizer.bos_token_id) == 1


def test_an_answer_ends_as_the_template_ends_a_turn() -> None:
    tokenizer = chat_tokenizer()
    chat = Encoder(tokenizer, settings("data.chat=true").data, 200, 200)
    pair = chat.pair(AROMI, AROMI.references[0])
    whole = tokenizer.apply_chat_template(
        [turn("user", PROMPT), turn("assistant", AROMI.references[0])], tokenize=False
    )
    assert tokenizer.decode(pair.ids) == whole.rstrip()
    assert tokenizer.convert_ids_to_tokens(pair.ids[-1]) == "<|end|>"
    assert (frame(tokenizer).end, frame(tokenizer).closing) == (pair.ids[-1], "")
    shown = chat.prompt(AROMI, 10, [AROMI])
    assert tokenizer.convert_ids_to_tokens(shown).count("<|end|>") == 3


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (TURNS.replace("<|end|>", "{{ eos_token }}"), "</s>"),  # as Llama 2 and Zephyr
        (TURNS.replace("<|end|>\n", "<|end|>{{ eos_token }}"), "</s>"),
        (TURNS.replace("<|end|>", ""), "</s>"),  # none is written: the tokenizer's own
    ],
)
def test_other_ends_of_turns(template: str, end: str) -> None:
    tokenizer = chat_tokenizer(template)
    pair = Encoder(tokenizer, settings("data.chat=true").data, 200, 200).pair(AROMI, "The pub.")
    assert tokenizer.convert_ids_to_tokens(pair.ids[-1]) == end
    assert list(pair.ids).count(tokenizer.eos_token_id) == 1 + (template.count("eos_token") > 0)


TURN = "{% for m in messages %}<|user|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
CALL = "{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
THOUGHT = "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}"
FRAMES = {
    # before, closing, end: of an answer
    "thinks of nothing, as Qwen3": (
        TURN.replace("{{ m.content }}", THOUGHT) + CALL,
        "<think>\n\n</think>\n\n",
        "",
        "<|end|>",
    ),
    "is called to think, as R1": (
        TURN.replace("{{ m.content }}", THOUGHT) + CALL.replace("assistant\n", "assistant\n<think>\n"),
        *("\n</think>\n\n", "", "<|end|>"),
    ),
    "names a channel, as gpt-oss": (
        TURN.replace("{{ m.content }}", "{% if m.role == 'assistant' %}<|assistant|>final {% endif %}: {{ m.content }}")
        + CALL,
        *("<|assistant|>final : ", "", "<|end|>"),
    ),
    "spaces around, as Llama 2": (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }} "
        "{{ eos_token }}{% endif %}{% endfor %}",
        *("", "", "</s>"),
    ),
    "text behind the end": (TURN.replace("<|end|>", "<|end|>[/{{ m.role }}]") + CALL, "", "", "<|end|>"),
    "text before the end": (TURN.replace("<|end|>", "[/{{ m.role }}]<|end|>") + CALL, "", "[/assistant]", "<|end|>"),
    "two ends": (TURN.replace("<|end|>", "<|end|>{{ eos_token }}") + CALL, "", "", "<|end|>"),
    "the word answer": (TURN.replace("<|end|>", "</answer>") + CALL, "", "</answer>", None),
    "nothing": (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}"
        + "{% if add_generation_prompt %}assistant: {% endif %}",
        "",
        "",
        None,
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_what_a_template_writes_around_an_answer_is_not_the_answer(name: str) -> None:
    """What was trained, given as the answer, is the reference, and prompt and answer are what the template writes."""
    template, before, closing, end = FRAMES[name]
    tokenizer = chat_tokenizer(template)
    found = frame(tokenizer)
    assert (found.before, found.closing) == (before, closing)
    assert (None if found.end is None else tokenizer.convert_ids_to_tokens(found.end)) == end
    source = settings("data.chat=true").data
    encoder = Encoder(tokenizer, source, 400, 400)
    reference = AROMI.references[0]
    pair = encoder.pair(AROMI, reference)
    assert list(pair.ids[: pair.scored_from]) == encoder.prompt(AROMI, 10)
    whole = tokenizer.apply_chat_template([turn("user", PROMPT), turn("assistant", reference)], tokenize=False)
    assert whole.startswith(tokenizer.decode(pair.ids).removesuffix("</s>" if end is None else ""))
    answer = pair.ids[pair.scored_from :]
    ends = {tokenizer.eos_token_id, found.end}
    first = next(i for i, each in enumerate(answer) if each in ends)
    assert ends.issuperset(answer[first:]), "nothing is trained behind an end but another"
    text = tokenizer.decode(answer, skip_special_tokens=True)
    assert answer_of(text.partition(closing)[0] if closing else text, source) == reference


@pytest.mark.parametrize("name", FRAMES)
def test_classes_have_their_own_tokens_alone(name: str) -> None:
    """In every template: nothing of what stands around an answer counts in a class's likelihood."""
    tokenizer = chat_tokenizer(FRAMES[name][0])
    source = settings("data=cuisine", "data.head=false", "data.chat=true").data
    example = Example("Sushi", (str(source.classes and source.classes[0]),))
    encoder = Encoder(tokenizer, source, 400, 400)
    for each, encoded in zip(source.classes or (), encoder.candidates(example)[0], strict=True):
        said = tokenizer.decode(encoded.ids[encoded.scored_from :])
        assert said.strip() == each


def test_a_panel_is_asked_in_words_where_the_template_refuses() -> None:
    tokenizer = chat_tokenizer("{{ raise_exception('only with tools') }}")
    item = load_panel("embedded")[0]
    assert panel_prompt(tokenizer, item) == tokenizer(item.prompt + "\n")["input_ids"]


def test_what_stands_in_front_is_found_whatever_the_vocabulary() -> None:
    """Letters of no other text than DNA; two tokens in front, of which the data write the first themselves."""
    dna = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab={"<s>": 0, "</s>": 1, "A": 2, "C": 3, "G": 4, "T": 5}, merges=[])
    )
    dna.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=dna, bos_token="<s>", eos_token="</s>")  # type: ignore[no-untyped-call]
    assert opening(fast) == (0,)
    assert list(Texts(fast).ids("ACGT")) == fast("ACGT")["input_ids"]
    two = byte_tokenizer("<s>", marks=("<x>",))
    pair = [(name, two.convert_tokens_to_ids(name)) for name in ("<s>", "<x>")]
    two.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> <x> $A", special_tokens=pair
    )
    for text in ("pub", "<s>pub", "<s><x>pub"):
        assert two.convert_ids_to_tokens(list(Texts(two).ids(text)))[:3] == ["<s>", "<x>", "pub"]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('only tools') }}", "only tools"),
        ("{{ 1 // 0 }}", "division"),
        ("{{ messages[7].content }}", "no element 7"),
        ("{% if add_generation_prompt %}ask{% else %}say{{ messages[-1]['content'] }}{% endif %}", "otherwise than"),
        (None, "no chat template"),
    ],
)
def test_a_template_that_does_not_serve_is_said(template: str | None, says: str) -> None:
    tokenizer = chat_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=says) as caught:
        Encoder(tokenizer, settings("data.chat=true").data, 200, 200).pair(AROMI, "The pub.")
    assert "data.chat=false" in str(caught.value)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_perplexity_is_that_of_lm_evaluation_harness(with_bos: Path, tmp_path: Path, length: int) -> None:
    """On the same text and windows: of `length` whole windows, each but the first behind one token of the last."""
    a = of(with_bos, "method=zero_shot")
    window = 17
    ids = a.tokenizer("The pub by the river serves cheap food. " * 20)["input_ids"][: 1 + length * (window - 1)]
    path = tmp_path / "text.txt"
    path.write_text(a.tokenizer.decode(ids, skip_special_tokens=True))
    assert a.tokenizer(path.read_text())["input_ids"] == ids
    chosen = settings(
        f"forgetting.text={path}", f"forgetting.window={window}", f"forgetting.stride={window - 1}"
    ).forgetting.model_copy(update={"max_tokens": None})
    found = text_loss(a.forward, windows(a.model, a.tokenizer, chosen), 0, keep=None, base=None)
    (total,) = rolled(a, [path.read_text()], window - 1)
    assert found.tokens == len(ids) - 1
    assert found.loss == pytest.approx(-total / found.tokens, rel=1e-5)


def rolled(a: Adapted, texts: list[str], length: int) -> list[float]:
    """The summed log-likelihood of each text by the other library, which puts BOS in front of it itself; and that of
    the harness's own use of it, which must be the same."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    requests = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in texts]
    theirs = HFLM(pretrained=a.model, tokenizer=a.tokenizer, batch_size=1, max_length=length, add_bos_token=False)
    found: list[float] = theirs.loglikelihood_rolling(requests, disable_tqdm=True)
    ours = wrapped(answer, a.model, a.tokenizer, 1)
    ours._max_length = length
    assert ours.loglikelihood_rolling(requests, disable_tqdm=True) == found
    return found


def test_blocks_of_text_are_scored_behind_bos(with_bos: Path, tmp_path: Path, run_point: Callable[..., Record]) -> None:
    """The perplexity of language modelling, too, equals that of the other library, block by block."""
    lines = [f"The pub number {n} by the river serves food to {n + 1} families." for n in range(8)]
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text("\n".join(f"{split} {line}" for line in lines))
    files = "data.files={train: train.txt, validation: validation.txt, test: test.txt}"
    data = ("data=wikitext", f"data.path={tmp_path}", files, "data.block=80", "eval.test_examples=null", "dtype=fp32")
    small = ("model=path", f"model.path={with_bos}", "tracker=none", "threads=1", "method=zero_shot")
    record = run_point(*data, "forgetting.max_tokens=64", "inference.batch_sizes=[]", small=small)
    assert record.status == "ok", record.cause
    a = of(with_bos, "method=zero_shot")
    blocks = [f"test {line}" for line in lines]
    totals = rolled(a, blocks, 1024)
    count = sum(len(a.tokenizer(block)["input_ids"]) - 1 for block in blocks)
    assert record.quality["loss"] == pytest.approx(-sum(totals) / count, rel=1e-5)
