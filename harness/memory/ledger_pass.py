"""One short pass of a run under the memory ledger: a training step on its longest batch, scoring, and generation.

On the run's own model it measures; on a model of shapes alone it predicts. No value changes: the step is taken with
a learning rate of zero, and the state of random generators is put back.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness.evaluation.general_text import distance
from harness.measure.device_memory import View
from harness.measure.ledger import BLOCK, Ledger, Moment
from harness.memory.longest_batches import Batches
from harness.models.quantization import constants, quantized_layers
from harness.prepare.batch import Batch
from harness.prepare.forward import LabelForward
from harness.results.sections import Owner, Phase
from harness.training.optimizer import make_optimizer, trainable
from harness.training.precision import to_deployed_precision
from harness.training.step import Part, gradients

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.methods import Method
    from harness.settings import Eval, Train


LARGEST = 10
"""Tensors that are named of each phase's peak."""


def base_tensors(model: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Parameters and buffers by name, shared ones once. Ask before a method is applied for those of the base."""
    return [*model.named_parameters(), *model.named_buffers()]


def run_pass(
    settings: RunSettings,
    base: Sequence[tuple[str, torch.Tensor]],
    forward: LabelForward,
    batches: Batches,
    block: int | None = None,
    view: View | None = None,
) -> dict[Phase, Moment]:
    """The peak of each phase. `base`: `base_tensors` of the model before the method was applied; `block`: bytes that an
    allocation is rounded up to, None: as on the model's device; `view`: looks at the device meanwhile. Weights of the
    base that were trained are afterwards in the run's dtype, as a run answers with them."""
    model, method, train = forward.model, settings.method, settings.train
    device = next(model.parameters()).device.type
    ledger = Ledger(device, BLOCK[device] if block is None else block, model, view)
    was_training = model.training
    optimizer = _resting_optimizer(model, method, train) if method.trains else None
    with _random_state_kept(device), ledger:
        constant = [(name, each) for name, layer in quantized_layers(model).items() for each in layer_constants(layer)]
        ledger.claim("quantization_constants", constant)
        ledger.claim("base_weights", base)
        ledger.claim("adapter", base_tensors(model))
        for number, batch in enumerate(batches.all):
            ledger.claim("activations", ((f"batch {number}: {name}", each) for name, each in _tensors(batch)))
        if batches.prompts:
            ledger.claim("activations", (("prompts", each) for each in batches.prompts if each is not None))
        if view is not None:
            if optimizer is not None:
                _make_state(optimizer)
                ledger.claim("optimizer_state", _state_tensors(optimizer, trainable(model)))
            view.start(ledger)
        with ledger.phase("load"):
            pass
        if optimizer is not None:
            _step(ledger, forward, settings, batches.training, optimizer)
            del optimizer
        model.eval()
        with torch.no_grad():
            with ledger.phase("evaluate"):
                forward.loss_sum(batches.scored)
                if batches.window is not None:
                    _compare(forward, batches.window)
            if method.trains_base:
                to_deployed_precision(model, forward.dtype)
                ledger.claim("base_weights", base)
            if batches.prompts:
                with ledger.phase("generate"):
                    _generate(ledger, model, *batches.prompts, settings.eval)
        model.train(was_training)
    return ledger.peaks(LARGEST)


def _compare(forward: LabelForward, window: Batch) -> None:
    """As `forgetting.text_loss` does it, with logits in place of those that were kept of the base."""
    logits = forward.logits(window)
    torch.nn.functional.cross_entropy(logits.float(), window.targets, reduction="sum")
    distance(logits, torch.zeros_like(logits))


def layer_constants(layer: Any) -> list[torch.Tensor]:
    """The tensors that a quantized layer needs beside its weights, code tables included."""
    tensors = list(constants(layer))
    state = getattr(layer.weight, "quant_state", None)
    if state is not None:
        tensors += [state.code, *([state.state2.code] if state.nested else [])]
    return tensors


def _tensors(batch: Batch) -> Iterable[tuple[str, torch.Tensor]]:
    return ((name, each) for name, each in vars(batch).items() if each is not None)


@contextlib.contextmanager
def _random_state_kept(device: str) -> Iterator[None]:
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        yield


def _resting_optimizer(model: Any, method: Method, train: Train) -> Any:
    """The run's optimizer at a learning rate of zero, at which AdamW and its kin leave weights as they are."""
    groups = [group | {"lr": 0.0} for group in method.parameter_groups(model)]
    return make_optimizer(train.optimizer, groups, train.weight_decay)


def _make_state(optimizer: Any) -> None:
    """The optimizer's state is there from the second step on; a device shows it only where it has been made."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)  # of zeros, 8-bit state would be no number
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class _Counting:
    """Looks on at a step for the ledger. Shapes have no values."""

    ledger: Ledger
    parameters: dict[str, torch.nn.Parameter]

    @contextlib.contextmanager
    def part(self, name: Part) -> Iterator[None]:
        """What happens inside belongs to this phase."""
        with self.ledger.phase(name):
            yield
            if name == "backward":
                grads = ((n, p.grad) for n, p in self.parameters.items() if p.grad is not None)
                self.ledger.claim("gradients", grads)

    def loss(self, value: torch.Tensor) -> None:
        """Nothing is read."""

    def penalty(self, value: torch.Tensor) -> None:
        """Nothing is read."""


def _step(
    ledger: Ledger, forward: LabelForward, settings: RunSettings, batches: Sequence[Batch], optimizer: Any
) -> None:
    """As `Trainer` does it, without its checks of values."""
    forward.model.train()
    train, parameters = settings.train, trainable(forward.model)
    gradients(forward, settings.method, batches, train.label_smoothing, _Counting(ledger, parameters))
    with ledger.phase("step"):
        torch.nn.utils.clip_grad_norm_(parameters.values(), train.clip_norm or math.inf)
        optimizer.step()
        ledger.claim("optimizer_state", _state_tensors(optimizer, parameters))
        idle = [p for p in parameters.values() if p.grad is None and p in optimizer.state]  # see `_make_state`
        ledger.forget(each for p in idle for each in optimizer.state[p].values() if isinstance(each, torch.Tensor))
        optimizer.zero_grad(set_to_none=True)


def _state_tensors(optimizer: Any, parameters: dict[str, torch.nn.Parameter]) -> Iterator[tuple[str, torch.Tensor]]:
    names = {id(p): name for name, p in parameters.items()}
    for parameter, state in optimizer.state.items():
        for key, each in state.items():
            if isinstance(each, torch.Tensor):
                yield f"{names[id(parameter)]}: {key}", each
    # bitsandbytes keeps the code tables of its 8-bit states once for all of them.
    yield from getattr(optimizer, "name2qmap", {}).items()


def _generate(ledger: Ledger, model: Any, ids: torch.Tensor, mask: torch.Tensor | None, evaluation: Eval) -> None:
    """The two moments of greedy decoding or beams at which most is held: reading the prompts, and the last token, for
    which the cache is lengthened at once."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    owner: Owner = "kv_cache"
    rows, more = ids.shape[0] * evaluation.beams, evaluation.max_new_tokens - 1
    if evaluation.beams > 1:
        ids = ids.repeat_interleave(evaluation.beams, dim=0)
        mask = None if mask is None else mask.repeat_interleave(evaluation.beams, dim=0)
    if base.config.is_encoder_decoder:
        read = base.get_encoder()(input_ids=ids, attention_mask=mask)
        inputs = {"encoder_outputs": read, "attention_mask": mask}
        first = {"decoder_input_ids": ids[:, :1], **inputs}
        output = base(**first, use_cache=True)
    else:
        last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(base.forward).parameters else {}
        output = model(input_ids=ids, attention_mask=mask, use_cache=True, **last)
    cache = output.past_key_values
    scores = output.logits[:, -1].float()
    ledger.claim(owner, _cached(cache))
    del output, scores
    if more < 1:
        return
    grown = cache.self_attention_cache if base.config.is_encoder_decoder else cache
    for index, layer in enumerate(grown.layers):
        empty = [each.new_zeros(rows, each.shape[1], more - 1, each.shape[3]) for each in (layer.keys, layer.values)]
        grown.update(*empty, index)
    del empty
    ledger.claim(owner, _cached(cache))
    token = ids[:, :1]
    if base.config.is_encoder_decoder:
        output = base(decoder_input_ids=token, **inputs, past_key_values=cache, use_cache=True)
    else:
        longer = ids.new_ones(rows, cache.get_seq_length() + 1)
        output = base(input_ids=token, attention_mask=longer, past_key_values=cache, use_cache=True)
    ledger.claim(owner, _cached(cache))
    scores = output.logits[:, -1].float()
    if evaluation.beams > 1:
        cache.reorder_cache(torch.zeros(rows, dtype=torch.long, device=ids.device))
        ledger.claim(owner, _cached(cache))
    del scores


def _cached(cache: Any) -> Iterator[tuple[str, torch.Tensor]]:
    parts = (
        [cache.self_attention_cache, cache.cross_attention_cache]
        if hasattr(cache, "cross_attention_cache")
        else [cache]
    )
    for part in parts:
        for index, layer in enumerate(part.layers):
            if layer.keys is not None:
                yield f"layer {index}: keys", layer.keys
                yield f"layer {index}: values", layer.values
