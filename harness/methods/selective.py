"""Methods that train a part of the base's own weights and keep nothing but that part."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from harness.errors import UserError
from harness.methods import Method, Site

WEIGHTS = "trained.safetensors"
HEADS = {"score", "classifier"}
"""What transformers calls the new head of a classifier; it is trained by every method, as by PEFT."""

if TYPE_CHECKING:
    import torch


def norms(model: Any) -> list[Any]:
    """All normalizations of a model."""
    return [module for module in model.modules() if "norm" in type(module).__name__.lower()]


class Selective(Method):
    """Trains the parameters that `chosen` names, in fp32, and freezes the rest."""

    trains_base: ClassVar[bool] = True

    lr: Annotated[float, Field(gt=0)]

    @abstractmethod
    def chosen(self, model: Any) -> list[Any]:
        """The parameters to train. Raises UserError where `model` has none."""

    def apply(self, model: Any, site: Site) -> Any:
        model.requires_grad_(False)
        heads = [module for name, module in model.named_children() if name in HEADS and site.kind == "classification"]
        for parameter in [*self.chosen(model), *(p for head in heads for p in head.parameters())]:
            parameter.requires_grad_(True)
        for norm in norms(model):
            # torch's normalization wants its gain and bias in one dtype, and what is trained is fp32.
            if any(parameter.requires_grad for parameter in norm.parameters()):
                norm.float()
        return model

    def kept_bytes(self, model: Any, dtype: torch.dtype) -> int:
        return sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)

    def save(self, model: Any, folder: Path) -> int:
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: p.detach().contiguous() for name, p in model.named_parameters() if p.requires_grad}
        save_file(weights, folder / WEIGHTS)
        return (folder / WEIGHTS).stat().st_size

    def load(self, model: Any, folder: Path) -> Any:
        from safetensors.torch import load_file

        parameters = dict(model.named_parameters())
        for name, values in load_file(folder / WEIGHTS).items():
            if name not in parameters or parameters[name].shape != values.shape:
                raise UserError(
                    f"{folder}: holds {name} {list(values.shape)}, which this base has not; use its own base"
                )
            parameters[name].data.copy_(values)
        return model


class BitFit(Selective):
    """All biases (Ben Zaken et al. 2022, https://arxiv.org/abs/2106.10199), those of normalizations included."""

    def chosen(self, model: Any) -> list[Any]:
        biases = [p for name, p in model.named_parameters() if name.rpartition(".")[2] == "bias"]
        if not biases:
            kind = model.config.model_type
            raise UserError(
                f"method={self.name}: {kind} has no biases to train; use method=layer_norms, or another model"
            )
        return biases


class LayerNorms(Selective):
    """Gains and biases of all normalizations (Zhao et al. 2023, https://arxiv.org/abs/2312.11420)."""

    def chosen(self, model: Any) -> list[Any]:
        parameters = [p for module in norms(model) for p in module.parameters(recurse=False)]
        if not parameters:
            raise UserError(
                f"method={self.name}: {model.config.model_type} has no normalizations to train; use method=lora"
            )
        return parameters


class TopLayers(Selective):
    """The last blocks, whole: FT-Top2 of Hu et al. 2021 (https://arxiv.org/abs/2106.09685, table 3) has two."""

    layers: Annotated[int, Field(ge=1)]

    def label(self) -> str:
        return f"{super().label()} {self.layers}"

    def chosen(self, model: Any) -> list[Any]:
        from torch.nn import ModuleList

        # The last list of as many modules as there are layers: in an encoder-decoder, the decoder's.
        total = model.config.num_hidden_layers
        blocks = [module for module in model.modules() if isinstance(module, ModuleList) and len(module) == total]
        if not blocks or self.layers > total:
            raise UserError(
                f"method.layers={self.layers}: {model.config.model_type} has {total} layers; give at most that"
            )
        return [p for block in blocks[-1][-self.layers :] for p in block.parameters()]
