"""Which food a restaurant serves, told from its description: a classification task that needs no network."""

from __future__ import annotations

from harness.data import Example, Source, Splits
from harness.data.restaurants import make_splits, words
from harness.errors import UserError
from harness.metrics.slots import parse_mr


class Cuisine(Source):
    """Descriptions of the embedded restaurants; the class is the food of the meaning representation."""

    size: int
    """Meaning representations over all splits; those that name no food are left out."""
    seed: int

    def load(self) -> Splits:
        try:
            splits = make_splits(self.size, self.seed)
        except ValueError as error:
            raise UserError(f"data.size: {error}") from None
        return Splits(*(self._labelled(each) for each in (splits.train, splits.validation, splits.test)))

    def _labelled(self, examples: tuple[Example, ...]) -> tuple[Example, ...]:
        pairs = [(example.references[0], dict(parse_mr(example.source)).get("food")) for example in examples]
        labelled = tuple(Example(text, (food,)) for text, food in pairs if food)
        if stray := {e.references[0] for e in labelled} - set(self.classes or ()):
            raise UserError(f"data.classes: lacks {', '.join(sorted(stray))}; the foods are {', '.join(words().foods)}")
        return labelled
