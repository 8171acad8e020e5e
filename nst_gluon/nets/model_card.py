"""The model card of an exported net: what it is, what goes in and out, what it was trained on, how to run it.

Pure functions of a net's description and of what its file says (:mod:`nst_gluon.nets.netfile`). Imports neither an
engine nor ``onnx``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nst_gluon import __version__, assets
from nst_gluon.methods.description import Layer, Net, Noise
from nst_gluon.nets import geometry, netfile
from nst_gluon.nets.patterns import normalises_alone
from nst_gluon.objective.loss_terms import TERMS

UNKNOWN = "not recorded"
# Of a net without a record of its training.
ELSEWHERE = "the net was trained elsewhere: its licence is that of whoever trained it"
RGB = "RGB in [0, 1]"
EXAMPLE_SIZE = (512, 384)  # width and height of the example's picture: multiples of what every net needs


def style_rights(meta: Mapping[str, Any]) -> str:
    """What is known of the origin and the rights of a net's style picture, in one sentence."""
    style = (meta.get("training") or {}).get("style")  # as it was given: meta["style"] is a file's stem, too
    if style in assets.STYLES:
        for line in (assets.FOLDER / "PROVENANCE.md").read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if f"{style}.jpg" in cells[0].split(", "):
                return f"{cells[1]}: {cells[2]}."
    return "A picture of whoever trained the net: whether its rights allow to publish this file is theirs to say."


def facts(net: Net, meta: Mapping[str, Any]) -> dict[str, Any]:
    """What the exported file itself says of the net, by name: texts, numbers and JSON objects."""
    licence = "MIT (nst-gluon and this graph)" if meta.get("training") else f"{UNKNOWN}, as {ELSEWHERE}"
    return {
        "method": meta.get("method", UNKNOWN),
        "task": meta.get("task", UNKNOWN),
        "style": Path(str(meta.get("style", UNKNOWN))).stem,
        "architecture": meta.get("architecture") or {},
        "value_range": {**{given.name: values(given) for given in net.inputs}, "picture": RGB},
        "layout": "NCHW, float32",
        "multiple_of": net.multiple,
        "preset": meta.get("preset", UNKNOWN),
        "training_size": meta.get("size", UNKNOWN),
        "iterations": meta.get("iterations", UNKNOWN),
        "seed": meta.get("seed", UNKNOWN),
        "final_objective": meta.get("final_objective", UNKNOWN),
        "descriptor": meta.get("weights", UNKNOWN),
        "command": meta.get("command", UNKNOWN),
        "licence": f"{licence}; style picture: {style_rights(meta)}",
    }


def values(given: Layer) -> str:
    """What the values of an input are."""
    if isinstance(given, Noise):
        scale = given.amplitude
        return f"uniform over a range of {scale:g}, each channel moved so that its mean is {scale / 2:g}"
    return RGB


def program(net: Net, file: str) -> str:
    """A few lines of Python that make ``picture.png`` with the exported net in ``file`` (from ``photo.jpg``)."""
    width, height = EXAMPLE_SIZE
    noise = {given.name: (given.channels, given.reduction, given.amplitude)
             for given in net.inputs if isinstance(given, Noise)}  # fmt: skip
    lines = ["import numpy as np, onnxruntime", "from PIL import Image"]
    if net.takes_content:
        lines += [
            f'photo = Image.open("photo.jpg").convert("RGB").resize(({width}, {height}))',
            'content = np.asarray(photo, "float32").transpose(2, 0, 1)[None] / 255',
        ]
    if noise:
        lines += [
            f"noise = {json.dumps(noise)}  # channels, halvings of the side, range",
            f"noise = {{n: (np.random.rand(1, c, {height} >> k, {width} >> k), a) for n, (c, k, a) in noise.items()}}",
            'noise = {n: (a * (z - z.mean((2, 3), keepdims=True) + 0.5)).astype("float32") '
            "for n, (z, a) in noise.items()}",
        ]
    feeds = ['"content": content'] * net.takes_content + ["**noise"] * bool(noise)
    given = "noise" if feeds == ["**noise"] else f"{{{', '.join(feeds)}}}"
    return "\n".join([
        *lines,
        f'session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])',
        f"picture = session.run(None, {given})[0][0].transpose(1, 2, 0)",
        'Image.fromarray((255 * picture).round().astype("uint8")).save("picture.png")',
    ])  # fmt: skip


def _what(net: Net, meta: Mapping[str, Any]) -> str:
    method = netfile.method_of(meta, "the net")
    makes = "repaints a photo" if net.takes_content else "makes a texture from noise"
    return f"It {makes} in the style of `{facts(net, meta)['style']}`: {method.description} ({method.paper})."


