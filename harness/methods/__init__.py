"""Ways to adapt a base model: one file a method or family. Imports torch and PEFT only when a method is applied."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from harness.models import roles
from harness.places import extend
from harness.settings import Name, Settings

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig

extend("methods", __path__)

Kind = Literal["causal", "seq2seq", "classification"]
"""Kinds of model: continues a text, answers a text, sorts a text into classes."""
TASK_TYPES: dict[Kind, str] = {"causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM", "classification": "SEQ_CLS"}
"""PEFT's names of them."""


@dataclass(frozen=True)
class Site:
    """Where a method is applied, and what it may look at besides the model."""

    tokenizer: Any
    targets: dict[str, list[str]]
    """For each role the endings of the names of its modules."""
    kind: Kind
    steps: int
    """Optimizer steps that the training will have."""
    batches: Callable[[], Iterator[dict[str, torch.Tensor]]]
    """Endless training batches from the first on, on the model's device, as keyword arguments of the model's `forward`,
    labels included: for initialisations that look at data."""
    left_out: Sequence[str] = ()
    """What `targets.left_out` warns of."""

    @property
    def modules(self) -> list[str]:
        """The endings of the names of all chosen modules."""
        return [name for names in self.targets.values() for name in names]

    @property
    def task_type(self) -> str:
        """PEFT's name of the kind of model."""
        return TASK_TYPES[self.kind]


def answer(model: Any, ids: torch.Tensor, mask: torch.Tensor, config: GenerationConfig) -> torch.Tensor:
    """What a model without anything of its own in front of the text generates: see `Method.generate`."""
    tokens: torch.Tensor = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    return tokens if model.config.is_encoder_decoder else tokens[:, ids.shape[1] :]


class Facts(Settings):
    """What is true of a method whatever its settings. Each line is tested for every file of conf/method/; a method of
    one's own that states nothing is taken for one of which nothing is known."""

    paper: str = ""
    """Authors, year, address."""
    formula: str = ""
    """What an adapted layer computes, in the paper's symbols."""
    start: Literal["same", "close", "changed"] = "changed"
    """Before training, the output is the base model's bit for bit; within 1e-5; or another."""
    start_reason: str | None = None
    """Why the start is `changed`."""
    merges: bool = False
    """The adapter can be folded into the base's weights."""
    quantized: list[Literal["int8", "4bit"]] = Field(default_factory=list)
    """Storages of the base's weights that it works on, besides the plain one."""
    kinds: list[Kind] = Field(default_factory=lambda: list(TASK_TYPES))
    """Kinds of model that it works on."""
    lr_from: str = "its own file"
    """Where the default learning rate comes from."""
    architecture: str = "llama"
    """The tiny architecture (`model.architecture` of `model=tiny_random`) that it is tested on."""

    resting: list[str] = Field(default_factory=list)
    """Expressions of the names of tensors that get no gradient and stay as they are, though they count as trained."""
    remade: list[str] = Field(default_factory=list)
    """Those of trained tensors that are not saved as they are, but what they make is."""
    beside: bool = False
    """What is trained stands beside the chosen modules, in the module that holds them."""

    @model_validator(mode="after")
    def _says_why(self) -> Facts:
        stated = "start" in self.model_fields_set
        if stated and (self.start == "changed") != (self.start_reason is not None):
            raise ValueError("start=changed needs a start_reason, and nothing else has one")
        return self


