"""General text in windows, the distance from the base, and what the panel lost and gained."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.data.untouched import articles, general_text
from harness.errors import UserError
from harness.evaluation.general_text import divergence, spans, text_loss, windows
from harness.evaluation.panel import changes
from harness.places import ROOT
from harness.results.folder import read_record
from harness.results.lines import read_lines
from harness.results.record import Record
from harness.results.sections import Forgetting, perplexity
from tests.support.records import run_folder
from tests.support.tiny import adapted, settings

WIKITEXT = ROOT.parent / "shared/data/wikitext2/wiki.test.raw"
WIKI = " = One = \n Text of one .\n = = Part = = \n More .\n = Two @-@ b = \n Text of two .\n"


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 200, 257])
@pytest.mark.parametrize(("window", "stride"), [(64, 64), (64, 63), (64, 32), (64, 1), (2, 1), (2, 2)])
def test_each_token_is_scored_once_behind_enough_others(length: int, window: int, stride: int) -> None:
    context = {}
    for begin, first, end in spans(length, window, stride):
        assert 0 <= begin < first < end <= min(length, begin + window)
        for token in range(first, end):
            assert token not in context
            context[token] = token - begin
    # Where windows do not overlap, nothing stands before the first token of each.
    unscored = range(0, length, window) if stride == window else [0]
    assert set(range(length)) - set(context) == set(unscored) & set(range(length))
    assert all(before >= min(token, window - stride) for token, before in context.items())


@pytest.mark.parametrize(("window", "stride"), [(48, 20), (48, 47), (32, 32)])
def test_loss_is_that_of_a_naive_loop(window: int, stride: int, tmp_path: Path) -> None:
    """The witness asks the model for one token at a time, each behind the text that its window gives it."""
    path = tmp_path / "text.txt"
    path.write_text(general_text()[:200])
    text = [f"forgetting.text={path}", f"forgetting.window={window}", f"forgetting.stride={stride}"]
    a = adapted(["method=zero_shot", *text, "forgetting.max_tokens=null"])
    found = text_loss(a.forward, windows(a.model, a.tokenizer, a.settings.forgetting), 0, keep=None, base=None)
    ids = a.tokenizer(path.read_text())["input_ids"]
    losses = []
    with torch.no_grad():
        for token in range(1, len(ids)):
            begin = max(0, math.ceil((token + 1 - window) / stride)) * stride
            if begin < token:
                logits = a.model(input_ids=torch.tensor([ids[begin:token]])).logits[0, -1]
                losses.append(-logits.log_softmax(-1)[ids[token]].item())
    assert found.tokens == len(losses)
    assert found.loss == pytest.approx(sum(losses) / len(losses), abs=1e-5)
    assert found.divergence is None
    # The mean of the guide at https://huggingface.co/docs/transformers/perplexity, by transformers' own loss.
    total, count, scored_to = 0.0, 0, 0
    with torch.no_grad():
        for begin in range(0, len(ids), stride):
            end = min(begin + window, len(ids))
            given = torch.tensor([ids[begin:end]])
            labels = given.clone()
            labels[:, : scored_to - begin] = -100
            labels[:, 0] = -100
            count += (scored := int((labels != -100).sum()))
            total += a.model(input_ids=given, labels=labels).loss.item() * scored
            scored_to = end
            if end == len(ids):
                break
    assert count == found.tokens
    assert found.loss == pytest.approx(total / count, abs=1e-5)


def test_articles_are_read_apart() -> None:
    assert articles(WIKI) == [WIKI[: WIKI.index(" = Two")], WIKI[WIKI.index(" = Two") :]]
    assert articles("before\n" + WIKI)[0] == "before\n"
    assert articles("no titles\n") == ["no titles\n"]
    assert articles("") == []


def test_windows_end_with_their_article(tmp_path: Path) -> None:
    path = tmp_path / "wiki.txt"
    path.write_text(WIKI)
    base = adapted(["method=zero_shot"])

    def texts(*overrides: str) -> list[str]:
        chosen = settings(f"forgetting.text={path}", "forgetting.window=40", "forgetting.stride=40", *overrides)
        return [
            "".join(base.tokenizer.convert_ids_to_tokens(w.ids[0]))
            for w in windows(base.model, base.tokenizer, chosen.forgetting)
        ]

    assert "".join(texts()) == WIKI
    apart = texts("forgetting.documents=wikitext")
    assert "".join(apart) == WIKI
    assert any(text.startswith(" = Two") for text in apart)
    assert not any(text.startswith(" = Two") for text in texts())
    first = texts("forgetting.documents=wikitext", "forgetting.max_tokens=60")
    assert "".join(first) == WIKI[:60]


@pytest.mark.skipif(not WIKITEXT.exists(), reason=f"no {WIKITEXT}")
def test_wikitext() -> None:
    """60 articles in the test split (Merity et al. 2016, table 1); two formulas in one of them look like titles."""
    text = WIKITEXT.read_text(encoding="utf-8")
    pieces = articles(text)
    assert "".join(pieces) == text
    assert len(pieces) == 60 + 2
    assert pieces[0].startswith(" = Robert Boulter = \n")
    given = [f"forgetting.text={WIKITEXT}", "forgetting.window=256", "forgetting.stride=128"]
    a = adapted(["method=zero_shot", *given, "forgetting.max_tokens=1000"])
    found = text_loss(a.forward, windows(a.model, a.tokenizer, a.settings.forgetting), 0, keep=None, base=None)
    assert found.tokens == 999


def test_texts_that_cannot_be_measured(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("a")
    a = adapted(["method=zero_shot"])
    with pytest.raises(UserError, match="fewer than two tokens"):
        windows(a.model, a.tokenizer, settings(f"forgetting.text={path}").forgetting)
    with pytest.raises(UserError, match="1024 tokens at most"):
        windows(a.model, a.tokenizer, settings("forgetting.window=1025").forgetting)


def test_perplexity_is_the_exponential_of_the_loss() -> None:
    shares = {"panel_before": 0.5, "panel_after": 0.5}
    found = Forgetting(text="", tokens=1, loss_before=math.log(20), loss_after=3.0, kl=0, panel_by_task={}, **shares)
    assert found.perplexity_before == pytest.approx(20)
    assert found.perplexity_after == pytest.approx(math.e**3)
    assert perplexity(1e4) == math.inf


def test_spread_of_the_divergence() -> None:
    """0, 1, …, 100: mean 50, variance (101**2 - 1) / 12, the quantiles their own percentages."""
    found = divergence(torch.arange(101.0), agreed=25)
    assert found.kl == 50
    assert found.kl_std == pytest.approx(math.sqrt((101**2 - 1) / 12))
    assert found.kl_quantiles == {f"{p}%": pytest.approx(p) for p in (5, 25, 50, 75, 95)}
    assert found.agreement == 25 / 101


def test_lost_and_gained_are_counted_apart() -> None:
    """One lost and one gained of the same task: no net change."""
    right = {"sum": [(True, False), (False, True), (True, True)], "repeat": [(False, False), (True, False)]}
    before, after = (
        [{"task": task, "right": pair[i]} for task, pairs in right.items() for pair in pairs] for i in (0, 1)
    )
    assert changes(before, after) == {"sum": (1, 1), "repeat": (1, 0)}


PANEL = """
letters:
  judge: words
  items:
    - {prompt: "Write a.", answers: [a]}
    - {prompt: "Write any letter.", answers: [a, e, i, o, u, x, y, z]}
