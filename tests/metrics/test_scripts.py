# ruff: noqa: RUF001
"""Scores of texts in every script: identical texts have the most there is, or no score with the reason; texts in Latin
script have the official scorers' figures."""

from __future__ import annotations

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.ter import TER

from harness import metrics
from harness.data import Example
from harness.evaluation.no_model import best_constant, trivial
from harness.metrics import Score
from harness.metrics.bleu import corpus_bleu
from harness.metrics.tools.unicode import blind, tokens, unspaced, words
from tests.support.tasks import chosen

TEXTS = {
    "Chinese": ["我今天去了北京大学，天气很好。", "他喜欢吃苹果和香蕉，一共3.5公斤。"],
    "Japanese": ["今日は東京大学に行きました。", "PythonとJavaScriptを使います。"],
    "Thai": ["วันนี้อากาศดีมากและฉันไปตลาด", "เขาชอบกินแอปเปิ้ล"],
    "Khmer": ["ថ្ងៃនេះអាកាសធាតុល្អណាស់ ហើយខ្ញុំទៅផ្សារ", "ខ្ញុំចូលចិត្តផ្លែប៉ោម និងផ្លែចេក"],
    "Burmese": ["ကျွန်တော်ဒီနေ့ဈေးကိုသွားတယ်", "သူပန်းသီးစားတာကြိုက်တယ်"],
    "Tibetan": ["བོད་ཀྱི་སྐད་ཡིག་སློབ་སྦྱོང་བྱེད།", "ང་ཁང་པ་ལ་འགྲོ་གི་ཡོད།"],
    "Hindi": ["यह एक परीक्षण वाक्य है और यह अच्छा है।", "मुझे सेब खाना बहुत पसंद है।"],
    "Korean": ["오늘 날씨가 아주 좋아서 공원에 갔습니다.", "나는 어제 사과를 두 개 먹었다."],
    "Arabic": ["اليوم الطقس جميل جدا وذهبت إلى السوق.", "أنا أحب التفاح كثيرا جدا"],
    "Hebrew": ["היום מזג האוויר יפה והלכתי לשוק", "אני אוהב לאכול תפוחים ובננות"],
    "Russian": ["Сегодня хорошая погода, и я пошёл в парк.", "Я люблю яблоки и груши."],
    "emoji": ["😀😃👍🏽🇫🇷❤️", "👨‍👩‍👧🎉🎂🥳🎈"],
    "mixed": ["The cat sat on the mat today.", "我今天去了北京大学，天气很好。"],
    "one of many": [*(f"There are {n} cats on the mat, it's true." for n in range(50)), "今天天气很好。"],
}
WITHOUT_SPACES = ("Chinese", "Japanese", "Thai", "Khmer", "Burmese", "Tibetan", "emoji", "mixed", "one of many")
SHORT = {
    "Hindi": ["नमस्ते दुनिया", "शुभ रात्रि"],
    "Chinese": ["北京", "上海"],
    "Russian": ["Да, да", "Нет, нет"],
    "emoji": ["😀", "🎉"],
}
PERFECT = {"ter": 0.0, "length_ratio": 1.0, "exact_match": 100.0, "token_f1": 100.0, "accuracy": 1.0, "copy_rate": 1.0}
PERFECT |= dict.fromkeys(("bleu", "meteor", "rouge_l", "chrf", "rouge1", "rouge2", "rougeL", "rougeLsum"), 100.0)
FAMILIES = ("bleu", "meteor", "rouge_l", "rouge", "translation", "surface", "questions", "classes")


def perfect(texts: list[str]) -> dict[str, Score]:
    """The scores, where the predictions are the references."""
    return metrics.compute(FAMILIES, texts, [[text] for text in texts], texts)


