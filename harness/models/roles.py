"""Roles of modules, resolved to an architecture's own names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Field, field_validator, model_validator

from harness.errors import UserError
from harness.settings import Settings

Role = Literal["q", "k", "v", "o", "gate", "up", "down", "embeddings"]

LLAMA = {role: f"{role}_proj" for role in ("q", "k", "v", "o", "gate", "up", "down")} | {"embeddings": "embed_tokens"}
MIXTURE = {role: LLAMA[role] for role in ("q", "k", "v", "o", "embeddings")}
BERT = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "o": "attention.output.dense",
    "up": "intermediate.dense",
    "down": r"\d+.output.dense",  # the number keeps attention.output.dense out
    "embeddings": "word_embeddings",
}


class Fused(NamedTuple):
    """A layer that holds several roles in one matrix."""

    ending: str
    """Of its name."""
    parts: tuple[str, ...]
    """The roles in the order of its rows."""
    by_head: bool = False
    """Its rows go head by head, and not role by role."""

    def shares(self, config: Any) -> dict[str, int]:
        """How the rows are shared out: k and v have fewer heads than q where several of its heads use one of theirs."""
        heads = config.num_attention_heads if "q" in self.parts else 1
        fewer = (getattr(config, "num_key_value_heads", None) or heads) if "q" in self.parts else 1
        return {part: fewer if part in ("k", "v") else heads for part in self.parts}


FUSED: dict[str, list[Fused]] = {
    "gpt2": [Fused("attn.c_attn", ("q", "k", "v"))],
    "gpt_neox": [Fused("attention.query_key_value", ("q", "k", "v"), by_head=True)],
    "bloom": [Fused("self_attention.query_key_value", ("q", "k", "v"), by_head=True)],
    "phi3": [Fused("self_attn.qkv_proj", ("q", "k", "v")), Fused("mlp.gate_up_proj", ("gate", "up"))],
}
"""By model_type."""
FAMILIES: dict[str, dict[str, str]] = {
    **dict.fromkeys(["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"], LLAMA),
    "gpt2": {"o": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj", "embeddings": "wte"},
    "gpt_neox": {
        "o": "attention.dense",
        "up": "mlp.dense_h_to_4h",
        "down": "mlp.dense_4h_to_h",
        "embeddings": "embed_in",
    },
    "opt": {
        **{role: f"{role}_proj" for role in "qkv"},
        **{"o": "out_proj", "up": "fc1", "down": "fc2", "embeddings": "embed_tokens"},
    },
    "bloom": {
        "o": "self_attention.dense",
        "up": "mlp.dense_h_to_4h",
        "down": "mlp.dense_4h_to_h",
        "embeddings": "word_embeddings",
    },
    "phi": {
        **{role: f"{role}_proj" for role in "qkv"},
        **{"o": "self_attn.dense", "up": "fc1", "down": "fc2", "embeddings": "embed_tokens"},
    },
    "phi3": {"o": "o_proj", "down": "down_proj", "embeddings": "embed_tokens"},
    # Mixtures of experts: the experts are parameters, each of all experts together, and in no role: see `left_out`.
    # Qwen2's have a shared expert besides, of layers like Llama's. In Qwen3's the MLP of a block without experts has no
    # role either: PEFT would take its layers' names for the experts'.
    **dict.fromkeys(["mixtral", "olmoe", "qwen3_moe"], MIXTURE),
    "qwen2_moe": LLAMA,
    # `gate` and wi_1 are there in T5 v1.1 and FLAN-T5, wi in the first T5. Encoder and decoder look texts up in tables
    # of their own names that share one weight; the module `shared` itself is never called.
    "t5": {
        **{role: f"(SelfAttention|EncDecAttention).{role}" for role in "qkvo"},
        **{"gate": "wi_0", "up": "wi(_1)?", "down": "wo", "embeddings": "embed_tokens"},
    },
    **dict.fromkeys(["bert", "roberta"], BERT),
}
"""By transformers' model_type: for each role a regular expression for the end of its modules' names. `roles_of` adds
the parts of `FUSED`."""

Pattern = Annotated[str, Field(min_length=1)]


class Targets(Settings):
    """Which modules a method touches: by role, or by name."""

    roles: list[Role] | None
    """None: the method's own choice, unless there are `modules`."""
    modules: Annotated[list[Pattern], Field(min_length=1)] | None = None
    """Ends of modules' names, such as `q_proj` or `attn.c_proj`; each may be a regular expression."""

    @field_validator("modules")
    @classmethod
    def _are_patterns(cls, patterns: list[str] | None) -> list[str] | None:
        for pattern in patterns or []:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern} is not a regular expression ({error})") from None
        return patterns

    @model_validator(mode="after")
    def _one_way(self) -> Targets:
        if self.roles is not None and self.modules is not None:
            raise ValueError("give roles or modules, not both")
        return self


