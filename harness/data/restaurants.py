"""Restaurant descriptions in the form of the E2E NLG data, generated: an English data set that needs no download.

A source is a meaning representation (MR) such as `name[The Copper Kettle], eatType[bistro], food[Thai]`; its references
are three to six different ways to say exactly that. The form is that of Novikova et al. 2017, "The E2E Dataset"
(https://aclanthology.org/W17-5525); every name, value and wording was written for this project.

The words are in `assets/restaurants.yaml`. Read this file from the bottom: `make_splits` draws MRs and splits them,
`describe` words one MR, `_Telling` is the grammar.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from harness.data import Example, Splits

MIN_SIZE, MAX_SIZE = 30, 20_000
SLOTS = ("name", "eatType", "food", "priceRange", "customer rating", "area", "familyFriendly", "near")
JUDGED = ("customer rating", "priceRange", "familyFriendly")

Wordings = Mapping[str, Sequence[str]]
"""How to say each value of a slot, the usual wording first."""


@dataclass(frozen=True)
class Words:
    """What the generator can talk about, and how."""

    names: tuple[str, ...]
    """Every restaurant name: 'The Copper Kettle', "Marlow's Table", 'Thyme and Barley'."""
    landmarks: tuple[str, ...]
    """Values of the slot `near`."""
    near: Sequence[str]
    """Prepositions before a landmark."""
    nouns: Wordings
    """eatType -> noun."""
    untyped: Sequence[str]
    """Nouns for a restaurant without an eatType."""
    foods: Wordings
    """food -> what is served."""
    serves: Sequence[str]
    serving: Sequence[str]
    areas: Wordings
    """area -> where it is, with its preposition."""
    judgements: Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]]
    """slot -> value -> form -> wordings; the forms are adjective (may be empty), feature (after 'with'), predicate."""

    def values(self) -> dict[str, Sequence[str]]:
        """Every slot but the name with the values it can take, in a fixed order."""
        judged = {slot: tuple(self.judgements[slot]) for slot in JUDGED}
        known = {"eatType": tuple(self.nouns), "food": tuple(self.foods), "area": tuple(self.areas), **judged}
        return {slot: known.get(slot, self.landmarks) for slot in SLOTS if slot != "name"}


@cache
def words() -> Words:
    """The vocabulary of `assets/restaurants.yaml`."""
    data = yaml.safe_load(files("harness.data").joinpath("assets/restaurants.yaml").read_text(encoding="utf-8"))
    name = data["names"]
    names = (
        *(f"The {first} {thing}" for first in name["after_the"] for thing in name["things"]),
        *(f"{first} {thing}" for first in name["alone"] for thing in name["things"]),
        *(f"{owner}'s {belonging}" for owner in name["owners"] for belonging in name["belongings"]),
        *(f"{first} and {second}" for first in name["herbs"] for second in name["herbs"] if first != second),
    )
    mark = data["landmarks"]
    cuisines = {cuisine: [form.format(cuisine) for form in data["cuisine"]] for cuisine in data["cuisines"]}
    return Words(
        names=names,
        landmarks=tuple(f"{first} {kind}" for first in mark["first"] for kind in mark["kinds"]),
        near=data["near"],
        nouns=data["eatType"],
        untyped=data["untyped"],
        foods={**cuisines, **data["food"]},
        serves=data["serves"],
        serving=data["serving"],
        areas=data["area"],
        judgements=data["judgements"],
    )


def _pick(options: Sequence[str], rng: random.Random) -> str:
    """One of `options`, the earlier ones more often, as speakers do."""
    return options[int(rng.random() ** 1.2 * len(options))]


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiouAEIOU" else f"a {phrase}"


def _list(parts: Sequence[str]) -> str:
    """'A', 'A and B', 'A, B and C'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


