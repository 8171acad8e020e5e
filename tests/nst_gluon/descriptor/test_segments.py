"""The descriptor in segments: cuts that cover it, and the value, gradient and memory of an evaluation with them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from plans import environment

from nst_gluon.descriptor import segments, vgg
from nst_gluon.descriptor import weights as vgg_weights
from nst_gluon.objective import presets
from nst_gluon.objective.loss import Objective
from nst_gluon.system.errors import UserError

STEPS = vgg.plan("vgg19", ["relu5_1"])

PRESET = presets.get("texture_net_relative")


def test_spans_cover_every_convolution_once():
    for count in range(1, len(STEPS) + 1):
        found = segments.spans(STEPS, count)
        assert len(found) == count
        assert [at for first, last in found for at in range(first, last)] == list(range(len(STEPS)))


def test_cuts_lie_where_the_large_activations_are():
    """Two thirds of the activations belong to the first two blocks: no cut leaves them in one segment."""
    sizes = [vgg.CHANNELS[block - 1] / 4 ** (block - 1) for block, _ in STEPS]
    largest = max(sum(sizes[first:last]) for first, last in segments.spans(STEPS, 3))
    assert largest < 0.5 * sum(sizes)
    assert segments.spans(STEPS, 1) == ((0, 13),)


@pytest.mark.parametrize("count", [0, 14])
def test_impossible_counts_are_refused(count):
    with pytest.raises(UserError, match=f"--segments: {count} is not possible"):
        segments.spans(STEPS, count)


def test_as_few_segments_as_the_memory_allows():
    assert segments.fitting(1000, 1000) == 1
    assert segments.fitting(1000, 800) == 3
    assert segments.fitting(1000, 1) == 3  # nothing fits: as well as it gets
    assert segments.least_bytes(1000, 1) == 1000 > segments.least_bytes(1000, segments.AUTO)
    assert segments.least_bytes(1000, 13) == segments.least_bytes(1000, 3)


def pictures() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(np.random.default_rng(1).random((3, 1, 3, 32, 48)).astype("float32"))


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_value_and_gradient_are_those_of_one_piece(name):
    preset = presets.get(name)
    weights = vgg_weights.random_weights(preset.arch, seed=1)
    x, style, content = pictures()
    whole = Objective(preset, weights, "stylize", style, content)
    terms, gradient = whole.value_and_gradient(x)
    for count in (3, 7):
        cut = Objective(preset, weights, "stylize", style, content, segments=count)
        found, found_gradient = cut.value_and_gradient(x)
        assert list(found.as_dict().values()) == pytest.approx(list(terms.as_dict().values()), rel=1e-5)
        assert np.linalg.norm(found_gradient - gradient) < 1e-5 * np.linalg.norm(gradient)
        assert cut.terms(x).as_dict() == pytest.approx(terms.as_dict(), rel=1e-5)


@pytest.mark.usefixtures("bfloat16_processor")
def test_bfloat16_in_segments_is_bfloat16_in_one_piece():
    """Up to its rounding, eight bits: what goes from one segment to the next is float32, which holds it exactly."""
    x, style, _ = pictures()
    results = []
    for count in (1, 4):
        weights = vgg_weights.random_weights("vgg19", seed=1)
        objective = Objective(PRESET, weights, "texture", style, dtype="bfloat16", segments=count)
        results.append(objective.value_and_gradient(x))
    (one, whole), (four, cut) = results
    assert four.objective == pytest.approx(one.objective, rel=4e-3)
    assert (cut * whole).sum() > 0.98 * np.linalg.norm(cut) * np.linalg.norm(whole)


def test_an_objective_for_another_size_shares_the_weights():
    x, style, content = pictures()
    weights = vgg_weights.random_weights("vgg19", seed=1)
    first = Objective(PRESET, weights, "stylize", style, content)
    other = first.aimed_at(style[:, :, :16, :24], content[:, :, :16, :24])
    fresh = Objective(PRESET, weights, "stylize", style[:, :, :16, :24], content[:, :, :16, :24])
    before = first.terms(x)
    assert other.terms(x[:, :, :16, :24]) == fresh.terms(x[:, :, :16, :24])
    assert first.terms(x) == before
    assert all(a is b for a, b in zip(first._arrays, other._arrays))


MEASURE = """
import sys
import numpy as np
from nst_gluon.descriptor import weights
from nst_gluon.objective import presets
from nst_gluon.objective.loss import Objective
from bench.machine.meters import high_water_bytes
from pathlib import Path

rng = np.random.default_rng(0)
x, style = rng.random((1, 3, 384, 384), dtype=np.float32), rng.random((1, 3, 64, 64), dtype=np.float32)
preset = presets.Preset("first", "", "vgg19", (), (("relu1_1", 1.0), ("relu2_2", 1.0)), "chw", "mean", "mean")
objective = Objective(preset, weights.random_weights("vgg19"), "texture", style, segments=int(sys.argv[1]))
resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
objective.value_and_gradient(x)
print(high_water_bytes() - resident)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
def test_the_peak_is_lower():
    """The first two blocks at 384x384, where the memory is: three segments took 0.82 of what one took."""
    peaks = [
        int(subprocess.run([sys.executable, "-c", MEASURE, count], check=True, capture_output=True, text=True,
                           env=environment()).stdout)
        for count in ("1", "3")
    ]  # fmt: skip
    assert peaks[1] < 0.92 * peaks[0]
