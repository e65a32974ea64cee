"""A method of one's own: trains the weights that make values in attention, and keeps nothing but those."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from harness.errors import UserError
from harness.methods.selective import Selective


class ValueWeights(Selective):
    """The value projections of one layer in `every`. Its fields are the settings in value_weights.yaml."""

    every: Annotated[int, Field(ge=1)]

    def chosen(self, model: Any) -> list[Any]:
        values = [p for name, p in model.named_parameters() if "v_proj" in name]
        if not values:
            raise UserError(f"method={self.name}: {model.config.model_type} has no v_proj; take another model")
        return values[:: self.every]
