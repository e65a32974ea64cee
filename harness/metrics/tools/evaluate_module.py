"""The families of `harness.metrics` as metrics of the library `evaluate`:
`evaluate.load("harness/metrics/tools/evaluate_module.py", "bleu")`."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from harness import metrics


class Family(evaluate.Metric):  # type: ignore[misc]
    """`compute(predictions=…, references=…)` gives each score of the family, and with `signatures=True` what it is.

    References are a list of texts for each prediction. Nothing is fetched.
    """

    def _info(self) -> Any:
        names = metrics.families()
        if self.config_name not in names:
            raise ValueError(f"evaluate.load: name a family of scores as its second argument: {', '.join(names)}")
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=f"The family `{self.config_name}` of harness.metrics.",
            citation="",
            inputs_description="predictions: texts. references: for each prediction a list of texts, or one text.",
            features=[
                datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
                datasets.Features({"predictions": text, "references": text}),
            ],
        )

    def _compute(
        self, predictions: list[str], references: list[Any], sources: list[str] | None = None, signatures: bool = False
    ) -> dict[str, Any]:
        groups = [[each] if isinstance(each, str) else each for each in references]
        scores = metrics.compute([self.config_name], predictions, groups, sources)
        values: dict[str, Any] = {n: None if s.value is None else s.value * s.official for n, s in scores.items()}
        return values | ({"signatures": {n: s.signature for n, s in scores.items()}} if signatures else {})