def resolve(model: Any, roles: list[str], modules: list[str] | None = None) -> dict[str, list[str]]:
    """For each chosen role the endings of the names of its modules in `model`, those chosen by name (`modules`) under
    their role too, or under `other`. Makes the layers ready to be adapted, in place: see `prepare`. Raises UserError
    naming what there is."""
    if modules is not None:
        endings_by_role = _by_name(model, modules)
    elif roles:
        endings_by_role = _by_role(model, roles)
    else:
        return {}
    prepare(model, [ending for endings in endings_by_role.values() for ending in endings])
    return endings_by_role


def prepare(model: Any, endings: list[str]) -> None:
    """Make the layers whose names end so ready to be adapted, in place: a fused projection is replaced by its parts
    where one of them is meant, and GPT-2's Conv1D by Linear. What the model computes stays. `fused.restore` is the way
    back. Raises UserError for a quantized fused projection."""
    config = model.config
    if config.model_type not in FUSED:
        return
    from transformers.pytorch_utils import Conv1D

    from harness.models.split_layers import split, to_linear

    for fused in FUSED[config.model_type]:
        # PEFT shortens long lists of names when it saves them, so that only the last part is sure to be there.
        if any(ending.rpartition(".")[2] in fused.parts for ending in endings):
            split(model, fused.ending, fused.shares(config), config.num_attention_heads if fused.by_head else None)
    for path, module in list(model.named_modules()):
        if isinstance(module, Conv1D) and any(f".{path}".endswith(f".{ending}") for ending in endings):
            model.set_submodule(path, to_linear(module))


def in_parts(names: Sequence[str]) -> list[str]:
    """Of these modules' names those of a part of a fused projection, which a model as transformers loads it has not."""
    parts = [f".{fused.ending}.{part}" for kind in FUSED.values() for fused in kind for part in fused.parts]
    return [name for name in names if f".{name}".endswith(tuple(parts))]


def left_out(model: Any, roles: list[str]) -> list[str]:
    """A warning where roles of the MLP are chosen and the blocks of `model` hold matrices that are in no role, such as
    the experts of a mixture. Asked before a method is applied."""
    if not {"gate", "up", "down"} & set(roles) or not (unnamed := _without_role(model)):
        return []
    from harness.models import parameters

    share = sum(map(parameters.count, unnamed.values())) / parameters.total(model)
    line = (
        f"targets: {_described(unnamed)} are in no role of {model.config.model_type} and stay as they are, {share:.0%} "
    )
    experts = [name for name, weight in unnamed.items() if weight.ndim == 3]
    remedy = f"; LoRA adapts them by +method.options.target_parameters=[{','.join(_endings_in_blocks(experts))}]"
    return [f"{line}of the model's parameters{remedy if experts else ''}"]


def _without_role(model: Any) -> dict[str, Any]:
    """By name the matrices of the blocks that are in no role: of layers, and parameters of all experts together. Tables
    and convolutions are something else."""
    from torch import nn

    kind = model.config.model_type
    patterns = [*roles_of(kind).values(), *(fused.ending for fused in FUSED.get(kind, []))]
    weights = {}
    for name, weight in model.named_parameters():
        owner, _, last = name.rpartition(".")
        module = model.get_submodule(owner)
        other = isinstance(module, nn.Embedding) or hasattr(module, "kernel_size") or last.endswith("bias")
        in_role = any(_endings([owner], pattern) for pattern in patterns)
        if re.search(r"\.\d+\.", name) and weight.ndim >= 2 and not other and not in_role:
            weights[name] = weight
    return weights


def _endings_in_blocks(names: list[str]) -> list[str]:
    """Without what comes before the last number, each once."""
    return list(dict.fromkeys(re.sub(r".*\.\d+\.", "", name) for name in names))


def _described(weights: dict[str, Any]) -> str:
    """Matrices by name in a block, with how many there are and of what shape."""
    kinds = Counter(
        (name, str(list(weight.shape))) for path, weight in weights.items() for name in _endings_in_blocks([path])
    )
    return ", ".join(f"{name} ({count} of {shape})" for (name, shape), count in kinds.items())


