"""What storing a model's weights in fewer bits costs and saves: `python -m harness quantization model=…`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.commands._finished import markdown_table, prepare, tell
from harness.config.compose import compose_settings
from harness.config.run_settings import RunSettings
from harness.errors import Parser, UserError
from harness.places import CONF

DESCRIPTION = """\
Print for each file of conf/quantization/ how many bits a parameter takes, how far the stored weights are from the
model's own, and the loss on general text. OVERRIDE is any setting, as for python -m harness."""

EXAMPLES = """\
examples:
  python -m harness quantization model=smollm2_135m
  python -m harness quantization model=path model.path=/models/mine dtype=bf16 forgetting.text=news.txt"""

UNBLOCKED = ("none", "int8")
"""The files of conf/quantization/ whose weights share no constants in blocks; they come first."""


@dataclass(frozen=True)
class Format:
    """What one way of storing the weights gives."""

    name: str
    weight_bits: float
    """Bits a parameter of the quantized layers, without constants."""
    constant_bits: float
    """Bits of scaling constants a parameter."""
    layer_bytes: int
    """Bytes of the quantized layers' weights and constants."""
    model_bytes: int
    """Bytes of all weights and constants."""
    rms: float
    """Root of the squared round-trip error over all weights, relative to that of the weights."""
    largest: float
    """Largest round-trip error of a weight, in the weights' unit."""
    loss: float
    """Mean negative log-likelihood a token of general text, in nats."""


def main(arguments: list[str]) -> None:
    """Print the table. Raises UserError."""
    parser = Parser(
        prog="python -m harness quantization",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="such as model=…, dtype=…, forgetting.text=…")
    parser.add_argument("--block-size", type=int, default=64, metavar="N", help="of the 4-bit formats; default: 64")
    options = parser.parse_args(arguments)
    if any(override.lstrip("+~").startswith("quantization") for override in options.overrides):
        raise UserError("quantization: the report goes through all of them; leave it out, or use --block-size")
    blocks = [f"quantization.block_size={options.block_size}"]
    settings = [
        compose_settings(
            [*options.overrides, "tracker=none", f"quantization={name}", *([] if name in UNBLOCKED else blocks)]
        )
        for name in names()
    ]
    settings[0].model.identity()  # tells at once what is wrong with a folder
    print(render(settings[0], list(measure(settings))))


def names() -> list[str]:
    """The files of conf/quantization/: the plain weights, 8 bits, 4 bits."""
    formats = [path.stem for path in (CONF / "quantization").glob("*.yaml")]
    return [*UNBLOCKED, *sorted(set(formats) - set(UNBLOCKED))]


def render(settings: RunSettings, formats: list[Format]) -> str:
    """A heading, what was measured, and the table."""
    from harness.evaluation import general_text

    rows = [
        {
            "format": f.name,
            "weights [bits/parameter]": f"{f.weight_bits:.3g}",
            "constants [bits/parameter]": f"{f.constant_bits:.3f}",
            "linear layers [MB]": f"{f.layer_bytes / 1e6:,.1f}",
            "whole model [MB]": f"{f.model_bytes / 1e6:,.1f}",
            "relative RMS error": f"{100 * f.rms:.3f}%",
            "largest error": f"{f.largest:.4f}",
            "loss on general text [nats/token]": f"{f.loss:.4f}",
        }
        for f in formats
    ]
    text = general_text.describe(settings.forgetting)
    title = f"## {settings.model.describe()}, dtype {settings.precision}"
    return f"{title}\n\nGeneral text: {text}.\n\n{markdown_table(rows)}"


def measure(runs: Iterable[RunSettings]) -> Iterable[Format]:
    """A format for each of the settings, the first of which stores the weights as they are."""
    plain: dict[str, Any] | None = None
    for settings in runs:
        tell(f"{settings.quantization.label() or 'plain weights'} …")
        prepare(settings)
        losses, layers = measure_one(settings, plain)
        plain = plain or layers
        yield losses


def measure_one(settings: RunSettings, plain: dict[str, Any] | None) -> tuple[Format, dict[str, Any]]:
    """The format of these settings, and the plain weights by layer: those given, or None where this model has them."""
    from harness.evaluation import general_text
    from harness.models.quantization import constants, plain_weight, quantizable_layers, quantized_layers, weight_bytes
    from harness.prepare.base_model import DTYPES, load_base
    from harness.prepare.forward import LabelForward

    model, tokenizer = load_base(settings)
    layers = quantized_layers(model)
    plain = plain or quantizable_layers(model)
    count = sum(weight.numel() for weight in plain.values())
    model_bytes = weight_bytes(model)
    if layers:
        stored = _bytes(layer.weight for layer in layers.values())
        scales = _bytes(tensor for layer in layers.values() for tensor in constants(layer))
    else:
        stored, scales = _bytes(plain.values()), 0
    squares = error = largest = 0.0
    for name, weight in plain.items():
        squares += weight.float().square().sum().item()
        if layers:
            difference = plain_weight(layers[name]).float() - weight.float()
            error += difference.square().sum().item()
            largest = max(largest, difference.abs().max().item())
    forward = LabelForward(model, DTYPES[settings.precision])
    windows = general_text.windows(model, tokenizer, settings.forgetting)
    loss = general_text.text_loss(forward, windows, compared=0, keep=None, base=None).loss
    name = settings.quantization.label() or settings.precision
    bits = [8 * stored / count, 8 * scales / count]
    rms = (error / squares) ** 0.5
    return Format(name, bits[0], bits[1], stored + scales, model_bytes, rms, largest, loss), plain


def _bytes(tensors: Iterable[Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
