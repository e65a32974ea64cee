"""The presets of lm-evaluation-harness: solved examples, chat templates, groups, what is too long, what is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from harness.config.run_settings import key_of
from harness.errors import RunEnded, UserError
from harness.evaluation.lm_eval import compare, score_tasks
from harness.evaluation.lm_eval_model import wrapped
from harness.evaluation.lm_eval_tasks import load_tasks
from harness.launch.live_view import SweepRun, SweepView
from harness.launch.progress_file import ProgressFile
from harness.places import CONF
from harness.results.folder import RunFolder
from harness.results.record import Record
from harness.settings import LmEvalSettings
from tests.support.lm_eval import CHOICES, CHOSEN, COLOURS, NUMBERS, WRITTEN, chosen, scores, write_task
from tests.support.made_models import byte_tokenizer, chat_tokenizer, saved
from tests.support.tiny import Adapted, adapted, settings

SOLVED = [
    {"question": f"The {thing} is", "choices": CHOICES, "answer": i % 3}
    for i, thing in enumerate(("river", "tree", "banner", "lake", "leaf", "scarf"))
]


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three tasks, the first two in a group, and all in a group without a mean."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    folder = tmp_path / "tasks"
    folder.mkdir()
    described = {"description": "Say a colour.\n\n"}
    write_task(folder, "colours", {"train": SOLVED, "test": COLOURS}, CHOSEN, "acc", **described)
    write_task(folder, "things", {"train": SOLVED, "test": SOLVED[:2]}, CHOSEN, "acc")
    write_task(folder, "repeat", {"train": NUMBERS, "test": NUMBERS}, WRITTEN, "exact_match")
    mean = {"aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}]}
    (folder / "sights.yaml").write_text(yaml.safe_dump({"group": "sights", "task": ["colours", "things"]} | mean))
    (folder / "all.yaml").write_text(yaml.safe_dump({"group": "all", "task": ["sights", "repeat"]}))
    return folder


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("chatty"), chat_tokenizer(), max_position_embeddings=1024)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("plain"), byte_tokenizer("<s>"), max_position_embeddings=1024)


def model(folder: Path, *overrides: str) -> Adapted:
    return adapted(["model=path", f"model.path={folder}", "method=zero_shot", *overrides])


def preset(name: str) -> LmEvalSettings:
    """A preset, whether or not what it needs is installed."""
    with initialize_config_dir(str(CONF), version_base=None):
        chosen = compose("config", [f"lm_eval={name}"]).lm_eval
    return LmEvalSettings.model_validate(OmegaConf.to_container(chosen))


@pytest.mark.parametrize("chat", [True, False])
def test_prompts_and_answers_are_those_of_the_librarys_own_model(
    chat: bool, chatty: Path, plain: Path, tasks: Path
) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    names = ["colours", "things", "repeat"]
    shots = "lm_eval.num_fewshot={sights: 2, repeat: 2}"
    a = model(chatty if chat else plain, *chosen(tasks, "sights", "repeat"), shots, "lm_eval.apply_chat_template=auto")
    lm = wrapped(a.settings.method.generate, a.model, a.tokenizer, 4)
    asked: list[Any] = []
    for kind in ("loglikelihood", "generate_until"):
        _listen(lm, kind, asked)
    found = score_tasks(lm, load_tasks(a.settings.lm_eval), a.settings.lm_eval)
    theirs: Any = simple_evaluate(
        HFLM(pretrained=a.model, tokenizer=a.tokenizer, batch_size=4, max_length=1024),
        tasks=list(names),
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        num_fewshot=2,
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,
        bootstrap_iters=0,
    )
    assert found.chat_template is chat
    assert found.num_fewshot == theirs["n-shot"] == dict.fromkeys(names, 2)
    samples = {name: sorted(theirs["samples"][name], key=lambda each: each["doc_id"]) for name in names}
    assert asked == [each for name in names for sample in samples[name] for each in sample["arguments"]]
    assert ("<|assistant|>\n" in asked[0][0]) is chat
    assert [line["answer"] for line in found.lines] == [s["filtered_resps"] for n in names for s in samples[n]]
    assert {name: found.results[name] for name in names} == {
        name: {key: value for key, value in theirs["results"][name].items() if key in found.results[name]}
        for name in names
    }
    assert not any(found.cut.values())


def _listen(lm: Any, kind: str, asked: list[Any]) -> None:
    """Have the model's method of this name note what it is asked."""
    act = getattr(lm, kind)

    def heard(requests: Any) -> Any:
        asked.extend(request.args for request in requests)
        return act(requests)

    setattr(lm, kind, heard)


