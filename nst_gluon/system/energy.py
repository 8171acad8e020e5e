"""Joules, where the machine counts them: the processor's packages and memory (RAPL), or one NVIDIA GPU (NVML)."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

POWERCAP = Path("sys/class/powercap")
# A package's counter holds its cores; its memory has a counter of its own. "psys" is the whole machine, packages too.
COUNTED = ("package", "dram")


class Meter:
    """What has been used since it was made. Read it every few minutes: RAPL's counters overflow (after 262 kJ on Intel,
    65.5 kJ on AMD), which is seen once between two readings.

    Args:
        gpu: NVML's index of the GPU that is counted; None: the processor.
        root: of the file system, so that other machines can be made up.
        nvml: the module ``pynvml``, or one that behaves like it.

    Attributes:
        source: what is counted, in words; None where the machine does not tell, or only to root.
    """

    def __init__(self, gpu: int | None = None, root: Path = Path("/"), nvml: Any = None):
        self.source: str | None = None
        self._zones: dict[Path, tuple[int, int]] = {}  # the last reading and the largest, in microjoules
        self._nvml, self._handle = nvml, None
        self._joules = 0.0
        if gpu is None:
            self._find_zones(root)
        else:
            self._find_gpu(gpu)

    def _find_zones(self, root: Path) -> None:
        for folder in sorted((root / POWERCAP).glob("intel-rapl:*")):
            with contextlib.suppress(OSError, ValueError):
                if (folder / "name").read_text().strip().startswith(COUNTED):
                    most = int((folder / "max_energy_range_uj").read_text())
                    self._zones[folder] = (int((folder / "energy_uj").read_text()), most)
        if self._zones:
            parts = {re.split(r"[-\s]", (zone / "name").read_text().strip())[0] for zone in self._zones}
            self.source = f"RAPL, {' and '.join(sorted(parts, reverse=True))}"

    def _find_gpu(self, index: int) -> None:
        try:
            if self._nvml is None:
                import pynvml

                self._nvml = pynvml
            self._nvml.nvmlInit()
        except Exception:  # no package, no driver, or one of another machine
            return
        with contextlib.suppress(self._nvml.NVMLError, AttributeError):
            self._handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            self._last = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
            self.source = "NVML, the whole GPU"

    def read(self) -> float | None:
        """Joules since the meter was made, of all that ran there; None where the machine does not tell (any more)."""
        if self.source is None:
            return None
        try:
            if self._handle is not None:
                now = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
                self._joules, self._last = self._joules + (now - self._last) / 1e3, now
            for folder, (last, most) in self._zones.items():
                now = int((folder / "energy_uj").read_text())
                self._joules += (now - last + (most if now < last else 0)) / 1e6
                self._zones[folder] = (now, most)
        except Exception:  # NVML's errors are no OSError; a counter that has gone has no number any more
            self.source = None
            return None
        return self._joules
