"""What runs a net as its ONNX export: read, checked and fed alike, whatever computes it. Imports no engine.

Such engines have no objective: their pictures are compared with the reference's (``python -m bench parity``), not
scored.
"""

from __future__ import annotations

import abc
import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nst_gluon.methods.description import Net
from nst_gluon.nets import foreign, netfile, onnx_export
from nst_gluon.nets import inputs as net_inputs
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import one_line

FLOAT = 1  # the number of float32 among ONNX's types


class Generator(abc.ABC):
    """A trained net, exported when it is loaded.

    Attributes:
        model: the ONNX file; description: the net as data; meta: what its file says of it.
        parameter_count: learnt parameters, running statistics not counted.
    """

    def __init__(self, path: Path):
        self.model, self.description, self.meta, self.parameter_count = _read(path)

    @abc.abstractmethod
    def given(self) -> Sequence[tuple[str, Sequence[Any]]]:
        """Name and shape of each input; a side that is no number may be any."""

    @abc.abstractmethod
    def placed(self, arrays: Sequence[np.ndarray]) -> tuple:
        """Arrays (N, C, H, W), float32, where :meth:`forward` takes them from."""

    @abc.abstractmethod
    def forward(self, *inputs: Any) -> Any:
        """One pass of the net: (N, 3, H', W') at the working size, numpy or what becomes it when it is indexed or
        fetched; valid only until the next call.
        """

    def inputs(
        self, content: np.ndarray | None = None, size: tuple[int, int] | None = None, batch: int = 1, seed: int = 0
    ) -> tuple:
        """Values on the device for :meth:`forward`, see :func:`nst_gluon.nets.inputs.arrays`."""
        arrays = net_inputs.arrays(self.description, content, size, batch, seed)
        for (name, shape), array in zip(self.given(), arrays):
            if any(isinstance(side, int) and side != there for side, there in zip(shape, array.shape)):
                raise UserError(f"--net: its {name} is {list(shape)}, never {list(array.shape)}")
        return self.placed([np.ascontiguousarray(array, dtype="float32") for array in arrays])

    def generate(
        self, content: np.ndarray | None = None, size: tuple[int, int] | None = None, seed: int = 0
    ) -> np.ndarray:
        """Pictures (N, 3, H, W), float32 in [0, 1]: of the content's size, or of ``size`` for textures."""
        height, width = size or content.shape[2:]
        out = self.forward(*self.inputs(content, size, 1 if content is None else content.shape[0], seed))
        return np.clip(out[:, :, :height, :width], 0.0, 1.0)


def _read(path: Path) -> tuple[bytes, Net, dict[str, Any], int]:
    """A net as an ONNX model, as data, its meta, and how many parameters it has.

    Of a model from elsewhere, whose layers are not known, all constants count.
    """
    if foreign.is_onnx(path):
        model, meta = foreign.onnx_file(path)
        count = sum(math.prod(constant.dims) for constant in model.graph.initializer if constant.data_type == FLOAT)
        return model.SerializeToString(), netfile.net_of(meta, str(path)), meta, count
    net, params, meta = netfile.checked(path)
    return onnx_export.build(net, params, meta).SerializeToString(), net, meta, net.parameter_count


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Errors of an engine, which have no class in common, as a UserError of one line."""
    try:
        yield
    except Exception as error:
        raise UserError(f"{what}: {one_line(error)[:200]}") from None