def test_a_group_has_the_librarys_mean_and_its_tasks_beside_it(
    tasks: Path, run_point: Callable[..., Record], tmp_path: Path
) -> None:
    record = run_point(
        "method=lora", "method.lr=0.05", *chosen(tasks, "all"), "lm_eval.num_fewshot={all: 1, things: 0}"
    )
    assert record.status == "ok", record.cause
    assert record.lm_eval is not None
    assert list(record.lm_eval) == ["sights", "repeat"], "a group without a mean is what is in it"
    group = record.lm_eval["sights"]
    assert group.tasks is not None
    colours, things = group.tasks["colours"], group.tasks["things"]
    for when in ("before", "after"):
        means = [getattr(each, when)["acc,none"] for each in (group, colours, things)]
        assert means[0] == pytest.approx((4 * means[1] + 2 * means[2]) / 6), "weighted by size, as the group says"
    assert (group.examples, group.right, group.better) == (6, "acc", {"acc,none": "higher"})
    assert group.lost == colours.lost + things.lost  # type: ignore[operator]
    assert group.gained == colours.gained + things.gained  # type: ignore[operator]
    assert (colours.num_fewshot, things.num_fewshot, group.num_fewshot) == (1, 0, None), "a part's own number counts"
    assert (record.lm_eval["repeat"].num_fewshot, record.lm_eval["repeat"].tasks) == (1, None)
    assert group.chat_template is False


def test_what_is_too_long_is_counted(plain: Path, tasks: Path) -> None:
    """The witness counts each question's tokens: a choice is read with the question, but for its last token; a text of
    six tokens is written behind it."""
    room = 20
    a = model(plain, *chosen(tasks, "colours", "repeat"))
    lm = wrapped(a.settings.method.generate, a.model, a.tokenizer, 4)
    lm._max_length = room

    def long(text: str) -> int:
        return len(a.tokenizer(text)["input_ids"])

    read = [
        max(long(f"Say a colour.\n\n{row['question']} {choice}") for choice in CHOICES) > room + 1 for row in COLOURS
    ]
    written = [long(row["question"]) > room - 6 for row in NUMBERS]
    found = score_tasks(lm, load_tasks(a.settings.lm_eval), a.settings.lm_eval)
    assert found.cut == {"colours": sum(read), "repeat": sum(written)}
    assert 0 < sum(read) + sum(written) < 8
    assert compare(found, found)["repeat"].cut == sum(written)
    lm._max_length = 6
    with pytest.raises(UserError, match="repeat: its answers may have 6 tokens, and the model takes 6"):
        score_tasks(lm, load_tasks(a.settings.lm_eval), a.settings.lm_eval)


def test_each_answer_is_told_and_a_signal_ends_the_scoring(chatty: Path, tasks: Path) -> None:
    a = model(chatty, *chosen(tasks, "colours", "repeat"))
    lm = wrapped(a.settings.method.generate, a.model, a.tokenizer, 2)
    told: list[tuple[int, int]] = []
    score_tasks(lm, load_tasks(a.settings.lm_eval), a.settings.lm_eval, lambda *counts: told.append(counts))
    assert told == [(i, 16) for i in range(1, 17)], "three choices of four questions, and four texts"

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise RunEnded("interrupted", "stopped", None)

    with pytest.raises(RunEnded):
        score_tasks(lm, load_tasks(a.settings.lm_eval), a.settings.lm_eval, stop)


def test_the_live_view_shows_how_many_answers_there_are(tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, "lora-0")
    folder.path.mkdir(parents=True)
    point = SweepRun("lora-0", "LoRA", "", False)
    view = SweepView([point], tmp_path)
    progress = ProgressFile(folder.progress)
    progress.write({"answered": 1200, "answers": 105000})
    progress.write({"phase": "base lm-eval"})
    assert view._running(point, folder) == "LoRA  base lm-eval  1,200 of 105,000 answers"


def test_the_presets_ask_as_the_library_has_the_leaderboard() -> None:
    from lm_eval.tasks import __file__ as listing

    folder = Path(listing).parent
    board = yaml.safe_load((folder / "benchmarks/openllm.yaml").read_text())["task"]
    shots = {each["task"]: each["num_fewshot"] for each in board if each["task"] in preset("retention").tasks}
    assert preset("retention").num_fewshot == shots | {"ifeval": 0}
    assert preset("retention").apply_chat_template == "auto"
    assert preset("retention_small") == preset("retention").model_copy(update={"limit": 20})


def test_keys_of_runs_that_say_nothing_of_it_are_as_they_were() -> None:
    old = LmEvalSettings(tasks=["arc"], path=None, limit=3)
    assert set(key_of(old)) == {"tasks", "limit", "files", "version"}
    assert key_of(preset("none"))["tasks"] == []
    new = old.model_copy(update={"num_fewshot": {"arc": 5}, "apply_chat_template": "auto"})
    assert key_of(new) == key_of(old) | {"num_fewshot": {"arc": 5}, "apply_chat_template": "auto"}


