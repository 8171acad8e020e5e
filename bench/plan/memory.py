"""How much memory a cell takes, and what to do where it is too much. Imports no engine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from bench.plan.cells import GENERATE, OPTIMISE, Cell, Plan
from nst_gluon.descriptor import segments
from nst_gluon.system.errors import UserError

# Resident bytes per pixel of the picture, above BASE_BYTES, in float32 on a CPU, measured and rounded up. An
# optimisation holds the descriptor's activations for the way back and L-BFGS's vectors. A generator's cell holds the
# descriptor's activations too, when it scores its one picture; larger batches are not scored.
BYTES_PER_PIXEL = {OPTIMISE: 6_000, GENERATE: 5_000}
BYTES_PER_PIXEL_OF_BATCH = 700
BASE_BYTES = 700_000_000


def estimate_bytes(cell: Cell) -> int:
    """About how many bytes a cell needs at its peak, its descriptor in segments: for refusing what cannot work."""
    return BASE_BYTES + _bytes_per_pixel(cell) * cell.size * cell.size


def _bytes_per_pixel(cell: Cell, count: int | str = segments.AUTO) -> int:
    descriptor = segments.least_bytes(BYTES_PER_PIXEL[cell.kind], count)
    return max(descriptor, BYTES_PER_PIXEL_OF_BATCH * cell.batch)


def segments_for(cell: Cell, available: int | None) -> int:
    """In how many segments the descriptor has to be computed for the cell to fit into ``available`` bytes.

    One is fastest, and right where it fits or nothing is known (None).
    """
    if available is None:
        return 1
    return segments.fitting(_bytes_per_pixel(cell, 1) * cell.size * cell.size, available - BASE_BYTES)


def check_memory(cells: Iterable[Cell], available: Mapping[str, int]) -> None:
    """Refuse a plan whose largest cell cannot fit.

    ``available``: bytes per device name; a device that is not in it is not checked. Raises a UserError that
    says how much the cell would take.
    """
    for cell in sorted(cells, key=lambda cell: (cell.batch > 1, -estimate_bytes(cell))):
        limit = available.get(cell.device)
        if limit is None or estimate_bytes(cell) <= limit:
            continue
        fits = math.isqrt(max(0, limit - BASE_BYTES) // _bytes_per_pixel(cell)) // 16 * 16
        what = f"--size: {cell.size}" + (f" with --batch {cell.batch}" if cell.batch > 1 else "")
        advice = f"use at most {fits}" if fits >= 16 else "use another machine"
        need, have = _gigabytes(estimate_bytes(cell)), _gigabytes(limit)
        raise UserError(
            f"{what} is too large for the memory: {cell.method} would take about {need} and {have} are "
            f"available on {cell.device}; {advice}"
        )


def without_larger_batches(plan: Plan, available: Mapping[str, int]) -> Plan:
    """``plan`` without the cells of batch 2 and more that would not fit; see :func:`check_memory`."""
    return plan.only(lambda cell: cell.batch == 1 or estimate_bytes(cell) <= available.get(cell.device, math.inf))


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count < 1e12 else f"{count / 1e12:,.1f} TB"
