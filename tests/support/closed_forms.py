"""Trainable parameters of every config as closed forms in a model's widths, written from the methods' definitions.

The constants are those of the files in conf/method/.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, isqrt
from typing import Any

from harness.prepare.encoded_task import EncodedTask

ALL = "q k v o gate up down"


@dataclass(frozen=True)
class Shapes:
    """Widths of a small decoder: `hidden`; `kv`, of all keys; `inner`, of the MLP. OPT has no gate, and biases."""

    hidden: int
    kv: int
    inner: int
    layers: int
    vocabulary: int
    context: int
    """Tokens of the first two training examples."""

    def layer(self, roles: str = ALL) -> list[tuple[int, int]]:
        """(in, out) of one block's linear layers."""
        h, i = self.hidden, self.inner
        widths = {"q": (h, h), "k": (h, self.kv), "v": (h, self.kv), "o": (h, h), "gate": (h, i), "up": (h, i)}
        widths["down"] = (i, h)
        return [widths[role] for role in roles.split()]

    def each(self, count: Callable[[int, int], int], roles: str = ALL) -> int:
        """The sum of `count(in, out)` over the linear layers of all blocks."""
        return self.layers * sum(count(i, o) for i, o in self.layer(roles))


def shapes_of(config: Any, task: EncodedTask) -> Shapes:
    """The widths of a Llama or OPT by its configuration."""
    h, heads = config.hidden_size, config.num_attention_heads
    inner = getattr(config, "intermediate_size", None) or config.ffn_dim
    kv = getattr(config, "num_key_value_heads", heads) * h // heads
    first = next(task.batches(task.settings.train.batch_size, task.settings.seed))[:2]
    context = sum(len(example.ids) for example in first)
    return Shapes(h, kv, inner, config.num_hidden_layers, config.vocab_size, context)


def lora(rank: int, roles: str = ALL) -> Callable[[Shapes], int]:
    """A [rank, in] and B [out, rank]."""
    return lambda s: s.each(lambda i, o: rank * (i + o), roles)


def lora_and(rank: int, more: Callable[[int, int], int]) -> Callable[[Shapes], int]:
    return lambda s: s.each(lambda i, o: rank * (i + o) + more(i, o))


def each(count: Callable[[int, int], int], roles: str = ALL) -> Callable[[Shapes], int]:
    return lambda s: s.each(count, roles)


def norms(s: Shapes) -> int:
    """Gains: two a block, and the last one."""
    return (2 * s.layers + 1) * s.hidden


def block(s: Shapes) -> int:
    """A whole block of a Llama."""
    return sum(i * o for i, o in s.layer()) + 2 * s.hidden


def bottleneck(s: Shapes) -> int:
    """Down and up projections with biases, a sixteenth wide."""
    middle = s.hidden // 16
    return 2 * s.hidden * middle + middle + s.hidden


def kronecker(i: int, o: int) -> int:
    """LoKr at rank 8: (a x b) and (c x d) with a c = out, b d = in, a and b the largest divisors up to the square root;
    the second factor is a product of rank 8 where 8 is less than half of its longer side."""
    a, b = (max(n for n in range(1, isqrt(width) + 1) if width % n == 0) for width in (o, i))
    c, d = o // a, i // b
    return a * b + (8 * (c + d) if max(c, d) > 2 * 8 else c * d)


def shadow(s: Shapes) -> int:
    """A block of its own and a norm; two projections of rank 8 before every block but the first, which the state starts
    at; and behind each block two networks of two layers, 8 wide, with biases."""
    h = s.hidden
    network = 8 * h + 8 + h * 8 + h
    return block(s) + h + s.layers * (2 * 8 * h + 2 * network)


