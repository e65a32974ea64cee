"""Words of any script, for texts in which the tokenizers of the official scorers, made for English, see none.

Which tokenizer reads a data set is settled by its references alone, never by predictions, for all of it: `blind` and
`unspaced` say when. Texts in Latin script are read as the official scorers read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

import regex  # type: ignore[import-untyped]

NAME = "unicode"
"""In signatures: words as `words` finds them."""
_ALONE = r"\p{lb=ID}\p{lb=CJ}\p{lb=SA}\p{lb=EB}\p{lb=EM}\p{So}"
"""Characters that are words by themselves: ideographs, kana, emoji, and what Unicode calls South East Asian (Thai, Lao,
Khmer, Burmese …), whose words no spaces part (UAX 14, https://www.unicode.org/reports/tr14)."""
_IN_WORDS = rf"[[\p{{L}}\p{{N}}\p{{M}}]--[{_ALONE}]]"
_PATTERNS = {
    "word": rf"(?=[{_ALONE}])\X|(?:{_IN_WORDS}|(?<=\p{{N}})[.,](?=\p{{N}}))+",
    "mark": r"[\p{P}\p{S}]",
    "symbol": r"(?=\p{Extended_Pictographic}|\p{So})\X",
}


@cache
def _pattern(kinds: str) -> regex.Pattern[str]:
    return regex.compile("(?V1)" + "|".join(_PATTERNS[kind] for kind in kinds.split()))


def words(text: str) -> list[str]:
    """Words in lower case: runs of letters, marks and digits, with points and commas between digits; each ideograph,
    kana, emoji and each cluster of a South East Asian script by itself."""
    matches: list[str] = _pattern("word").findall(text.lower())
    return matches


def tokens(text: str) -> list[str]:
    """`words` with each mark of punctuation and each symbol as a token of its own."""
    matches: list[str] = _pattern("word mark").findall(text.lower())
    return matches


def blind(references: Sequence[Sequence[str]]) -> bool:
    """Some reference has most of its words in another script than Latin, so that tokenizers for English miss them."""
    return any(_blind(text) for group in references for text in group)


def unspaced(references: Sequence[Sequence[str]]) -> bool:
    """Some reference is such a one, and white space parts fewer than half of its words."""
    return any(_blind(text) and 2 * len(text.split()) < len(words(text)) for group in references for text in group)


@lru_cache(maxsize=1 << 16)
def _blind(text: str) -> bool:
    if text.isascii():
        return False
    all_words = words(text)
    # Emoji count where there is nothing else: a text that ends on some is read by its words.
    read = [word for word in all_words if not _pattern("symbol").fullmatch(word)] or all_words
    missed = [word for word in read if not regex.search(r"\p{Latin}|[0-9]", word)]
    return 2 * len(missed) > len(read)
