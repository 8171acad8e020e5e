"""A net that is known as an ONNX file only, and runs in ONNX Runtime only."""

from __future__ import annotations

from typing import Any

from nst_gluon.methods.base import TASKS, Generator
from nst_gluon.methods.description import Builder, Net


class OnnxFile(Generator):
    """Its description has the file's inputs and working sizes; its layers only where the suite exported it."""

    name = "onnx_file"
    tasks = TASKS
    title = "ONNX file"
    description = "a trained net from elsewhere, as an ONNX file (--net FILE.onnx --engine onnxruntime)"
    paper = "whatever the file's author says"
    color = "#7f7f7f"
    engines = ("onnxruntime",)

    def architecture(self, task: str) -> dict[str, Any]:
        return {}

    def net(self, layers: list | None = None) -> Net:
        """What is known of the net: its ``layers``, as :meth:`Net.to_data` has them, where the suite exported it.

        Any other takes a content picture, whose sides are made multiples of 4.
        """
        if layers is not None:
            return Net.from_data(layers, "its metadata")
        net = Builder()
        net.upsample(net.upsample(net.average_pool(net.content(), 4)))
        return net.build()