class _Telling:
    """One reference in the making: the slots of an MR, and which of them have not been said yet (`left`)."""

    def __init__(self, slots: Mapping[str, str], rng: random.Random) -> None:
        self.slots = slots
        self.rng = rng
        self.words = words()
        self.left = [slot for slot in SLOTS if slot in slots and slot != "name"]
        self.noun = _pick(self.words.nouns[slots["eatType"]] if "eatType" in slots else self.words.untyped, rng)

    def take(self, slot: str, chance: float) -> bool:
        """Whether to say `slot` now; never twice."""
        if slot not in self.left or self.rng.random() >= chance:
            return False
        self.left.remove(slot)
        return True

    def judgement(self, slot: str, form: str) -> str:
        return _pick(self.words.judgements[slot][self.slots[slot]][form], self.rng)

    def dishes(self) -> str:
        return _pick(self.words.foods[self.slots["food"]], self.rng)

    def place(self, chance: float) -> str:
        """'in the old town near Hollis Books', either half, or nothing."""
        parts = []
        if self.take("area", chance):
            parts.append(_pick(self.words.areas[self.slots["area"]], self.rng))
        if self.take("near", chance):
            parts.append(f"{_pick(self.words.near, self.rng)} {self.slots['near']}")
        return " ".join(parts)

    def noun_phrase(self, called: str = "", chance: float = 0.6) -> str:
        """'a cheap Thai bistro [called X] in the old town with poor reviews': the eatType and some of what is left."""
        bare = "eatType" not in self.slots  # "a place" alone would say nothing: it must get one attribute
        self.take("eatType", 1.0)
        able = [s for s in JUDGED if s in self.left and self.words.judgements[s][self.slots[s]]["adjective"]]
        before = [self.judgement(slot, "adjective") for slot in able if self.take(slot, 0.45)]
        parts = [", ".join(before)] if before else []
        if self.take("food", 1.0 if bare and not before else 0.45):
            parts.append(self.slots["food"])
        bare = bare and not parts
        parts = [_article(" ".join([*parts, self.noun]))]
        if called:
            parts.append(f"called {called}")
        if self.take("food", chance):
            parts.append(f"{_pick(self.words.serving, self.rng)} {self.dishes()}")
        if place := self.place(chance):
            parts.append(place)
        features = [self.judgement(slot, "feature") for slot in JUDGED if self.take(slot, 1.0 if bare else 0.25)]
        if features:
            parts.append(f"with {_list(features)}")
        return " ".join(parts)

    def predicate(self) -> str:
        """The next thing unsaid, without its subject: 'serves Thai food', 'is near Hollis Books'."""
        slot = self.left[0]
        if slot == "eatType":
            return f"is {self.noun_phrase(chance=0.3)}"
        if slot in ("area", "near"):
            return f"{_pick(('is', 'lies', 'can be found'), self.rng)} {self.place(1.0)}"
        self.left.remove(slot)
        if slot == "food":
            return f"{_pick(self.words.serves, self.rng)} {self.dishes()}"
        return self.judgement(slot, "predicate")

    def predicates(self, most: int) -> str:
        """Up to `most` things unsaid in one verb phrase: 'is cheap and family-friendly'."""
        coming = self.left[:most]
        parts: list[str] = []
        while self.left and len(parts) < most:
            parts.append(self.predicate())
        verb = parts[0].split(" ", 1)[0]
        # One verb serves all judgements where it can; "is not cheap and family-friendly" would negate both.
        together = len(parts) > 1 and verb in ("is", "has") and all(slot in JUDGED for slot in coming)
        if together and all(part.startswith(f"{verb} ") and " not " not in part for part in parts):
            return f"{verb} {_list([part[len(verb) + 1 :] for part in parts])}"
        return _list(parts)

    def rest(self) -> list[str]:
        """Sentences for everything still unsaid."""
        sentences: list[str] = []
        while self.left:
            subject = _pick(("It", f"The {self.noun}", f"This {self.noun}")[: 2 if sentences else 3], self.rng)
            if "eatType" in self.left:  # what it is comes before what it is like
                self.left.remove("eatType")
                if not self.left:
                    sentences.append(f"It is {_article(self.noun)}")
                    break
                subject = f"This {self.noun}"
            sentences.append(f"{subject} {self.predicates(self.rng.randint(1, 3))}")
        return sentences


def _is_a(telling: _Telling, name: str) -> str:
    text = f"{name} is {telling.noun_phrase()}"
    # "near X that is by the river" or "with high prices that is cheap" would say it of the wrong noun
    if telling.left and telling.left[0] in ("food", *JUDGED) and " with " not in text and telling.rng.random() < 0.4:
        text += f" that {telling.predicates(2)}"
    return text


def _there_is(telling: _Telling, name: str) -> str:
    return f"There is {telling.noun_phrase(called=name)}"