class Method(Settings):
    """A way to adapt a base model. The class variables say what combinations make sense."""

    trains_base: ClassVar[bool] = False
    """The base's own weights are trained, so they cannot be quantized."""
    trains: ClassVar[bool] = True
    """False for baselines that only answer."""
    keeps: ClassVar[bool] = True
    """What it trains is written into the run's folder. False: only where `keep_model` asks for the whole model."""
    untouched: ClassVar[bool] = False
    """The base model as it is, with its own prompts: what it scores is measured once for all rows."""
    shots: int = 0
    """Solved training examples in front of each test input, drawn by the run's seed."""
    resumes: ClassVar[bool] = True
    """The trainable parameters are all that a checkpoint must hold. False: a run that was stopped starts again."""
    recomputes: ClassVar[bool] = True
    """Works with gradient checkpointing."""

    name: Name
    lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate."""
    default_roles: list[str] = Field(default_factory=list)
    """Roles adapted where `targets=default`; empty for a method that does not act on chosen modules."""
    facts: Facts = Field(default_factory=Facts)

    @property
    def adapts_modules(self) -> bool:
        """The method acts on chosen modules, so `targets` may be set."""
        return bool(self.default_roles)

    @property
    def rewrites(self) -> bool:
        """Starting may change weights of the base: only a start that is the base's to the bit is known not to."""
        return self.facts.start != "same"

    def label(self) -> str:
        """The row's name in a table."""
        return self.name.replace("_", " ")

    @abstractmethod
    def apply(self, model: Any, site: Site) -> Any:
        """The model ready to train, its trainable parameters marked. Draws from torch's generator."""

    def problems(self, steps: int) -> list[str]:
        """What makes no sense in a run of so many steps, a line each; asked before anything is loaded."""
        return []

    def warnings(self, model: Any, site: Site) -> list[str]:
        """What is legal but probably a mistake, a line each. `model`: before `apply`."""
        return list(site.left_out)

    def parameter_groups(self, model: Any) -> list[dict[str, Any]]:
        """The trainable parameters as torch's optimizers take them, each group with its learning rate."""
        return [{"params": [p for p in model.parameters() if p.requires_grad], "lr": self.lr}]

    def penalty(self, model: Any) -> torch.Tensor | None:
        """A term of the method's own that is trained on beside the loss, once a step; never part of a reported loss."""
        return None

    def state(self, model: Any) -> dict[str, torch.Tensor]:
        """By name, what training changes besides the trainable parameters: kept with them in checkpoints."""
        return {}

    def after_step(self, model: Any, step: int) -> None:
        """Called after the optimizer's step `step` (from 1), while the gradients are still there."""

    def generate(self, model: Any, ids: torch.Tensor, mask: torch.Tensor, config: GenerationConfig) -> torch.Tensor:
        """New tokens [batch, new] for left-padded prompts `ids` and `mask` [batch, length]."""
        return answer(model, ids, mask, config)

    def save(self, model: Any, folder: Path) -> int:
        """Write what has to be kept for this task into `folder`; bytes on disk."""
        model.save_pretrained(folder)
        return sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in {".safetensors", ".bin"})

    def kept_bytes(self, model: Any, dtype: torch.dtype) -> int:
        """Bytes of the tensors that `save` would write, where the base is kept in `dtype`; known before training."""
        import torch
        from peft import get_peft_model_state_dict

        with torch.no_grad():
            return sum(each.nbytes for each in get_peft_model_state_dict(model).values())

    def load(self, model: Any, folder: Path) -> Any:
        """A fresh base with the adapter that `save` wrote."""
        from peft import PeftConfig, PeftModel

        self.ready(model, list(getattr(PeftConfig.from_pretrained(str(folder)), "target_modules", None) or []))
        return PeftModel.from_pretrained(model, str(folder))

    def ready(self, model: Any, endings: list[str]) -> None:
        """Make the layers of a base whose names end so ready for this method, in place: `targets.prepare`, and a weight
        of its own for each where the method's start changes it."""
        from harness.models.split_layers import untie

        roles.prepare(model, endings)
        if self.rewrites:
            untie(model, endings)

    def merge(self, model: Any) -> Any:
        """The model with the adapter folded into the base's weights. Only where `facts.merges`."""
        from harness.models.split_layers import restore, untie

        untie(model.get_base_model())
        return restore(model.merge_and_unload())
