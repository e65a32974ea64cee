"""Methods that put trained vectors before the text: as embeddings, or as keys and values of every layer; by PEFT."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from harness.errors import UserError
from harness.methods import Method, Site

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig


def token_ids(site: Site, text: str, count: int) -> torch.Tensor:
    """The ids [count] of a text's tokens, repeated or cut."""
    import torch

    ids = site.tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise UserError("method.init_text: has no tokens; give a text")
    return torch.tensor((ids * (count // len(ids) + 1))[:count])


class InputVectors(Method):
    """Trained embeddings before the text."""

    lr: Annotated[float, Field(gt=0)]

    @abstractmethod
    def config(self, model: Any, site: Site) -> Any:
        """PEFT's configuration."""

    def apply(self, model: Any, site: Site) -> Any:
        from peft import get_peft_model

        return get_peft_model(model, self.config(model, site))

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


class PromptTuning(InputVectors):
    """Prompt tuning (Lester et al. 2021, https://arxiv.org/abs/2104.08691)."""

    virtual_tokens: Annotated[int, Field(ge=1)]
    init: Literal["vocabulary", "random", "text"]
    init_text: str
    """With `init=text`: the vectors start as the embeddings of its tokens, repeated or cut to `virtual_tokens`."""

    def config(self, model: Any, site: Site) -> Any:
        from peft import PromptTuningConfig, PromptTuningInit

        start = PromptTuningInit.SAMPLE_VOCAB if self.init == "vocabulary" else PromptTuningInit.RANDOM
        return PromptTuningConfig(
            task_type=site.task_type,
            num_virtual_tokens=self.virtual_tokens,
            num_transformer_submodules=1,  # before the encoder's text alone, as in the paper; PEFT adds the decoder's
            prompt_tuning_init=start,
        )

    def apply(self, model: Any, site: Site) -> Any:
        embeddings = model.get_input_embeddings()
        adapted = super().apply(model, site)
        if self.init == "text":
            ids = token_ids(site, self.init_text, self.virtual_tokens).to(embeddings.weight.device)
            adapted.prompt_encoder["default"].embedding.weight.data.copy_(embeddings(ids).detach())
        return adapted


class PTuning(InputVectors):
    """P-tuning (Liu et al. 2021, https://arxiv.org/abs/2103.10385): the vectors come out of a network, an MLP of three
    layers or a bidirectional LSTM with an MLP of two. Only what comes out is saved."""

    virtual_tokens: Annotated[int, Field(ge=1)]
    encoder: Literal["mlp", "lstm"]
    hidden_size: Annotated[int, Field(ge=1)]
    """Width of the network."""

    def config(self, model: Any, site: Site) -> Any:
        from peft import PromptEncoderConfig

        return PromptEncoderConfig(
            task_type=site.task_type,
            num_virtual_tokens=self.virtual_tokens,
            encoder_reparameterization_type=self.encoder.upper(),
            encoder_hidden_size=self.hidden_size,
        )

    def save(self, model: Any, folder: Path) -> int:
        import torch

        # With and without gradients torch computes an LSTM in different ways, unlike in the last bits.
        with torch.no_grad():
            return super().save(model, folder)


class PrefixTuning(Method):
    """Trained keys and values before the text in every layer (Li and Liang 2021, https://arxiv.org/abs/2101.00190),
    without reparameterization. They start as the keys and values of a real text, as their section 4.3 advises: drawn at
    random they break the model, and most of a short training goes into mending it."""

    recomputes: ClassVar[bool] = False  # transformers drops keys and values from before where it computes blocks again

    lr: Annotated[float, Field(gt=0)]
    virtual_tokens: Annotated[int, Field(ge=1)]
    init_text: Annotated[str, Field(min_length=1)]
    """Text to start from; repeated, or cut, to `virtual_tokens` tokens."""

    def apply(self, model: Any, site: Site) -> Any:
        import torch
        from peft import PrefixTuningConfig, get_peft_model

        ids = token_ids(site, self.init_text, self.virtual_tokens).to(model.get_input_embeddings().weight.device)
        with torch.no_grad():
            cache = model(input_ids=ids[None], use_cache=True).past_key_values
        config = PrefixTuningConfig(task_type=site.task_type, num_virtual_tokens=self.virtual_tokens)
        adapted: Any = get_peft_model(model, config)
        # PEFT reads a row as layer by layer the keys of all heads, then the values: [tokens, layers * 2 * heads * size]
        pairs = [states for layer in cache.layers for states in (layer.keys, layer.values)]
        rows = torch.cat([states[0].transpose(0, 1).flatten(1) for states in pairs], dim=1)
        encoder: Any = adapted.prompt_encoder["default"]
        encoder.embedding.weight.data.copy_(rows)
        return adapted


class ReparameterizedPrefix(Method):
    """Prefix tuning as its authors train it: keys and values come out of an MLP of two layers that all layers share.
    Only what comes out is saved."""

    recomputes: ClassVar[bool] = False  # as of prefix tuning

    lr: Annotated[float, Field(gt=0)]
    virtual_tokens: Annotated[int, Field(ge=1)]
    hidden_size: Annotated[int, Field(ge=1)]
    """Width between the MLP's two layers."""

    def apply(self, model: Any, site: Site) -> Any:
        from peft import PrefixTuningConfig, get_peft_model

        config = PrefixTuningConfig(
            task_type=site.task_type,
            num_virtual_tokens=self.virtual_tokens,
            prefix_projection=True,
            encoder_hidden_size=self.hidden_size,
        )
        return get_peft_model(model, config)
