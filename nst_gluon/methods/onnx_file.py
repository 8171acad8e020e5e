"""A net that is known as an ONNX file only, and runs in ONNX Runtime only."""

from __future__ import annotations

from typing import Any

from nst_gluon.methods.base import TASKS, Generator
from nst_gluon.nets.description import Builder, Net, describe


class OnnxFile(Generator):
    """Its description has the file's inputs and working sizes, and none of its layers."""

    name = "onnx_file"
    tasks = TASKS
    title = "ONNX file"
    description = "a trained net from elsewhere, as an ONNX file (--net FILE.onnx --engine onnxruntime)"
    paper = "whatever the file's author says"
    color = "#999999"
    engines = ("onnxruntime",)
    foreign = True

    def architecture(self, task: str) -> dict[str, Any]:
        return {}

    def net(self, exported: str = "", architecture: dict | None = None) -> Net:
        """What is known of the net.

        Args:
            exported: the method of a net that the suite exported, of ``architecture``; any other net takes a content
                picture, whose sides are to be multiples of 4.
        """
        if exported:
            from nst_gluon import methods

            return describe(methods.get(exported), architecture, "its metadata")
        net = Builder()
        net.upsample(net.upsample(net.average_pool(net.content(), 4)))
        return net.build()