def _inputs(net: Net) -> list[str]:
    lines = ["| name | shape | values |", "| --- | --- | --- |"]
    for given in net.inputs:
        sides = (f"{side} / {2**given.reduction}" if given.reduction else side for side in "HW")
        lines.append(f"| `{given.name}` (in) | (N, {given.channels}, {', '.join(sides)}) | {values(given)} |")
    return [*lines, f"| `picture` (out) | (N, 3, H, W) | {RGB} |"]


def _training(net: Net, meta: Mapping[str, Any]) -> list[str]:
    training = meta.get("training") or {}
    minimised = "minimised: a loss of the method's own; judged by" if meta.get("own_loss") else "minimised"
    photos = training.get("photos")
    if not training:
        seen = UNKNOWN
    elif meta.get("own_loss"):
        seen = "crops of the style picture"
    elif not net.takes_content:
        seen = "nothing but noise (a texture needs no photos)"
    elif photos:
        seen = f"the photos in `{Path(str(photos)).name}`"
    else:
        seen = (
            "the few photos and paintings that come with the suite, without the style picture, "
            f"`{assets.HELD_OUT}` and `{assets.JUDGED}`, in random crops"
        )
        if training.get("recipe") == "tuned":
            seen += (
                " of varied colours, and as many drawn scenes (dead leaves); the net is the one that was best on "
                f"`{assets.JUDGED}` and three drawn scenes"
            )
    terms = meta.get("final_objective") or {}
    names = [name for name in TERMS if name in terms]
    objective = ", ".join(f"{name} {terms[name]:.4g}" for name in names)
    descriptor, size = meta.get("weights") or {}, meta.get("size", UNKNOWN)
    held_out = "pictures" if net.takes_content else "draws of noise"
    lines = [
        f"- style picture: `{facts(net, meta)['style']}`. {style_rights(meta)}",
        f"- trained on: {seen}",
        f"- steps: {meta.get('iterations', UNKNOWN)}, pictures a step: {training.get('batch', UNKNOWN)}, pixels: "
        f"{size} x {size}, seed: {meta.get('seed', UNKNOWN)}",
        f"- {minimised}: the preset `{meta.get('preset', UNKNOWN)}` (layers, weights and source in "
        f"`nst_gluon/objective/presets.py`), descriptor: {descriptor.get('source', UNKNOWN)}"
        if training else f"- minimised: {UNKNOWN}",
        f"- the objective at the end, mean of the last steps: {objective or UNKNOWN}",
        *([f"- the objective on held-out {held_out}: {meta['held_out']:.4g}"] if meta.get("held_out") else []),
        f"- command: `{meta.get('command', UNKNOWN)}`",
    ]
    if descriptor.get("random"):
        lines.append("- **the descriptor had random weights: this net is good for tests only**")
    return lines


def card(net: Net, meta: Mapping[str, Any], file: str, checked: str) -> str:
    """The card, Markdown.

    Args:
        net: its description.
        meta: what its file says of it.
        file: the exported file's name.
        checked: one sentence on whether its picture was compared with the original's.
    """
    step, smallest = net.multiple, geometry.working_size(net, 1, 1)[0]
    return "\n".join([
        f"# {file}",
        "",
        f"{_what(net, meta)} Exported by nst-gluon {__version__} as ONNX, opset 13, float32. {checked}",
        "",
        "## Inputs and output",
        "",
        *_inputs(net),
        "",
        f"All float32. N, H and W are free; H and W must be multiples of {step} and at least {smallest}: pad a picture "
        "by reflection and crop the result.",
        "",
        "## Running it",
        "",
        "```python",
        program(net, file),
        "```",
        "",
        "with `pip install onnxruntime pillow numpy`.",
        "",
        "## Training",
        "",
        *_training(net, meta),
        "",
        "## Licence",
        "",
        "The graph and the code that made it: MIT, as nst-gluon. The descriptor (VGG-19 or VGG-16) was used in "
        "training only and is not part of this file. For the style picture see above."
        if meta.get("training") else f"The code that made this file: MIT, as nst-gluon; {ELSEWHERE}.",
        "",
        "## Limits",
        "",
        "- One style, fixed. Strokes and details have the size in pixels that they had in training, whatever the size "
        "of the picture.",
        "- Instance normalisation looks at the whole picture: tiles that are stylised apart do not fit together."
        if normalises_alone(net)
        else "- Batch normalisation is folded into the convolutions: the net cannot be trained further from this file.",
        "- Nets of few training steps are demonstrations, not products; the objective above says how far this one got.",
        "",
    ])  # fmt: skip