def above_smaller_side(model: Any, targets: dict[str, list[str]], rank: int) -> list[str]:
    """A warning where `rank` is more than the smaller side of a layer. `model`: after `resolve`, before a method."""
    low: dict[str, int] = {}
    for role, endings in targets.items():
        for path, module in model.named_modules():
            if any(f".{path}".endswith(f".{ending}") for ending in endings):
                side = min(_sides(module))
                if side < rank:
                    low[role] = min(side, low.get(role, side))
    if not low:
        return []
    named = ", ".join(f"{role} ({side})" for role, side in low.items())
    return [f"method.rank={rank} is above the smaller side of {named}: a change of such a layer has no higher rank"]


def _sides(module: Any) -> tuple[int, int]:
    """A 4-bit weight's own shape is that of its storage; the layer knows what it means."""
    return (module.in_features, module.out_features) if hasattr(module, "in_features") else tuple(module.weight.shape)


def table() -> str:
    """Markdown of the roles by architecture: the table of docs/targets.md."""
    roles = get_args(Role)
    lines = [f"| model_type | {' | '.join(roles)} |", "|---" * (len(roles) + 1) + "|"]
    for kind in FAMILIES:
        cells = [f"`{pattern}`" if (pattern := roles_of(kind).get(role)) else "-" for role in roles]
        lines.append(" | ".join([f"| {kind}", *(cell.replace("|", "\\|") for cell in cells)]) + " |")
    return "\n".join(lines) + "\n"


def roles_of(kind: str) -> dict[str, str]:
    """For each role that this model_type may have, the expression of its modules."""
    parts = {role: f"{fused.ending}.{role}" for fused in FUSED.get(kind, []) for role in fused.parts}
    return parts | FAMILIES[kind]


def _known_roles(model: Any) -> dict[str, str]:
    """The same for a model. Raises UserError."""
    kind = model.config.model_type
    if kind not in FAMILIES:
        raise UserError(
            f"targets: the roles of {kind} models are not known yet (known are {', '.join(sorted(FAMILIES))}); name "
            f"the layers instead: targets.modules=[…], of {', '.join(_layer_names(model))}"
        )
    return roles_of(kind)


def _endings(names: list[str], pattern: str) -> list[str]:
    """What matches `pattern` at the end of these names, from the start of a part on, each once, in order. Every name
    that ends in one of them matches too."""
    expression = re.compile(rf"(?:.*\.)?({pattern})")
    return list(dict.fromkeys(match[1] for name in names if (match := expression.fullmatch(name))))


def _layers(model: Any) -> list[str]:
    """Names of the layers with a matrix: what can be adapted."""
    return [
        name
        for name, module in model.named_modules()
        if getattr(getattr(module, "weight", None), "ndim", 0) == 2 and not any(module.children())
    ]


def _layer_names(model: Any) -> list[str]:
    """The same without what comes before the last number, each once."""
    return _endings_in_blocks(_layers(model))


def _by_role(model: Any, roles: list[str]) -> dict[str, list[str]]:
    known = _known_roles(model)
    names = _layers(model)
    for fused in FUSED.get(model.config.model_type, []):
        names += [f"{name}.{part}" for name in names if name.endswith(fused.ending) for part in fused.parts]
    endings = {role: ends for role, pattern in known.items() if (ends := _endings(names, pattern))}
    # A role without modules, such as `gate` in OPT, is left out of a larger set, but an empty set is an error.
    chosen = {role: endings[role] for role in roles if role in endings}
    if not chosen:
        kind = model.config.model_type
        unnamed = _without_role(model)
        besides = f", and in no role {_described(unnamed)}" if unnamed else ""
        raise UserError(
            f"targets: {kind} has none of the roles {', '.join(roles)}; it has {', '.join(sorted(endings))}{besides}"
        )
    return chosen


def _by_name(model: Any, patterns: list[str]) -> dict[str, list[str]]:
    names = _layers(model)
    known = roles_of(model.config.model_type) if model.config.model_type in FAMILIES else {}
    by_role: dict[str, list[str]] = {}
    for pattern in patterns:
        endings = _endings(names, pattern)
        if not endings:
            raise UserError(
                f"targets.modules: no layer's name ends in {pattern}; there are {', '.join(_layer_names(model))}"
            )
        for ending in endings:
            meant = [name for name in names if f".{name}".endswith(f".{ending}")]
            theirs = {role for role, pattern in known.items() if _endings(meant, pattern)}
            by_role.setdefault(theirs.pop() if len(theirs) == 1 else "other", []).append(ending)
    return by_role
