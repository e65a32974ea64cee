"""What a run will hold in memory, worked out from shapes: the ledger's pass without weights, data or the device."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch._subclasses.fake_tensor import UnsupportedFakeTensorException as Unsupported

from harness.errors import UserError, memory_is_out, reason
from harness.files import hash_of
from harness.host.cache import cache_folder, keep, kept
from harness.host.environment import installed, resolve_device, versions
from harness.host.own_code import own_code
from harness.measure.ledger import BLOCK, Moment
from harness.memory.fake_tensors import shapes_only
from harness.memory.ledger_pass import base_tensors, run_pass
from harness.memory.longest_batches import Batches, filled_batches, run_batches
from harness.methods import Site
from harness.models import parameters
from harness.prepare.base_model import DTYPES, LoadedModel, context_of, kind_of, load_base
from harness.prepare.batch import Batch
from harness.prepare.encoded_task import EncodedTask
from harness.prepare.forward import LabelForward, states_together
from harness.prepare.site import site_of
from harness.results.sections import Owner, Phase
from harness.training.precision import enable_checkpointing, to_master_precision

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings


"""Tensors of each peak that a plan names."""

WAY = 4
"""Raised when plans come out otherwise, so that one that was kept is not taken for a new one."""


class NotPlanned(UserError):
    """A run that may do well and of which there is no plan."""


@dataclass(frozen=True)
class Plan:
    """The memory of a run, in bytes."""

    peak_bytes: int
    """The most that is held at once, in any phase."""
    peak_phase: Phase
    by_owner: dict[Owner, int]
    """What is held at that moment."""
    by_phase: dict[Phase, dict[str, Any]]
    """Each phase's peak: `bytes`, and `by_owner` at that moment."""
    trainable_parameters: int
    adapter_bytes: int
    """Of the tensors that have to be kept for this task; a file has a header besides."""
    largest: list[dict[str, Any]]
    """The largest tensors of the peak: owner, bytes, name, shape, dtype, made_by."""


def plan(settings: RunSettings, length: int | None, masters: bool = True) -> Plan:
    """The plan of a run, kept in the cache folder. `length`: tokens of every example; None: as the run's data have it,
    and `train.max_length` for a model without a tokenizer. `masters`: trained weights are fp32, as a run has them, and
    not in its dtype. Raises UserError; NotPlanned where it says nothing of the run itself."""
    if settings.quantization.kind != "none" and installed("bitsandbytes") is None:
        raise NotPlanned(
            f"quantization={settings.quantization.label()}: its plan needs bitsandbytes, which is not installed; "
            "pip install bitsandbytes, or use quantization=none"
        )
    classes = settings.data.head_classes
    config, tokenizer = settings.model.parts(classes)
    kind = kind_of(settings, SimpleNamespace(config=config))
    task = None
    if length is None and settings.model.has_weights:
        task = EncodedTask(settings, LoadedModel(_Outline(config), tokenizer))
        batches = run_batches(task, DTYPES[settings.precision])
    else:
        batches = filled_batches(settings, kind, length or settings.train.max_length, context_of(config))
    key = _key(settings, config, batches) | {"masters": masters}
    place = cache_folder() / "plans" / f"{hash_of(key)[:24]}.json"
    if (text := kept(place)) is not None:
        return Plan(**json.loads(text))
    try:
        forecast = _worked_out(settings, config, tokenizer, task, batches, masters)
    except UserError as error:
        raise NotPlanned(*error.problems) from None
    except (DataDependentOutputException, DynamicOutputShapeException, Unsupported, RuntimeError, TypeError) as error:
        # The latter two are what torch and numpy raise where they are asked for the values of a tensor without any.
        raise NotPlanned(
            f"method={settings.method.name}: cannot be planned, since what it does depends on the values of tensors "
            f"({type(error).__name__}); measure it on a run"
        ) from None
    keep(place, json.dumps(asdict(forecast)))
    return forecast


def measure(settings: RunSettings) -> Plan:
    """The same of the run's own model, with weights and on its device."""
    dtype, device = DTYPES[settings.precision], resolve_device(settings.device)
    model, tokenizer = load_base(settings)
    task = EncodedTask(settings, LoadedModel(model, tokenizer))
    torch.manual_seed(settings.seed)
    return _passed(settings, model, task.site(), run_batches(task, dtype), BLOCK[device], masters=True)


