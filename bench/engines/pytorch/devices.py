"""Where PyTorch computes and how: precision, memory layout, clocks and memory of a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from bench.engines.pytorch.library import torch
from bench.machine import meters
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
TRIAL_CALLS = 3


def settle(device: str) -> str:
    """Threads and precision; PyTorch's name of ``device``. Nothing draws random numbers: noise is numpy's.

    float32 means float32: TF32 is off. cuDNN may try its algorithms (in the first call), as its users let it.

    Raises:
        UserError: the installed PyTorch cannot compute there.
    """
    torch.set_num_threads(runtime.engine_threads())
    parsed = runtime.parse_device(device)
    if parsed.kind == "cpu":
        return "cpu"
    if not torch.cuda.is_available() or parsed.index >= torch.cuda.device_count():
        raise UserError(f"--device {device}: PyTorch {torch.__version__} sees no such GPU; use --device cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    return f"cuda:{parsed.index}"


def synchronise(device: str) -> None:
    """Wait until all work is done."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def choose_layout(
    asked: str, call: Callable[[Any], Callable[[], Any]], device: str
) -> tuple[str, dict[str, float]]:
    """The name of the layout ``asked`` for, or of the one in which ``call(layout)``, a function, takes least time.

    Returns the seconds of each at best as well. Each is called once before, for what is prepared at a first call.
    """
    if asked != "fastest":
        return asked, {}
    found = {}
    for name, layout in LAYOUTS.items():
        run = call(layout)
        run()
        found[name] = min(meters.timed(run, partial(synchronise, device)) for _ in range(TRIAL_CALLS))
    return min(found, key=found.get), found


def event_seconds(call: Callable[[], Any], calls: int, device: str) -> list[float]:
    """Seconds of single calls between two events on the GPU's own clock: what the host does meanwhile is not in it."""
    marks = []
    with torch.cuda.device(device):  # else the events are recorded on cuda:0
        for _ in range(calls):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            call()
            end.record()
            marks.append((begin, end))
    synchronise(device)
    return [begin.elapsed_time(end) / 1e3 for begin, end in marks]


class GpuMeter:
    """Memory of a GPU: by the driver (:class:`bench.machine.meters.GpuMeter`) and, beside it, by PyTorch's allocator.

    ``allocator_peak_bytes`` is the most that tensors held at once, ``allocator_reserved_bytes`` the most that the
    allocator had from the driver; both since :meth:`start`.
    """

    def __init__(self, device: str, nvml_index: int, nvml: Any = None):
        torch.zeros(1, device=device)  # makes the CUDA context, which is no one method's need
        self._device, self._driver = device, meters.GpuMeter(nvml_index, nvml)

    def start(self) -> None:
        """Forget the peak of the set-up and give back what it freed."""
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        self._driver.start()

    def read(self) -> meters.Memory:
        """Both peaks; the driver's is the cell's memory."""
        memory = self._driver.read()
        own = {
            "allocator_peak_bytes": int(torch.cuda.max_memory_allocated(self._device)),
            "allocator_reserved_bytes": int(torch.cuda.max_memory_reserved(self._device)),
        }
        return meters.Memory(memory.peak, memory.working, memory.source, {**memory.details, **own}, own)
