"""Methods that put trained vectors before the text: prompt tuning and prefix tuning, by PEFT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from harness.methods import Method, Site

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig


class PromptTuning(Method):
    """Trained embeddings before the text (Lester et al. 2021, https://arxiv.org/abs/2104.08691)."""

    lr: Annotated[float, Field(gt=0)]
    virtual_tokens: Annotated[int, Field(ge=1)]
    init: Literal["vocabulary", "random"]

    def apply(self, model: Any, site: Site) -> Any:
        from peft import PromptTuningConfig, PromptTuningInit, get_peft_model

        start = PromptTuningInit.SAMPLE_VOCAB if self.init == "vocabulary" else PromptTuningInit.RANDOM
        config = PromptTuningConfig(
            task_type=site.task_type, num_virtual_tokens=self.virtual_tokens, prompt_tuning_init=start
        )
        return get_peft_model(model, config)

    def generate(self, model: Any, ids: torch.Tensor, mask: torch.Tensor, config: GenerationConfig) -> torch.Tensor:
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
        tokens: torch.Tensor = base.generate(inputs_embeds=inputs, attention_mask=attention, generation_config=config)
        return tokens


class PrefixTuning(Method):
    """Trained keys and values before the text in every layer (Li and Liang 2021, https://arxiv.org/abs/2101.00190),
    without reparameterization. They start as the keys and values of a real text, as their section 4.3 advises: drawn at
    random they break the model, and most of a short training goes into mending it."""

    lr: Annotated[float, Field(gt=0)]
    virtual_tokens: Annotated[int, Field(ge=1)]
    init_text: Annotated[str, Field(min_length=1)]
    """Text to start from; repeated, or cut, to `virtual_tokens` tokens."""

    def apply(self, model: Any, site: Site) -> Any:
        import torch
        from peft import PrefixTuningConfig, get_peft_model

        count = self.virtual_tokens
        ids = site.tokenizer(self.init_text, add_special_tokens=False)["input_ids"]
        repeated = (ids * (count // len(ids) + 1))[:count]
        with torch.no_grad():
            given = torch.tensor([repeated], device=model.get_input_embeddings().weight.device)
            cache = model(input_ids=given, use_cache=True).past_key_values
        config = PrefixTuningConfig(task_type=site.task_type, num_virtual_tokens=count)
        adapted: Any = get_peft_model(model, config)
        # PEFT reads a row as layer by layer the keys of all heads, then the values: [tokens, layers * 2 * heads * size]
        pairs = [states for layer in cache.layers for states in (layer.keys, layer.values)]
        rows = torch.cat([states[0].transpose(0, 1).flatten(1) for states in pairs], dim=1)
        encoder: Any = adapted.prompt_encoder["default"]
        encoder.embedding.weight.data.copy_(rows)
        return adapted
