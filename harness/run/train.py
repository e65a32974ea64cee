"""The stage that trains, and what is measured meanwhile, which outlives the process that trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness.measure.energy import EnergyMeter
from harness.measure.noise import Surroundings
from harness.measure.peak_memory import Meter, Peak
from harness.measure.throughput import throughput, timing_reasons
from harness.notices import say
from harness.results.lines import write_lines
from harness.results.sections import Energy, Machine
from harness.run.record import Stage
from harness.training.trainer import WARM_UP, State, Trainer, TrainingData

if TYPE_CHECKING:
    from harness.config.run_settings import RunSettings
    from harness.results.folder import RunFolder
    from harness.run.adapt import Adapted
    from harness.run.progress import RunProgress

Log = Callable[[dict[str, float]], None]
"""Is told each line of the curve."""


@dataclass(frozen=True)
class Measured:
    """What was measured while a run trained."""

    peak: Peak
    machine: Machine
    energy: Energy | None
    no_energy: str
    seconds: float

    def kept(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        sections = {"machine": self.machine, "energy": self.energy}
        plain = {name: section and section.model_dump(mode="json") for name, section in sections.items()}
        return {"peak": asdict(self.peak), "no_energy": self.no_energy, "seconds": self.seconds} | plain

    @staticmethod
    def of(state: dict[str, Any]) -> Measured:
        """From what `kept` gave."""
        return Measured(
            Peak(**state["peak"]),
            Machine(**state["machine"]),
            state["energy"] and Energy(**state["energy"]),
            state["no_energy"],
            state["seconds"],
        )


@dataclass(frozen=True)
class Trained(Stage):
    """What training gave; as it stands here, of a run that trains nothing."""

    peak: Peak | None = None
    val_loss: float | None = None
    """None where nothing was trained: the base's is among its scores."""


NOTHING = Trained(
    {"step": 0, "scored_step": 0, "resumed_from": 0, "train_tokens": 0},
    dict.fromkeys(["learning_rate", "train_peak", "energy", "throughput", "machine"], "nothing is trained"),
)


def train(adapted: Adapted, folder: RunFolder, meter: Meter, progress: RunProgress, log: Log) -> Trained:
    """Train the run's model, from the beginning or from its checkpoint. Raises RunEnded."""
    if not adapted.method.trains:
        return NOTHING
    settings, task = adapted.settings, adapted.task
    adapted.check.start(adapted.model)
    # Made before the trainer is, whose memory counts.
    surroundings = Surroundings(adapted.device, adapted.dtype)
    meter.start()
    energy = EnergyMeter(adapted.device == "cuda", shared=progress.shared)
    batches = task.batches(settings.train.batch_size, settings.seed)
    data = TrainingData(batches, task.pad, task.validation)
    keep_best = settings.eval.score == "best"
    trainer = Trainer(adapted.forward, adapted.method, settings.train, data, folder.checkpoint, keep_best=keep_best)
    resumed_from = resumed(trainer, settings, progress)

    def report(line: dict[str, float]) -> None:
        progress.step = int(line["step"])
        progress.report({"steps": settings.train.steps} | line)
        log(line)
        energy.note()

    if trainer.measured is None:
        with progress.phase("train"):
            trainer.run(progress.ended, report)
        used, peak = energy.used(), meter.peak()
        measured = Measured(peak, surroundings.ended(), used, energy.reason, progress.seconds["train"])
        trainer.keep(measured.kept() | {"truncated": task.truncated["train"]})
    else:
        measured = Measured.of(trainer.measured)
        task.truncated["train"] = trainer.measured["truncated"]
        progress.seconds["train"] = measured.seconds
    state = trainer.state
    progress.step = state.step
    write_lines(folder.curve, state.curve)
    adapted.check.trained(adapted.model, state)
    trained = _trained(measured, state, resumed_from, keep_best)
    progress.measured |= {name: trained.sections[name] for name in ("throughput", "machine", "energy", "train_tokens")}
    return trained


def resumed(trainer: Trainer, settings: RunSettings, progress: RunProgress) -> int:
    """The step from which a training goes on; 0 from the beginning. Says so, but of a trial, which is made to stop."""
    label = settings.label()
    if problem := trainer.resume():
        progress.warnings.append(problem)
        say(f"{label}: {problem}")
    step = trainer.state.step
    if step and settings.trial is None:
        say(f"{label}: goes on from step {step} of {settings.train.steps}")
    return step


def _trained(measured: Measured, state: State, resumed_from: int, keep_best: bool) -> Trained:
    """What goes into the record."""
    machine = measured.machine
    gemm = max(machine.gemm_flops_before, machine.gemm_flops_after)
    speed = throughput(state.curve, WARM_UP, gemm)
    sections = {
        "step": state.step,
        "scored_step": state.best_step if keep_best else state.step,
        "resumed_from": resumed_from,
        "train_tokens": state.tokens,
        "throughput": speed,
        "machine": machine,
        "energy": measured.energy,
    }
    reasons = timing_reasons(speed, machine, WARM_UP)
    if measured.energy is None:
        reasons["energy"] = measured.no_energy
    loss = state.best_loss if keep_best else state.curve[-1]["val_loss"]
    return Trained(sections, reasons, peak=measured.peak, val_loss=loss)
