"""LoRA with a start of its own: EVA, CorDA and LoRA-GA take it from training data, by PEFT; LoftQ from rounding."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from harness.methods import Site
from harness.methods.lora import Lora

if TYPE_CHECKING:
    import torch

START = "start.safetensors"
"""The A and B of the start, by layer: what was taken out of the base's weights."""


class DataInitialised(Lora):
    """LoRA that looks at `batches` training batches before it starts."""

    batches: Annotated[int, Field(ge=1)]

    def inputs(self, site: Site) -> list[dict[str, torch.Tensor]]:
        """The first training batches."""
        return list(islice(site.batches(), self.batches))


class Eva(DataInitialised):
    """EVA (Paischer et al. 2024, https://arxiv.org/abs/2410.07170): the rows of A are the right singular vectors of a
    layer's inputs, B is zero. PEFT goes through the batches again and again until the vectors no longer move."""

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        return {"init_lora_weights": "eva"} | super().fields(model, site)

    def apply(self, model: Any, site: Site) -> Any:
        from peft import initialize_lora_eva_weights

        adapted = super().apply(model, site)
        initialize_lora_eva_weights(adapted, self.inputs(site), show_progress_bar=False)
        return adapted


class Rewriting(DataInitialised):
    """An initialisation with neither A nor B zero, whose product is taken out of the base's weights. `save` keeps the
    A and B of the start, and `load` takes their product out of a fresh base in the same way, so that no data are needed
    and the weights have the same bits."""

    def prepare(self, model: Any, config: Any, site: Site) -> None:
        """PEFT's look at the data; it leaves what it saw on the layers of `model`."""
        raise NotImplementedError

    def remove(self, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scaling: float) -> torch.Tensor:
        """The base's weight [out, in] without the product, in PEFT's order of operations."""
        return (weight.float() - scaling * (b.float() @ a.float())).to(weight.dtype)

    def apply(self, model: Any, site: Site) -> Any:
        training = model.training
        self.ready(model, site.modules)
        self.prepare(model, self.config(model, site), site)
        model.train(training)
        adapted = super().apply(model, site)
        adapted.start = {
            f"{name}.{side}": getattr(layer, f"lora_{side}")["default"].weight.detach().clone()
            for name, layer in adapted.get_base_model().named_modules()
            if hasattr(layer, "lora_A")
            for side in "AB"
        }
        return adapted

    def kept_bytes(self, model: Any, dtype: torch.dtype) -> int:
        start: int = sum(each.nbytes for each in model.start.values())
        return super().kept_bytes(model, dtype) + start

    def save(self, model: Any, folder: Path) -> int:
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in model.start.items()}, folder / START)
        return super().save(model, folder)

    def load(self, model: Any, folder: Path) -> Any:
        from peft import PeftConfig, PeftModel
        from safetensors.torch import load_file

        config: Any = PeftConfig.from_pretrained(str(folder))
        self.ready(model, list(config.target_modules))
        start = load_file(folder / START)
        for name in {key.rpartition(".")[0] for key in start}:
            layer = model.get_submodule(name)
            a, b = (start[f"{name}.{side}"].to(layer.weight.device) for side in "AB")
            layer.weight.data = self.remove(layer.weight.data, a, b, self.alpha / self.rank)
        config.init_lora_weights = True
        config.corda_config = config.lora_ga_config = None
        return PeftModel.from_pretrained(model, str(folder), config=config)


class Corda(Rewriting):
    """CorDA (Yang et al. 2024, https://arxiv.org/abs/2406.05223): A and B are the first singular components of W C,
    with C the covariance of the layer's inputs, times the inverse of C (its instruction-previewed mode)."""

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        return {"init_lora_weights": "corda", "corda_config": {}} | super().fields(model, site)

    def prepare(self, model: Any, config: Any, site: Site) -> None:
        import torch
        from peft.tuners.lora.corda import preprocess_corda

        @torch.no_grad()
        def read() -> None:
            for batch in self.inputs(site):
                for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
                    model(input_ids=ids[mask.bool()][None])  # PEFT would count padding as text

        preprocess_corda(model, config, run_model=read)

    def remove(self, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scaling: float) -> torch.Tensor:
        return (weight.float() - scaling * b.float() @ a.float()).to(weight.dtype)


class LoraGa(Rewriting):
    """LoRA-GA (Wang et al. 2024, https://arxiv.org/abs/2407.05000): A and B are singular vectors of the weight's
    gradient, so that the first step goes where full fine-tuning's would."""

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        return {"init_lora_weights": "lora_ga", "lora_ga_config": {}} | super().fields(model, site)

    def prepare(self, model: Any, config: Any, site: Site) -> None:
        from peft.tuners.lora.loraga import preprocess_loraga

        def train() -> None:
            for batch in self.inputs(site):
                model(**batch).loss.backward()

        preprocess_loraga(model, config, train)


class LoftQ(Lora):
    """LoftQ (Li et al. 2023, https://arxiv.org/abs/2310.08659, algorithm 1) with NormalFloat of 4 bits in blocks of 64:
    `Q = round(W - B A)`, then B A the best product for W - Q, `iterations` times. PEFT's own needs a GPU."""

    iterations: Annotated[int, Field(ge=1)]

    def apply(self, model: Any, site: Site) -> Any:
        adapted = super().apply(model, site)
        for layer in adapted.get_base_model().modules():
            if hasattr(layer, "lora_A"):
                a, b = self.round(layer.get_base_layer())
                layer.lora_A["default"].weight.data.copy_(a)
                layer.lora_B["default"].weight.data.copy_(b)
        return adapted

    def load(self, model: Any, folder: Path) -> Any:
        adapted = super().load(model, folder)
        for layer in adapted.get_base_model().modules():
            if hasattr(layer, "lora_A"):
                self.round(layer.get_base_layer())
        return adapted

    def round(self, layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Rounds the layer's weight in place; A [rank, in] and B [out, rank] for what that took away."""
        import torch
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        scaling = self.alpha / self.rank
        weight = layer.weight.data.float()
        product = torch.zeros_like(weight)
        for _ in range(self.iterations):
            rounded = dequantize_4bit(*quantize_4bit(weight - product, blocksize=64, quant_type="nf4"))
            left, values, right = torch.linalg.svd(weight - rounded, full_matrices=False)
            roots = (values[: self.rank] / scaling).sqrt()
            a, b = roots[:, None] * right[: self.rank], left[:, : self.rank] * roots
            product = scaling * b @ a
        layer.weight.data = rounded.to(layer.weight.dtype)
        return a, b
