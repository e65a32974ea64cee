"""Methods that put trained vectors before the text: prompt tuning and prefix tuning, by PEFT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from harness.methods import Method

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig


class PromptTuning(Method):
    """Trained embeddings before the text (Lester et al. 2021, https://arxiv.org/abs/2104.08691)."""

    lr: Annotated[float, Field(gt=0)]
    virtual_tokens: Annotated[int, Field(ge=1)]
    init: Literal["vocabulary", "random"]

    def apply(self, model: Any, targets: dict[str, list[str]]) -> Any:
        from peft import PromptTuningConfig, PromptTuningInit, get_peft_model

        start = PromptTuningInit.SAMPLE_VOCAB if self.init == "vocabulary" else PromptTuningInit.RANDOM
        config = PromptTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=self.virtual_tokens, prompt_tuning_init=start
        )
        return get_peft_model(model, config)

    def generate(
        self, model: Any, ids: torch.Tensor, mask: torch.Tensor, config: GenerationConfig
    ) -> torch.Tensor:
        """As the base class says. PEFT would put the vectors before the padding, so that a text's outcome depends on
        how much padding its batch has; here they come after the padding, right before the text."""
        import torch

        base = model.get_base_model()
        embedded = base.get_input_embeddings()(ids)
        batch, length, width = embedded.shape
        vectors = model.get_prompt(batch_size=batch).to(embedded.dtype)
        count = vectors.shape[1]
        inputs = embedded.new_zeros(batch, count + length, width)
        for row in range(batch):
            padding = int((mask[row] == 0).sum())
            inputs[row, padding : padding + count] = vectors[row]
            inputs[row, padding + count :] = embedded[row, padding:]
        attention = torch.cat([mask, mask.new_ones(batch, count)], dim=1)
        tokens: torch.Tensor = base.generate(
            inputs_embeds=inputs, attention_mask=attention, generation_config=config
        )
        return tokens


class PrefixTuning(Method):
    """Trained keys and values before the text in every layer (Li and Liang 2021, https://arxiv.org/abs/2101.00190),
    without reparameterization."""

    lr: Annotated[float, Field(gt=0)]
    virtual_tokens: Annotated[int, Field(ge=1)]

    def apply(self, model: Any, targets: dict[str, list[str]]) -> Any:
        from peft import PrefixTuningConfig, get_peft_model

        config = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=self.virtual_tokens)
        return get_peft_model(model, config)