"""


def test_a_run_records_what_it_forgot(run_point: Callable[..., Record], tmp_path: Path) -> None:
    path = tmp_path / "letters.yaml"
    path.write_text(PANEL)
    record = run_point("method=lora", "method.lr=0.05", "forgetting.compare_tokens=100", f"forgetting.panel={path}")
    found = record.forgetting
    assert found is not None
    assert (found.compared_tokens, found.panel, found.panel_items) == (100, "letters.yaml", 2)
    assert found.kl_quantiles is not None
    assert found.agreement is not None
    assert 0 <= found.kl_quantiles["5%"] <= found.kl_quantiles["50%"] <= found.kl_quantiles["95%"]
    assert 0 <= found.agreement < 1
    lines = read_lines(run_folder(tmp_path / "results", record.id) / "panel.jsonl")
    assert [line["task"] for line in lines] == ["letters", "letters"]
    lost = sum(line["right_before"] and not line["right_after"] for line in lines)
    gained = sum(line["right_after"] and not line["right_before"] for line in lines)
    assert (found.panel_lost, found.panel_gained) == (lost, gained)
    assert found.panel_changes == {"letters": (lost, gained)}
    assert found.panel_after - found.panel_before == pytest.approx((gained - lost) / 2)


def test_records_of_earlier_versions_are_read(tmp_path: Path) -> None:
    # What this version added is taken out of a record, as in one that was written before.
    later = ("compared_tokens", "kl_std", "kl_quantiles", "agreement")
    later += ("panel", "panel_items", "panel_lost", "panel_gained", "panel_changes")
    committed = sorted((ROOT / "docs/results").rglob("record.json"))
    content = next(found for path in committed if (found := json.loads(path.read_text()))["forgetting"])
    content["forgetting"] = {name: value for name, value in content["forgetting"].items() if name not in later}
    (tmp_path / "record.json").write_text(json.dumps(content))
    forgetting = read_record(tmp_path / "record.json").forgetting
    assert forgetting
    assert (forgetting.agreement, forgetting.panel_lost, forgetting.panel) == (None, None, "embedded")
