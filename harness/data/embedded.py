"""Restaurant descriptions, generated: data that needs no network."""

from __future__ import annotations

from typing import ClassVar

from harness.data import Source, Splits
from harness.data.restaurants import make_splits
from harness.errors import UserError


class Restaurants(Source):
    """Meaning representations in the E2E form with several references each, drawn with `seed`."""

    mr_form: ClassVar[bool] = True

    size: int
    """Meaning representations over all splits."""
    seed: int

    def load(self) -> Splits:
        try:
            return make_splits(self.size, self.seed)
        except ValueError as error:
            raise UserError(f"data.size: {error}") from None