@pytest.mark.parametrize("script", TEXTS)
def test_identical_texts_have_the_most_there_is(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # what is read by Java does not hang on its being there
    found = perfect(TEXTS[script])
    assert {
        name: one.value for name, one in found.items() if name in PERFECT and one.value is not None
    } == pytest.approx({name: value for name, value in PERFECT.items() if name != "meteor"})
    assert found["meteor"].reason == "references in another script than Latin, for METEOR's English"
    for name in ("rouge1", "rouge_l", "distinct_1"):
        assert "tok:unicode" in found[name].signature
    for name in ("bleu", "ter", "token_f1"):
        assert ("tok:unicode" in found[name].signature) is (script in WITHOUT_SPACES)


@pytest.mark.parametrize("script", SHORT)
def test_short_texts_have_the_most_or_a_reason(script: str) -> None:
    for name, one in perfect(SHORT[script]).items():
        assert one.value is not None or one.reason, name
        if one.value is not None and name in PERFECT:
            assert one.value == pytest.approx(PERFECT[name]), name
    assert perfect(SHORT[script])["bleu"].reason == "no reference has 4 words"


@pytest.mark.parametrize("script", TEXTS)
def test_other_texts_have_less(script: str) -> None:
    texts = TEXTS[script]
    found = metrics.compute(("bleu", "nist", "rouge_l", "rouge"), texts[::-1], [[text] for text in texts])
    most = metrics.compute(("bleu", "nist", "rouge_l", "rouge"), texts, [[text] for text in texts])
    for name, one in found.items():
        assert one.value is not None
        assert one.value < (most[name].value or 0) * 0.9, name


LATIN = {
    "English": ["It's 3.5 km to the café, e-mail: a@b.c!", "A naïve résumé — “quoted” text 😀😀😀😀😀😀"],
    "French": ["L'été, j'ai mangé à Orléans, là où ça coûte 20 €.", "Où est-il allé ? À Évry."],
    "Vietnamese": ["Tôi đã ở đây từ lâu và ăn ở đó.", "Ở đó có gì đâu"],
    "Turkish": ["Işık ılık süt içti ve öğrendi.", "Çok güzel İstanbul'da"],
    "Polish": ["Zażółć gęślą jaźń", "Łódź jest dużym miastem"],
    "a name in Chinese": ["We ate at 北京烤鸭 in the old town on Monday.", "The river α is near π."],
    "none": ["...", "?! £ + -"],
}


@pytest.mark.parametrize("language", LATIN)
def test_texts_in_latin_script_have_the_official_figures(language: str) -> None:
    texts, said = LATIN[language], [text.replace("a", "e")[1:] for text in LATIN[language]]
    references = [[text] for text in texts]
    assert not blind(references)
    assert not unspaced(references)
    found = metrics.compute(("bleu", "rouge", "translation"), said, references)
    assert found["bleu"].value == pytest.approx(BLEU(lowercase=True).corpus_score(said, [texts]).score)
    assert found["ter"].value == pytest.approx(TER().corpus_score(said, [texts]).score)
    assert "tok:13a" in found["bleu"].signature
    if language == "none":
        assert found["rouge1"].reason == "no reference has words"
    else:
        official = RougeScorer(["rouge1", "rougeL"])
        pairs = [official.score(text, answer) for text, answer in zip(texts, said, strict=True)]
        for name in ("rouge1", "rougeL"):
            assert found[name].value == pytest.approx(100 * sum(pair[name].fmeasure for pair in pairs) / len(pairs))
            assert "tok" not in found[name].signature


def test_chinese_bleu_is_sacrebleus_own() -> None:
    """Its tokenizer `zh` parts Chinese as `unicode` does."""
    texts = TEXTS["Chinese"]
    said = ["我昨天去了北京大学，天气不好。", "他喜欢吃苹果，一共3.5公斤。"]
    theirs = BLEU(lowercase=True, tokenize="zh").corpus_score(said, [texts]).score
    assert 0 < theirs < 100
    assert metrics.compute(["bleu"], said, [[text] for text in texts])["bleu"].value == pytest.approx(theirs)
    assert corpus_bleu(said, [[text] for text in texts]) == pytest.approx(theirs)


def test_other_scripts_with_spaces_keep_sacrebleus_13a() -> None:
    for script in ("Russian", "Hindi", "Korean", "Arabic"):
        texts, said = TEXTS[script], [text[2:] for text in TEXTS[script]]
        found = metrics.compute(["bleu"], said, [[text] for text in texts])["bleu"]
        assert found.value == pytest.approx(BLEU(lowercase=True).corpus_score(said, [texts]).score)


def test_the_choice_hangs_on_references_alone() -> None:
    english, chinese = ["A cat sat on the mat."], TEXTS["Chinese"][:1]
    for family in ("bleu", "nist", "rouge", "rouge_l", "surface", "questions", "translation"):
        told = [
            {one.signature for one in metrics.compute([family], said, [english], english).values()}
            for said in (english, chinese, [""])
        ]
        assert told[0] == told[1] == told[2]
        assert not any("unicode" in signature for signature in told[0])


def test_words_of_any_script() -> None:
    assert words("Don't pay 1,000.50 £ for Café №5!") == ["don", "t", "pay", "1,000.50", "for", "café", "№", "5"]
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert words("我爱Python3") == ["我", "爱", "python3"]
    assert words("한국어 단어") == ["한국어", "단어"]
    assert words("👨‍👩‍👧👍🏽") == ["👨‍👩‍👧", "👍🏽"]
    assert tokens("好，ok.") == ["好", "，", "ok", "."]
    assert words("...") == []


def test_a_word_that_rouge_does_not_see() -> None:
    """An accented letter alone is none of a to z: rouge-score gives identical texts 0."""
    assert RougeScorer(["rouge1"]).score("à", "à")["rouge1"].fmeasure == 0
    found = metrics.compute(["rouge"], ["à", "oui"], [["à"], ["oui"]])
    assert found["rouge1"].value == 100
    assert found["rouge2"].reason == "no reference has two words"


def test_slots_of_another_script_have_no_score() -> None:
    found = metrics.compute(["slots"], ["北京烤鸭是一家餐厅"], [["北京烤鸭是一家餐厅"]], ["name[北京烤鸭]"])["ser"]
    assert found.value is None
    assert found.reason == "references in another script than Latin, for English wordings"


@pytest.mark.parametrize("texts", [["A cat sat on the mat."], ["A cat sat on the mat."] * 3, ["今天天气很好"]])
def test_cider_needs_references_that_differ(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An n-gram weighs log(examples / examples with it), which is 0 where every example has it."""
    monkeypatch.setenv("PATH", "")
    found = metrics.compute(["cider"], texts, [[text] for text in texts])["cider"]
    assert found.value is None
    same = "every example has the same references, so that no n-gram has weight"
    assert found.reason == ("there is one example" if len(texts) == 1 else same)
    more = [*texts, "Dogs bark at night."]
    assert metrics.compute(["cider"], more, [[text] for text in more])["cider"].value


def test_baselines_read_as_the_score_does() -> None:
    source = chosen("data=jsonl", "data.path=x", "data.prompt='{{ q }}'", "data.answer='{{ a }}'").data
    examples = [Example(f"{i}", (f"今天天气很好，我们去公园{i}号。",)) for i in range(4)]
    assert best_constant(examples, candidates=4, seed=0) in {example.references[0] for example in examples}
    assert trivial(source, examples, examples)["best_constant"] > 50
