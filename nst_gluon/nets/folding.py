"""A net without the batch normalisations that its convolutions can do: the same pictures, fewer layers. No engine.

A batch normalisation in use is ``scale * x + shift`` per channel. After a convolution that nothing else reads it is
folded into that convolution's parameters; before one, also across a concatenation, into the parameters of the one
that follows, unless that pads with zeros: those come after the shift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nst_gluon.methods.description import EPSILON, Concatenate, Convolution, Layer, Net, Norm

Parameters = Mapping[str, np.ndarray]
Affine = tuple[np.ndarray, np.ndarray]


def fold(net: Net, params: Parameters) -> tuple[Net, dict[str, np.ndarray]]:
    """``net`` and ``params`` (float32, by name), batch normalisations folded where that is exact; computed in float64.

    A normalisation that cannot be folded stays, with its parameters.
    """
    values = {name: np.asarray(value, "float64") for name, value in params.items()}
    gone: dict[str, str] = {}  # names of folded layers, and what takes their place
    for layer in net.layers[:-1]:
        if not isinstance(layer, Norm) or layer.kind != "batch":
            continue
        source = net[layer.inputs[0]]
        if isinstance(source, Convolution) and len(net.consumers(source.name)) == 1:
            scale_output(values, source.name, affine(values, layer.name))
        elif (following := _convolution_after(net, layer)) is not None:
            _before(net, values, layer, following)
        else:
            continue
        gone[layer.name] = layer.inputs[0]
    kept = tuple(
        replace(layer, inputs=tuple(gone.get(name, name) for name in layer.inputs))
        for layer in net.layers
        if layer.name not in gone
    )
    found = Net(kept)
    names = {**found.parameters(), **found.statistics()}
    return found, {name: values[name].astype("float32") for name in names}


def affine(values: Parameters, name: str) -> Affine:
    """Scale and shift (C,) of a batch normalisation in use: its running statistics and what it learnt."""
    scale = values[f"{name}.gamma"] / np.sqrt(values[f"{name}.running_var"] + EPSILON)
    return scale, values[f"{name}.beta"] - values[f"{name}.running_mean"] * scale


def scale_output(values: dict[str, np.ndarray], name: str, by: Affine) -> None:
    """Give the convolution ``name`` what scales and shifts its output per channel."""
    scale, shift = by
    values[f"{name}.weight"] = values[f"{name}.weight"] * scale[:, None, None, None]
    values[f"{name}.bias"] = values[f"{name}.bias"] * scale + shift


def scale_input(values: dict[str, np.ndarray], name: str, by: Affine) -> None:
    """Give the convolution ``name``, which does not pad with zeros, what scales and shifts its input per channel."""
    (scale, shift), weight = by, values[f"{name}.weight"]
    values[f"{name}.bias"] = values[f"{name}.bias"] + np.einsum("oikl,i->o", weight, shift)
    values[f"{name}.weight"] = weight * scale[None, :, None, None]


def _convolution_after(net: Net, layer: Layer) -> Convolution | None:
    """The one convolution that reads ``layer``, maybe through concatenations, if it takes a shift of its input."""
    while len(taken := net.consumers(layer.name)) == 1:
        (layer,) = taken
        if isinstance(layer, Convolution) and (layer.mode != "zero" or not layer.padding):
            return layer
        if not isinstance(layer, Concatenate):
            break
    return None


def _before(net: Net, values: dict[str, np.ndarray], layer: Norm, following: Convolution) -> None:
    """Fold ``layer`` into ``following``: of a concatenation, only into the channels that are its own."""
    scale, shift = np.ones(following.source), np.zeros(following.source)
    begin = _channel(net, following.inputs[0], layer.name)
    own = slice(begin, begin + layer.channels)
    scale[own], shift[own] = affine(values, layer.name)
    scale_input(values, following.name, (scale, shift))


def _channel(net: Net, within: str, name: str) -> int | None:
    """The first channel of what ``name`` makes in what ``within`` makes; None if it is not in it."""
    if within == name:
        return 0
    start = 0
    for part in net[within].inputs if isinstance(net[within], Concatenate) else ():
        found = _channel(net, part, name)
        if found is not None:
            return start + found
        start += net[part].channels
    return None