TRAINABLE: dict[str, Callable[[Shapes], int]] = {
    "zero_shot": lambda s: 0,
    "few_shot": lambda s: 0,
    "full": lambda s: s.vocabulary * s.hidden + s.layers * block(s) + s.hidden,
    "top_layers": lambda s: 2 * block(s),
    "layer_norms": norms,
    # OPT: q, k, v, o, down, two norms a block; up; the last norm.
    "bitfit": lambda s: s.layers * (7 * s.hidden + s.inner) + s.hidden,
    "trainable_tokens": lambda s: 32 * s.hidden,
    "beft": each(lambda i, o: o, "v"),
    "ia3": lambda s: s.each(lambda i, o: o, "k v") + s.each(lambda i, o: i, "down"),
    # Vectors before the text.
    "prompt_tuning": lambda s: 16 * s.hidden,
    "prefix_tuning": lambda s: 16 * s.layers * 2 * s.kv,
    "prefix_tuning_mlp": lambda s: (
        16 * s.kv + (s.kv + 1) * 128 + (128 + 1) * s.layers * 2 * s.kv
    ),  # P' as wide as a key
    "p_tuning": lambda s: 16 * s.hidden + (s.hidden + 1) * 128 + (128 + 1) * 128 + (128 + 1) * s.hidden,
    "multitask_prompt_tuning": lambda s: 16 * s.hidden + 16 + s.hidden,
    "cpt": lambda s: s.context * s.hidden,
    "adaption_prompt": lambda s: s.layers * (10 * s.hidden + 1),
    # Bottlenecks.
    "houlsby": lambda s: s.layers * 2 * bottleneck(s),
    "pfeiffer": lambda s: s.layers * bottleneck(s),
    "parallel_adapter": lambda s: s.layers * bottleneck(s),
    "shadow": shadow,
    # LoRA and what varies its start or its product.
    **dict.fromkeys(["lora", "rslora", "pissa", "olora", "orthogonal_lora", "loftq", "eva", "lora_ga"], lora(8)),
    **dict.fromkeys(["corda", "velora", "lora_plus", "delta_lora", "gralora", "shira", "deft"], lora(8)),
    "dora": lora_and(8, lambda i, o: o),
    "kasa": lora_and(8, lambda i, o: 8),
    "delora": lora_and(8, lambda i, o: 1),
    "lora_fa": each(lambda i, o: 8 * o),
    "mica": each(lambda i, o: 8 * i),
    "bd_lora": lambda s: (
        s.each(lambda i, o: 8 * i + 8 * o // 2, "q k v gate up") + s.each(lambda i, o: 8 * i // 2 + 8 * o, "o down")
    ),
    "adalora": lora_and(12, lambda i, o: 12),
    "hira": lora(32),
    "glora": lora(2 * 8),
    "loha": lora(2 * 8),
    # Shared or random matrices with trained vectors.
    "vera": each(lambda i, o: 256 + o),
    "pvera": each(lambda i, o: 2 * 256 + o),
    "randlora": each(lambda i, o: ceil(min(i, o) / 8) * (8 + min(i, o))),
    "vblora": lambda s: 256 * 32 + s.each(lambda i, o: 4 * (i + o) // 32 * 256),
    "unilora": lambda s: 256,
    "tinylora": each(lambda i, o: 64),
    # An A a layer; two B for all blocks of a role; a router.
    "lily": lambda s: s.each(lambda i, o: 16 * i + 2 * 16) + sum(2 * 16 * o for _, o in s.layer()),
    "frod": each(lambda i, o: i + int(0.01 * i * i)),
    # Other products.
    "lokr": each(kronecker),
    "miss": each(lambda i, o: 8 * o),
    "peanut": each(lambda i, o: 2 * 8 * o),
    "c3a": each(lambda i, o: i * o // 32),
    "fourierft": each(lambda i, o: 1000),
    "waveft": each(lambda i, o: 1024),
    "supertuning": each(lambda i, o: int(i * o * 0.05)),
    # The upper triangles of skew-symmetric blocks; BOFT stores its blocks whole, and has a scale for each output.
    "oft": each(lambda i, o: i // 32 * (32 * 31 // 2)),
    "boft": each(lambda i, o: i * 4 + o),
    "hra": each(lambda i, o: 8 * i),
    "psoft": each(lambda i, o: 32 * 31 // 2 + 2 * 32),
    "road": each(lambda i, o: o),
    # Half of the singular components: left and right vectors, and the value.
    "osf": each(lambda i, o: (min(i, o) - min(i, o) // 2) * (i + o + 1)),
    # Five clusters of outputs: a row [rank] for each of them, a number for each output.
    "adamss": each(lambda i, o: 5 * min(100, i, o) + o),
}


def trainable(name: str, shapes: Shapes) -> int:
    """The closed form of this config. A new config needs one here."""
    return TRAINABLE[name](shapes)