def _place_first(telling: _Telling, name: str) -> str:
    place = telling.place(1.0)
    link = _pick((f"{name} is", f"you will find {name},"), telling.rng)
    return f"{place[0].upper()}{place[1:]}, {link} {telling.noun_phrase()}"


def _apposition(telling: _Telling, name: str) -> str:
    phrase = telling.noun_phrase(chance=0.3)
    return f"{name}, {phrase}, {telling.predicates(2)}" if telling.left else f"{name} is {phrase}"


def _predicates_first(telling: _Telling, name: str) -> str:
    if telling.left[0] == "eatType":
        telling.left.append(telling.left.pop(0))  # what it is comes later: "This bistro is cheap."
    return f"{name} {telling.predicates(2)}"


def _advice(telling: _Telling, name: str) -> str:
    telling.left.remove("food")
    opening = _pick(("For {}", "If you want {}", "Anyone who likes {} should"), telling.rng).format(telling.dishes())
    return f"{opening}{'' if opening.endswith('should') else ','} try {name}, {telling.noun_phrase()}"


def describe(slots: Mapping[str, str], plan: int, rng: random.Random) -> str:
    """One fluent text that says every slot of `slots` and nothing else.

    `slots` holds a name, any text, and two or more slots of `Words.values()`. `plan` chooses among the ways to open
    that suit these slots; any number will do.
    """
    plans = [_predicates_first]
    if slots.keys() & {"eatType", "food", *JUDGED}:  # else there is nothing to say but where it is
        plans += [_is_a, _apposition]
        if "area" in slots or "near" in slots:
            plans.append(_place_first)
        if "eatType" in slots:
            plans += [_there_is, _advice] if "food" in slots else [_there_is]
    telling = _Telling(slots, rng)
    opening = plans[plan % len(plans)](telling, slots["name"])
    return ". ".join([opening, *telling.rest()]) + "."


def to_source(slots: Mapping[str, str]) -> str:
    """`slots` as an MR, in E2E's order of slots."""
    return ", ".join(f"{slot}[{slots[slot]}]" for slot in SLOTS if slot in slots)


def _draw_attributes(values: Mapping[str, Sequence[str]], rng: random.Random) -> dict[str, str]:
    """Everything of an MR but its name: two to seven slots, most often four or five."""
    count = rng.choices((2, 3, 4, 5, 6, 7), weights=(5, 15, 30, 30, 15, 5))[0]
    return {slot: rng.choice(values[slot]) for slot in rng.sample(tuple(values), count)}


def _references(slots: Mapping[str, str], rng: random.Random) -> tuple[str, ...]:
    """Three to six different texts for one MR, opening in different ways."""
    wanted = rng.randint(3, 6)
    plan = rng.randrange(60)  # 60 = the least common multiple of the numbers of plans, so that each may come first
    texts: dict[str, None] = {}  # a dict, not a set: the order must not depend on hashes
    while len(texts) < wanted:
        texts[describe(slots, plan, rng)] = None
        plan += 1
    return tuple(texts)


def make_splits(size: int, seed: int) -> Splits:
    """`size` MRs with their references: 80% for training, 10% for validation, 10% for test.

    Equal arguments give equal data in every process. No two MRs share their attributes (all slots but the name), so the
    attribute combinations of validation and test are new; no name of the test split occurs in the others.
    Raises ValueError when `size` is not within MIN_SIZE and MAX_SIZE.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"restaurants: size={size} cannot be generated; choose {MIN_SIZE} to {MAX_SIZE} descriptions")
    rng = random.Random(seed)
    names, values = list(words().names), words().values()
    rng.shuffle(names)
    unseen, known = names[: len(names) // 10], names[len(names) // 10 :]
    held_out = size // 10
    seen: set[str] = set()
    examples: list[Example] = []
    while len(examples) < size:
        attributes = _draw_attributes(values, rng)
        key = to_source(attributes)
        if key in seen:
            continue
        seen.add(key)
        slots = {"name": rng.choice(unseen if len(examples) < held_out else known), **attributes}
        examples.append(Example(to_source(slots), _references(slots, rng)))
    return Splits(
        train=tuple(examples[2 * held_out :]),
        validation=tuple(examples[held_out : 2 * held_out]),
        test=tuple(examples[:held_out]),
    )
