"""Tokens as COCO's scorers take them: Stanford's Penn Treebank tokenizer, lower case, punctuation left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from pycocoevalcap.tokenizer import ptbtokenizer

from harness.metrics.tools.java import JavaFailed, run_java
from harness.metrics.tools.treebank import treebank
from harness.metrics.tools.unicode import NAME, blind, words

_BREAKS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")
"""What ends a line for Java, or could not be told apart from the end of one."""


@dataclass(frozen=True)
class Tokenized:
    """Texts as tokens with one space between them."""

    predictions: list[str]
    references: list[list[str]]
    name: str
    """Which tokenizer, for signatures."""
    reason: str | None
    """Why it is the stand-in; None where Java did it."""


def tokenized(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Tokenized:
    """Predictions and references, tokenized together by Java; by our stand-in where Java fails. Where references are in
    another script than Latin, as words of any script: the Treebank's tokenizer drops what it does not know."""
    if blind(references):
        spaced = [[" ".join(words(text)) for text in group] for group in (predictions, *references)]
        return Tokenized(spaced[0], spaced[1:], NAME, None)
    texts = tuple(dict.fromkeys([*predictions, *(text for group in references for text in group)]))
    lines, name, reason = _tokenize(texts)
    of = dict(zip(texts, lines, strict=True))
    return Tokenized([of[text] for text in predictions], [[of[text] for text in g] for g in references], name, reason)


@lru_cache(maxsize=4)
def _tokenize(texts: tuple[str, ...]) -> tuple[list[str], str, str | None]:
    """Tokenized texts, the tokenizer's name, and why it is the stand-in. Kept, since several scores need the same."""
    try:
        return stanford(texts), f"ptb|pycocoevalcap:{version('pycocoevalcap')}", None
    except JavaFailed as error:
        return [without_punctuation(treebank(text)) for text in texts], "ptb-standin", str(error)


def stanford(texts: Sequence[str]) -> list[str]:
    """`texts` by Stanford CoreNLP's own tokenizer, started as pycocoevalcap does. Raises JavaFailed."""
    jar = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    options = ["-preserveLines", "-lowerCase", "-encoding", "UTF-8"]
    lines = "".join(_BREAKS.sub(" ", text) + "\n" for text in texts)
    printed = run_java(["-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", *options], lines)
    *tokenized, _ = printed.split("\n")
    if len(tokenized) != len(texts):
        raise JavaFailed(f"java gave {len(tokenized)} tokenized lines for {len(texts)} texts")
    return [without_punctuation(line.rstrip()) for line in tokenized]


def without_punctuation(line: str) -> str:
    """`line` without the tokens that COCO's scorers leave out."""
    return " ".join(token for token in line.split(" ") if token not in ptbtokenizer.PUNCTUATIONS)
