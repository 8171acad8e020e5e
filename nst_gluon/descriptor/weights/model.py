"""VGG weights as plain arrays: architecture, checks, identity."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nst_gluon.descriptor.architecture import CHANNELS, CONVOLUTIONS
from nst_gluon.descriptor.scaling import IMAGENET_MEAN, IMAGENET_STD, Triple
from nst_gluon.system.errors import UserError, did_you_mean


def conv_names(arch: str) -> list[str]:
    """The names of the convolutions of ``arch``, in order: ``conv1_1`` ... ``conv5_3`` or ``conv5_4``."""
    if arch not in CONVOLUTIONS:
        raise UserError(f"weights: unknown architecture {arch!r}; {did_you_mean(arch, CONVOLUTIONS)}")
    return [f"conv{block}_{i}" for block, n in enumerate(CONVOLUTIONS[arch], 1) for i in range(1, n + 1)]


def expected_shapes(arch: str) -> dict[str, tuple[int, ...]]:
    """Canonical parameter names of ``arch`` with their shapes (OIHW and O), in order."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for name in conv_names(arch):
        outputs = CHANNELS[int(name[4]) - 1]
        shapes[f"{name}.weight"] = (outputs, inputs, 3, 3)
        shapes[f"{name}.bias"] = (outputs,)
        inputs = outputs
    return shapes


@dataclass(frozen=True, eq=False)
class VggWeights:
    """The convolutions of a VGG, with the input scaling they were trained with.

    A descriptor computes ``conv((x - mean) / std)`` for RGB pictures ``x`` in [0, 1], for any source.

    arch    ``vgg16`` or ``vgg19``
    params  ``conv1_1.weight`` (float32, OIHW, input channels RGB), ``conv1_1.bias``, ... in order; read-only
    mean    RGB, in units of [0, 1]
    std     RGB, in units of [0, 1]
    source  where they came from, for people
    sha256  of names, shapes and float32 bytes of the parameters, the mean and the deviation
    random  True when these are not trained weights; every result made with them is marked
    """

    arch: str
    params: Mapping[str, np.ndarray]
    mean: Triple
    std: Triple
    source: str
    sha256: str
    random: bool = False

    def identity(self) -> dict[str, object]:
        """What a result must record about the weights it was made with."""
        return {"arch": self.arch, "source": self.source, "sha256": self.sha256, "random": self.random}


def content_sha256(params: Mapping[str, np.ndarray], mean: Triple, std: Triple) -> str:
    """Hash of names, shapes and little-endian float32 bytes, in the order given, then of the scaling."""
    digest = hashlib.sha256()
    for name, array in {**params, "mean": np.asarray(mean), "std": np.asarray(std)}.items():
        shape = "x".join(map(str, array.shape))
        digest.update(f"{name} {shape}\n".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f4"))
    return digest.hexdigest()


def build(
    arch: str,
    arrays: Mapping[str, np.ndarray],
    mean: Triple,
    std: Triple,
    source: str,
    random: bool = False,
    where: str = "weights",
) -> VggWeights:
    """Make :class:`VggWeights` of the arrays of ``arch``, which have the canonical names and shapes.

    ``where`` starts the messages. Raises :class:`UserError` for values, also of the scaling, that are not finite.
    """
    params = {}
    for name in expected_shapes(arch):
        with np.errstate(over="ignore", invalid="ignore"):
            array = np.ascontiguousarray(arrays[name], dtype=np.float32)
        if not np.isfinite(array).all():
            raise UserError(f"{where}: {name} has values that are not finite (NaN, infinite or beyond float32)")
        array = array.view()
        array.setflags(write=False)
        params[name] = array
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != 3 or not all(math.isfinite(v) for v in values):
            raise UserError(f"{where}: the input scaling's {name} should be three finite numbers (RGB)")
    if min(std) <= 0:
        raise UserError(f"{where}: the input scaling's std should be positive, not {min(std):g}")
    mean, std = tuple(map(float, mean)), tuple(map(float, std))  # type: ignore[assignment]
    return VggWeights(arch, params, mean, std, source, content_sha256(params, mean, std), random)


def random_weights(arch: str = "vgg19", seed: int = 0) -> VggWeights:
    """Untrained weights for machines without a network: He-normal (He et al. 2015), no bias, marked."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for name, shape in expected_shapes(arch).items():
        if name.endswith(".weight"):
            deviation = np.float32(math.sqrt(2 / math.prod(shape[1:])))
            arrays[name] = generator.standard_normal(shape, dtype=np.float32) * deviation
        else:
            arrays[name] = np.zeros(shape, np.float32)
    return build(arch, arrays, IMAGENET_MEAN, IMAGENET_STD, f"random (seed {seed})", random=True)
