"""Slot error rate: which facts of a meaning representation (MR) a text leaves out or gets wrong.

For data in the form of the E2E NLG Challenge: its own values (Novikova et al. 2017, https://aclanthology.org/W17-5525)
and those of the generated restaurants. A slot's wordings are found by patterns, the way of Dušek et al. 2019, "Semantic
Noise Matters for NLG" (https://aclanthology.org/W19-8652); the patterns are ours, so figures compare among themselves
and not with published ones. What a text says of a slot that the MR lacks is not counted.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import UserError
from harness.metrics import Score, ratio
from harness.metrics.tools.unicode import blind


def compute(
    predictions: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str] | None
) -> dict[str, Score]:
    """`ser`: missing and wrong slots of the sources' MRs, in percent of all slots. Of references only their script is
    looked at: null where it is not Latin, of which the patterns have no wordings.

    Statistics of an example: missing, wrong, slots. Raises UserError where there are no sources or one is no MR.
    """
    if sources is None:
        raise UserError("metric slots: needs the inputs, as meaning representations; give the references as mr,ref")
    try:
        errors = [slot_errors(source, text) for source, text in zip(sources, predictions, strict=True)]
    except ValueError as error:
        raise UserError(f"metric slots: {error}") from None
    rows = tuple((e.missing, e.wrong, e.slots) for e in errors)
    signature = "slot errors: (missing + wrong) / slots, in percent; harness.metrics.slots"
    if blind(references):
        why = "references in another script than Latin, for English wordings"
        return {"ser": Score(None, signature, reason=why, better="lower")}
    value, each = float(of_sums(np.sum(rows, axis=0))), tuple(of_sums(rows).tolist())
    return {"ser": Score(value, signature, each, rows, of_sums, better="lower")}


def of_sums(sums: ArrayLike) -> NDArray[np.float64]:
    """The slot error rate, in percent, of summed statistics."""
    missing, wrong, slots = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    return ratio(100 * (missing + wrong), slots)


OF_SUMS = {"ser": of_sums}


@dataclass(frozen=True)
class SlotErrors:
    """The slot errors of one text."""

    missing: int
    """Slots of which the text says nothing that we can find."""
    wrong: int
    """Slots for which the text gives another value instead."""
    slots: int
    """Slots of the MR."""


# Words that may stand between a noun and its judgement: "prices are in the low range", "rated by customers as high".
_LINK = r"(?:(?:a|are|as|at|been|by|customers?|from|has|in|is|it|of|on|quite|ranges?|rat\w+|the|very|was|were) ){0,5}"
_PRICE, _RATING = r"(?:pric\w*|costs?)", r"(?:rat|review|scor|rank|receiv|regard|recommend|feedback)\w*"
_KIDS = r"(?:famil(?:y|ies)|child(?:ren)?|kids?)"
_WELCOME = r"(?:friendl\w*|orient\w*|welcom\w*|allowed|environment)"
_CUISINES = (
    *("Cuban", "Danish", "Ethiopian", "Greek", "Korean", "Lebanese"),
    *("Mexican", "Moroccan", "Peruvian", "Spanish", "Thai", "Turkish"),
)


def _figure(number: str) -> str:
    """A pattern for a rating in figures: '3 out of 5', 'three-star', 'rated 3'."""
    return rf"{number}(?:[ -]stars?)?(?: out of| of|/| to| out) ?(?:5|five)|{number}[ -]stars?|rat\w+ {_LINK}{number}"


# For each slot: wordings (regular expressions on `_plain` text) and the values that each expresses. The first pattern
# that matches uses its words up: "not family-friendly" stands before "family-friendly", and "not cheap" before "cheap".
# A word may stand for a figure ("cheap" for "less than £20", as the annotators did), never a figure for another value.
WORDINGS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "eatType": (
        (r"coffee ?(?:shop|house|bar|place)s?|cafes?", ("coffee shop",)),
        (r"tea ?rooms?", ("tea room",)),
        (r"wine bars?", ("wine bar",)),
        (r"pubs?|bars?|inns?", ("pub",)),
        (r"diners?", ("diner", "restaurant")),
        (r"bistros?", ("bistro", "restaurant")),
        (r"brasseries?", ("brasserie", "restaurant")),
        *((word, (word,)) for word in ("tavern", "grill", "canteen", "cafeteria")),
        (r"restaur?a?nts?|eater(?:y|ies)|eating (?:place|establishment)|dining|places? to eat", ("restaurant",)),
    ),
    "food": (
        (r"fast[ -]?foods?|burgers?|fries|junk food", ("Fast food",)),
        (r"english|british|fish (?:and|&|n) chips|(?:full|traditional) breakfast", ("English",)),
        (r"japanese|sushi|sashimi", ("Japanese",)),
        (r"italian|pasta|pizzas?|spaghetti", ("Italian",)),
        (r"french|wine and cheese|cheeses? and wines?", ("French",)),
        (r"chinese|noodles?", ("Chinese",)),
        (r"indian|curry|curries", ("Indian",)),
        (r"vegetarian|meat-free", ("vegetarian",)),
        (r"seafood|fish and shellfish", ("seafood",)),
        *((cuisine.lower(), (cuisine,)) for cuisine in _CUISINES),
    ),
    "priceRange": (
        (r"(?:under|below|less than) £ ?10", ("under £10",)),
        (r"£ ?15 ?(?:-|to) ?£? ?25|between £ ?15 and £ ?25", ("£15-25",)),
        (r"(?:over|above|more than) £ ?40", ("over £40",)),
        (r"(?:(?:less|lower|cheaper|no more) than|under|below|up to|not over|max\w* of) ?£? ?20", ("less than £20",)),
        (r"£? ?20 ?(?:-|to|and|or) ?£? ?25", ("£20-25",)),
        (r"(?:(?:more|higher|greater) than|upwards of|over|above|from|at least) £? ?30|£ ?30", ("more than £30",)),
        (r"not (?:\w+ )?(?:cheap|inexpensive)", ("high", "more than £30")),
        (r"not (?:\w+ )?(?:expensive|pricey|costly)", ("cheap", "moderate", "less than £20", "£20-25")),
        (
            rf"(?:reasonabl[ey]|fair(?:ly)?|affordabl[ey]|well|good)[ -]{_PRICE}|{_PRICE} {_LINK}(?:reasonable|fair)"
            r"|affordable",
            ("cheap", "moderate", "less than £20", "£20-25"),
        ),
        (
            rf"moderate(?:ly)?[ -]{_PRICE}|mid-?(?:dle)?[ -]?(?:range|priced?)|(?:middle|medium|average)[ -]{_PRICE}"
            rf"|{_PRICE} {_LINK}(?:moderate|average|medium)|moderate(?:ly)?",
            ("moderate", "£20-25"),
        ),
        (
            rf"cheap(?:er|ly)?|inexpensive|budget|easy on the wallet|low(?:er)?[ -]?(?:\w+[ -])?{_PRICE}|low[ -]?end"
            rf"|{_PRICE} {_LINK}low(?:er)?|value|bargain",
            ("cheap", "less than £20"),
        ),
        (
            rf"expensive|pric(?:e)?y|costly|high[ -]?(?:er|ly)?[ -](?:\w+[ -])?(?:{_PRICE}|end)|steep prices|upscale"
            rf"|{_PRICE} {_LINK}high(?:er|ly)?",
            ("high", "more than £30"),
        ),
    ),
    "customer rating": (
        (_figure("(?:2|two)"), ("2 out of 5",)),
        (_figure("(?:4|four)"), ("4 out of 5",)),
        (_figure("(?:1|one|single)"), ("1 out of 5",)),
        (_figure("(?:3|three)"), ("3 out of 5",)),
        (_figure("(?:5|five)"), ("5 out of 5",)),
        (
            rf"(?:not|isn't) (?:\w+ ){{0,2}}(?:well|highly|good|high)[ -]?{_RATING}"
            rf"|(?:low\w*|poor\w*|bad\w*|terrible|below average)[ -](?:customer[ -])?{_RATING}"
            rf"|{_RATING} {_LINK}(?:low|poor|bad)\w*|disappoints",
            ("low", "1 out of 5"),
        ),
        (
            rf"(?:average|mixed|moderate|decent|mediocre|medium)(?:ly)?[ -](?:customer[ -])?{_RATING}"
            rf"|{_RATING} {_LINK}(?:average|moderate|decent|mediocre|medium)\w*",
            ("average", "3 out of 5"),
        ),
        (
            rf"(?:high\w*|well|good|great|excellent|top|best|outstanding|positive)[ -](?:customer[ -])?{_RATING}"
            rf"|{_RATING} {_LINK}(?:high|good|great|excellent|well|outstanding|top)\w*|delights",
            ("high", "5 out of 5"),
        ),
    ),
    "area": (
        (
            r"city ?-?cent(?:re|er)|cent(?:re|er) (?:of )?(?:the )?city|town cent(?:re|er)|downtown"
            r"|(?:in|of) the cent(?:re|er)|central|(?:in|of) (?:the )?(?:\w+ )?city",
            ("city centre",),
        ),
        (r"river ?-?(?:side|bank|front)?|waterside|waterfront", ("riverside",)),
        (r"university district|student district", ("university district",)),
        (r"east end|east side", ("east end",)),
        (r"west end|west side", ("west end",)),
        (r"hilltop|top of the hill", ("hilltop",)),
        (r"suburbs|edge of town", ("suburbs",)),
        *((word, (word,)) for word in ("old town", "harbour", "market square")),
    ),
    "familyFriendly": (
        (
            r"(?:not?(?! far)|non|isn't|aren't|doesn't|don't|without|never|unsuitable|lack(?:s|ing)?|avoid)"
            rf"[ -](?:(?!and |but |cheap )[^\s,.;]+ ){{0,5}}?{_KIDS}(?!\w)(?:[ -]{_WELCOME})?"
            rf"|{_KIDS}[ -](?:(?!and |but )[^\s,.;]+ ){{0,2}}?(?:unfriendly|not|isn't|aren't)(?! far)(?: \w+)?"
            r"|adults?(?:[ -]only)?|turns children away|leave the kids|child-?free",
            ("no",),
        ),
        (rf"{_KIDS}(?:'s)?(?:[ -]{_WELCOME})?|all ages", ("yes",)),
    ),
}


def parse_mr(source: str) -> tuple[tuple[str, str], ...]:
    """The (slot, value) pairs of an MR such as `name[Aromi], food[Thai]`, in order.

    Raises ValueError, naming the text, when it is no MR.
    """
    pattern = r"\s*([^,\[\]]+?)\s*\[([^\[\]]*)\]\s*"
    if not re.fullmatch(rf"{pattern}(?:,{pattern})*", source):
        raise ValueError(f"not a meaning representation like 'name[Aromi], food[Thai]': {source!r}")
    return tuple((match[1], match[2].strip()) for match in re.finditer(pattern, source))


def _plain(text: str) -> str:
    """`text` without case, accents, typographic quotes and dashes, or runs of spaces."""
    text = re.sub("[\u2018\u2019]", "'", re.sub("[\u2013\u2014]", "-", text))
    letters = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(letter for letter in letters if not unicodedata.combining(letter)).split())


@cache
def _compiled(slot: str) -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    return tuple((re.compile(rf"(?<!\w)(?:{pattern})(?!\w)"), values) for pattern, values in WORDINGS.get(slot, ()))


@cache
def _known(slot: str) -> frozenset[str]:
    """The values of `slot` that have wordings."""
    return frozenset(value for _, values in _compiled(slot) for value in values)


def _phrase(value: str) -> re.Pattern[str]:
    """A pattern for `value` itself, as whole words; "The" in front may be left out."""
    return re.compile(rf"(?<!\w){re.escape(_plain(value).removeprefix('the '))}(?!\w)")


def _realised(slot: str, text: str) -> set[str]:
    """The values of `slot` that plain `text` expresses, of those in WORDINGS."""
    realised: set[str] = set()
    for pattern, values in _compiled(slot):
        text, count = pattern.subn(" ; ", text)
        if count:
            realised.update(values)
    return realised


def slot_errors(source: str, text: str) -> SlotErrors:
    """Compare `text` with the MR `source`, slot by slot.

    A slot is right if its value is expressed, whatever else is; wrong if another value of it is instead; else missing.
    A value without wordings of its own (a name, a place) must stand in the text as it is.
    Raises ValueError when `source` is no MR.
    """
    slots = parse_mr(source)
    rest = _plain(text)
    missing = wrong = 0
    # Names go first and are blanked: "Raja Indian Cuisine" is no food, "Café Rouge" no coffee shop.
    for slot, value in sorted(slots, key=lambda pair: (pair[0] not in ("name", "near"), -len(pair[1]))):
        if slot in ("name", "near"):
            rest, count = _phrase(value).subn(" ; ", rest)
            missing += count == 0
            continue
        realised = _realised(slot, rest)
        if value in realised or (value not in _known(slot) and _phrase(value).search(rest)):
            continue
        wrong += bool(realised)
        missing += not realised
    return SlotErrors(missing, wrong, len(slots))


def slot_error_rate(sources: Sequence[str], texts: Sequence[str]) -> float:
    """Missing and wrong slots per slot, over the whole corpus: 0 is best. Raises ValueError on unequal or no inputs."""
    if len(sources) != len(texts) or not sources:
        raise ValueError(f"slot_error_rate needs as many texts as sources, and some: {len(texts)} and {len(sources)}")
    errors = [slot_errors(source, text) for source, text in zip(sources, texts, strict=True)]
    return sum(e.missing + e.wrong for e in errors) / sum(e.slots for e in errors)