def test_what_is_missing_is_told_before_anything_is_measured(
    tasks: Path, run_point: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("langdetect", "immutabledict"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match="ifeval: needs langdetect and immutabledict; pip install langdetect immuta"):
        settings("lm_eval=retention")
    (tasks / "things.test.jsonl").unlink()
    record = run_point("method=lora", *chosen(tasks, "colours", "sights"))
    assert (record.status, record.user_error) == ("error", True)
    assert "lm_eval.tasks: sights: cannot be loaded" in str(record.cause)
    assert "base scores" not in record.seconds


def test_ifeval_needs_the_data_that_splits_texts(tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk  # type: ignore[import-untyped]

    write_task(tasks, "my_ifeval", {"test": COLOURS}, CHOSEN, "acc")
    asked = LmEvalSettings(tasks=["my_ifeval"], path=str(tasks), limit=None)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk")])
    with pytest.raises(UserError, match="my_ifeval: needs NLTK's data punkt_tab"):
        load_tasks(asked)
    (tmp_path / "nltk/tokenizers/punkt_tab").mkdir(parents=True)
    assert list(load_tasks(asked).single) == ["my_ifeval"]


def test_ifeval_is_judged_as_by_the_library(
    chatty: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own task with rows of ours, and NLTK's splitter as it is before it has learned abbreviations."""
    pytest.importorskip("langdetect")
    pytest.importorskip("immutabledict")
    import nltk
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks import __file__ as listing

    data = tmp_path / "nltk/tokenizers/punkt_tab/english"
    data.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
        (data / name).touch()
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk")])
    rules = ["change_case:english_lowercase", "punctuation:no_comma", "change_case:capital_word_frequency"]
    rows = [
        {
            "key": i,
            "prompt": f"Write {i}.",
            "instruction_id_list": [rule],
            "kwargs": [kwargs],
            "question": "",
            "answer": "",
        }
        for i, (rule, kwargs) in enumerate(
            zip(rules, [{}, {}, {"capital_frequency": 2, "capital_relation": "less than"}], strict=True)
        )
    ]
    own = {
        "include": str(Path(listing).parent / "ifeval/ifeval.yaml"),
        "generation_kwargs": {"max_gen_toks": 12, "until": []},
    }
    write_task(tasks, "ifeval", {"test": rows}, own, "")
    content = yaml.safe_load((tasks / "ifeval.yaml").read_text())
    for name in ("doc_to_text", "doc_to_target", "metric_list"):
        del content[name]
    (tasks / "ifeval.yaml").write_text(yaml.safe_dump(content))
    a = model(chatty, *chosen(tasks, "ifeval"), "lm_eval.apply_chat_template=auto")
    found = scores(a)
    theirs: Any = simple_evaluate(
        HFLM(pretrained=a.model, tokenizer=a.tokenizer, batch_size=4, max_length=1024),
        tasks=["ifeval"],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        apply_chat_template=True,
        bootstrap_iters=0,
    )
    names = {"prompt_level_strict_acc,none", "prompt_level_loose_acc,none"}
    names |= {"inst_level_strict_acc,none", "inst_level_loose_acc,none"}
    assert found.results == {"ifeval": {name: theirs["results"]["ifeval"][name] for name in names}}
    strict = [sample["prompt_level_strict_acc"] for sample in theirs["samples"]["ifeval"]]
    assert [line["prompt_level_strict_acc"] for line in found.lines] == strict
    assert compare(found, found)["ifeval"].right == "prompt_level_strict_acc"


def test_names_and_templates_that_there_are_not(plain: Path, chatty: Path, tasks: Path) -> None:
    with pytest.raises(UserError, match=r"lm_eval.apply_chat_template=true: the model has no chat template"):
        scores(model(plain, *chosen(tasks, "colours"), "lm_eval.apply_chat_template=true"))
    refusing = model(chatty, *chosen(tasks, "colours"), "lm_eval.apply_chat_template=true")
    refusing.tokenizer.chat_template = "{{ raise_exception('no system turn') }}"
    with pytest.raises(UserError, match="refuses a task's turns"):
        scores(refusing)
    with pytest.raises(UserError) as caught:
        load_tasks(LmEvalSettings(tasks=["hellaswag"], path=None, limit=None, num_fewshot={"hellaswga": 10}))
    assert str(caught.value) == "lm_eval.num_fewshot: hellaswga: there is none; did you mean hellaswag?"


def test_data_of_the_hub_without_a_network() -> None:
    with pytest.raises(UserError) as caught:
        load_tasks(LmEvalSettings(tasks=["hellaswag"], path=None, limit=None))
    assert str(caught.value).startswith("lm_eval.tasks: hellaswag: cannot be loaded (Couldn't reach 'Rowan/hellaswag'")
    assert str(caught.value).endswith("; check the network, or name task files with lm_eval.path")
    assert "\n" not in str(caught.value)
