"""Context-aware prompt tuning, CPT (Blau et al. 2024, https://arxiv.org/abs/2410.17222), by PEFT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.methods import Site
from harness.methods.soft_prompts import InputVectors

if TYPE_CHECKING:
    import torch

INPUT, LABEL, KINDS = 2, 4, 4
"""PEFT's kinds of token in an example of the context: 2 input, 4 answer; those of the i-th are 4 i higher."""


class ContextPromptTuning(InputVectors):
    """Solved training examples before the text, whose input embeddings are moved within a ball of radius `epsilon`.

    The embeddings of answers stay. The answers are trained on, too (the paper's equation 4), the n-th from the text
    weighing `decay ** n`: here as a penalty, the weighted mean over their tokens.
    """

    examples: Annotated[int, Field(ge=1)]
    """Examples in the context: the first ones of the training's order."""
    epsilon: Annotated[float, Field(gt=0)]
    """Radius, for a width of 2,048; it grows with the width's square root."""
    decay: Annotated[float, Field(gt=0, le=1)]

    def config(self, model: Any, site: Site) -> Any:
        from peft import CPTConfig

        ids, kinds = self._context(site)
        return CPTConfig(
            task_type=site.task_type,
            cpt_token_ids=ids,
            cpt_mask=[1] * len(ids),
            cpt_tokens_type_mask=kinds,
            opt_projection_epsilon=self.epsilon,
            opt_weighted_loss_type="decay",
            opt_loss_decay_factor=self.decay,
        )

    def _context(self, site: Site) -> tuple[list[int], list[int]]:
        """The ids of the context's tokens, and their kinds."""
        ids: list[int] = []
        kinds: list[int] = []
        complete = 0
        for batch in site.batches():
            for row, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
                length = int(mask.sum())
                ids += row[:length].tolist()
                kinds += [KINDS * complete + (INPUT if x == -100 else LABEL) for x in labels[:length].tolist()]
                complete += 1
                if complete == self.examples:
                    return ids, kinds
        raise AssertionError("training batches never end")

    def apply(self, model: Any, site: Site) -> Any:
        adapted = super().apply(model, site)
        encoder = adapted.prompt_encoder["default"]
        # PEFT projects in every forward pass, which would let a validation change the weights' last bits.
        encoder.get_projection = lambda: encoder.delta_embedding.weight.data
        return adapted

    def after_step(self, model: Any, step: int) -> None:
        encoder = model.prompt_encoder["default"]
        encoder.delta_embedding.weight.data.copy_(type(encoder).get_projection(encoder))

    def penalty(self, model: Any) -> torch.Tensor | None:
        import torch

        base, config = model.get_base_model(), model.peft_config["default"]
        embeddings = base.get_input_embeddings().weight
        vectors = model.get_prompt(batch_size=1).to(embeddings.dtype)
        logits = base(inputs_embeds=vectors, use_cache=False).logits[0, :-1].float()
        ids = torch.tensor(config.cpt_token_ids, device=embeddings.device)[1:]
        kinds = torch.tensor(config.cpt_tokens_type_mask, device=embeddings.device)[1:]
        scored = kinds % KINDS == 0
        weights = self.decay ** (self.examples + 1 - kinds[scored] / KINDS)
        losses = torch.nn.functional.cross_entropy(logits[scored], ids[scored], reduction="none")
        mean: torch.Tensor = (weights * losses).mean()
        return mean