class _Outline:
    """What data need to know of a model that is not there yet."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def get_input_embeddings(self) -> Any:
        return SimpleNamespace(weight=torch.empty(0))


def _key(settings: RunSettings, config: Any, batches: Batches) -> dict[str, Any]:
    """All that changes memory, and nothing else: neither seed nor learning rate."""
    train, evaluation = settings.train, settings.eval
    shown = {"architectures", "name_or_path", "_name_or_path", "id2label", "label2id", "transformers_version"}
    own = own_code([type(settings.method).__module__])
    return {
        "way": WAY,
        "config": {name: value for name, value in config.to_dict().items() if name not in shown},
        "classes": len(settings.data.head_classes or ()),
        "method": settings.method.model_dump(mode="json", exclude={"lr", "facts"}),
        "targets": [settings.roles, settings.targets.modules],
        "quantization": settings.quantization.model_dump(mode="json"),
        "computed": [settings.precision, resolve_device(settings.device), settings.model.attention],
        "train": [train.optimizer, train.gradient_checkpointing, train.label_smoothing, train.clip_norm],
        "evaluation": [evaluation.beams, evaluation.max_new_tokens],
        "batches": [_shapes(batch) for batch in batches.all],
        "prompts": batches.prompts and list(batches.prompts[0].shape),
        "versions": versions(),
    } | ({"own_code": own} if own else {})


def _shapes(batch: Batch) -> dict[str, Any]:
    shapes = {name: None if each is None else list(each.shape) for name, each in vars(batch).items()}
    return shapes | {"padded": batch.mask is not None and not bool(batch.mask.all())}


def _worked_out(
    settings: RunSettings, config: Any, tokenizer: Any, task: EncodedTask | None, batches: Batches, masters: bool
) -> Plan:
    dtype, device = DTYPES[settings.precision], resolve_device(settings.device)
    attention = settings.model.attention_for(device)
    classes = settings.data.head_classes
    if attention == "sdpa":
        batches = _unmasked(batches)
    with shapes_only() as mode:
        batches = _as_shapes(batches, mode)
        try:
            model: Any = settings.model.outline(config, dtype, attention, classes)
        except (DataDependentOutputException, DynamicOutputShapeException, Unsupported):
            raise
        except Exception as error:  # of transformers, such as a number of heads that does not divide
            if memory_is_out(error):
                raise
            raise UserError(f"model={settings.model.name}: has no such shape ({reason(error)})") from None
        if settings.quantization.kind != "none":
            from harness.memory.quantized_shapes import quantize_shapes

            model = quantize_shapes(model, settings.quantization, dtype)

        def inputs() -> Iterator[dict[str, torch.Tensor]]:
            while True:
                yield batches.training[-1].inputs()

        states_together(model)
        if task is not None:
            task.model = model
            site = replace(task.site(), batches=inputs)
        else:
            model.config.pad_token_id = tokenizer.pad_token_id if config.pad_token_id is None else config.pad_token_id
            site = site_of(settings, model, tokenizer, kind_of(settings, model), inputs)
        with torch.random.fork_rng(devices=[]):
            return _passed(settings, model, site, batches, BLOCK[device], masters)


def _passed(settings: RunSettings, model: Any, site: Site, batches: Batches, block: int, masters: bool) -> Plan:
    """The method applied as a run does it, and the pass."""
    method, dtype = settings.method, DTYPES[settings.precision]
    base = base_tensors(model)
    model = method.apply(model, site)
    if masters:
        to_master_precision(model)
    if settings.train.gradient_checkpointing and method.trains:
        enable_checkpointing(model)
    forward = LabelForward(model, dtype)
    peaks = run_pass(settings, base, forward, batches, block)
    return _plan(peaks, parameters.trainable(model) if method.trains else 0, method.kept_bytes(model, dtype))


def _plan(peaks: dict[Phase, Moment], trainable: int, adapter_bytes: int) -> Plan:
    phase = max(peaks, key=lambda name: peaks[name].bytes)
    return Plan(
        peak_bytes=peaks[phase].bytes,
        peak_phase=phase,
        by_owner=peaks[phase].by_owner,
        by_phase={name: {"bytes": m.bytes, "by_owner": m.by_owner} for name, m in peaks.items()},
        trainable_parameters=trainable,
        adapter_bytes=adapter_bytes,
        largest=[asdict(held) | {"shape": list(held.shape)} for held in peaks[phase].largest],
    )


def _as_shapes(batches: Batches, mode: FakeTensorMode) -> Batches:
    def of(batch: Batch) -> Batch:
        shapes: dict[str, Any] = {n: None if t is None else mode.from_tensor(t) for n, t in vars(batch).items()}
        return Batch(**shapes)

    prompts = batches.prompts
    if prompts is not None:
        ids, mask = prompts
        prompts = (mode.from_tensor(ids), None if mask is None else mode.from_tensor(mask))
    return batches.each(of, prompts)


def _unmasked(batches: Batches) -> Batches:
    """Where nothing is padded, transformers leaves the mask to sdpa; of a mask without values it cannot tell."""

    def of(batch: Batch) -> Batch:
        return replace(batch, mask=None) if batch.mask is not None and bool(batch.mask.all()) else batch

    prompts = batches.prompts
    if prompts is not None and prompts[1] is not None and bool(prompts[1].all()):
        prompts = (prompts[0], None)
    return batches.each(of, prompts)
