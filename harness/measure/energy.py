"""Energy of a stretch of a run, where the machine counts it: NVML for the run's GPU, RAPL for the processors.

Both are counters, read at the beginning, at the end, and at steps between. codecarbon reads them too, but from a thread
that samples every few seconds beside what is timed; it brings some twenty packages (HTTP clients and a list of
countries among them), and where there is no counter it takes the power from a table.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from harness.results.sections import Energy

POWERCAP = Path("/sys/class/powercap")
"""Where Linux has the counters of RAPL: https://docs.kernel.org/power/powercap/powercap.html"""

MOST_WATTS = 1000.0
"""No processor draws more: a counter that this could have turned over says nothing."""


@dataclass(frozen=True)
class _Domain:
    """One counter of RAPL, in microjoules."""

    place: Path
    span: int
    """What it counts up to before it begins anew."""

    def read(self) -> int:
        return int((self.place / "energy_uj").read_text())


def domains(powercap: Path) -> list[_Domain]:
    """The counters of processors and of memory; those of parts of a processor are in its own. Raises OSError."""
    counters = []
    for place in sorted(powercap.glob("intel-rapl:*")):
        if (place / "name").read_text().strip().partition("-")[0] in ("package", "dram"):
            counters.append(_Domain(place, int((place / "max_energy_range_uj").read_text())))
    return counters


class EnergyMeter:
    """Energy from its making until `used`; `reason` says why nothing is known, where nothing is."""

    def __init__(self, cuda: bool, powercap: Path = POWERCAP, shared: bool = False) -> None:
        """`shared`: other processes use the run's GPU, whose counter contains what they take."""
        self._shared = shared
        self.reason = "this machine has no counter of RAPL"
        self._counts: dict[_Domain, int] = {}
        try:
            self._counts = {domain: domain.read() for domain in domains(powercap)}
        except (OSError, ValueError) as error:  # since 2020 Linux lets root alone read them
            self._lost(error)
        self._microjoules = 0
        self._noted = time.monotonic()
        self._millijoules = gpu_millijoules() if cuda else None
        if cuda:
            self.reason += ", and the GPU tells of none (extra gpu)"

    def note(self) -> None:
        """Read the processors' counters, which begin anew after some minutes."""
        now = time.monotonic()
        if any((now - self._noted) * MOST_WATTS * 1e6 > domain.span for domain in self._counts):
            self._counts = {}
            self.reason = "a step took so long that the counter of RAPL may have begun anew more than once"
        self._noted = now
        try:
            for domain, before in self._counts.items():
                self._counts[domain] = domain.read()
                self._microjoules += (self._counts[domain] - before) % domain.span
        except (OSError, ValueError) as error:
            self._lost(error)

    def _lost(self, error: OSError | ValueError) -> None:
        self._counts = {}
        self.reason = f"the counter of RAPL cannot be read ({getattr(error, 'strerror', None) or error})"

    def used(self) -> Energy | None:
        """Joules since then; None where no counter tells."""
        self.note()
        joules: dict[str, float] = {}
        now = None if self._millijoules is None else gpu_millijoules()
        if self._millijoules is not None and now is not None:
            joules["NVML"] = (now - self._millijoules) / 1e3
        if self._counts:
            joules["RAPL"] = self._microjoules / 1e6
        if not joules:
            return None
        return Energy(joules=sum(joules.values()), source=", ".join(joules), estimate=self._shared or "RAPL" in joules)


def gpu_millijoules() -> int | None:
    """What the run's GPU has used since its driver was loaded; None where that, or the package, is not there."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        named = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
        if named.startswith(("GPU-", "MIG-")):
            handle = pynvml.nvmlDeviceGetHandleByUUID(named)
        else:
            handle = pynvml.nvmlDeviceGetHandleByIndex(int(named or 0))
        return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    except (pynvml.NVMLError, ValueError):  # GPUs before Volta do not count
        return None
