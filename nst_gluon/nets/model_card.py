"""The model card of an exported net: what it is, what goes in and out, what it was trained on, how to run it.

Pure functions of a net file's description (:mod:`nst_gluon.nets.netfile`). Imports neither an engine nor ``onnx``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nst_gluon import __version__, assets, methods

UNKNOWN = "not recorded"
EXAMPLE_SIZE = (512, 384)  # width and height of the example's picture: multiples of what every net needs


def style_rights(style: str) -> str:
    """What is known of a style picture's origin and rights, in one sentence."""
    if style in assets.STYLES:
        for line in (assets.FOLDER / "PROVENANCE.md").read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if f"{style}.jpg" in cells[0].split(", "):
                return f"{cells[1]}: {cells[2]}."
    return "A picture of whoever trained the net: whether its rights allow to publish this file is theirs to say."


def facts(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What the exported file itself says of the net, by name: texts, numbers and JSON objects."""
    architecture = meta.get("architecture") or {}
    scale = architecture.get("noise", 1.0)
    ranges = {"content": "RGB in [0, 1]"} if meta.get("task") == "stylize" else {}
    if meta.get("method") == "texture_net":
        ranges["noise"] = _noise(scale)
    return {
        "method": meta.get("method", UNKNOWN),
        "task": meta.get("task", UNKNOWN),
        "style": Path(str(meta.get("style", UNKNOWN))).stem,
        "architecture": architecture,
        "value_range": {**ranges, "picture": "RGB in [0, 1]"},
        "layout": "NCHW, float32",
        "multiple_of": multiple(meta),
        "preset": meta.get("preset", UNKNOWN),
        "training_size": meta.get("size", UNKNOWN),
        "iterations": meta.get("iterations", UNKNOWN),
        "seed": meta.get("seed", UNKNOWN),
        "final_objective": meta.get("final_objective", UNKNOWN),
        "descriptor": meta.get("weights", UNKNOWN),
        "command": meta.get("command", UNKNOWN),
        "licence": "MIT (nst-gluon and this graph); style picture: " + style_rights(str(meta.get("style", ""))),
    }


def _noise(scale: float) -> str:
    return f"uniform over a range of {scale:g}, each channel moved so that its mean is {scale / 2:g}"


def multiple(meta: Mapping[str, Any]) -> int:
    """What height and width must be multiples of."""
    architecture = meta.get("architecture") or {}
    return 4 if meta.get("method") == "johnson" else 2 ** (architecture.get("scales", 5) - 1)


def least(meta: Mapping[str, Any]) -> int:
    """The least height and width that the exported net takes."""
    architecture = meta.get("architecture") or {}
    if meta.get("method") == "johnson":
        return 8 * architecture.get("residuals", 5) + multiple(meta)
    return multiple(meta) * (2 if architecture.get("padding", "circular") == "reflect" else 1)


def program(meta: Mapping[str, Any], file: str) -> str:
    """A few lines of Python that make ``picture.png`` with the exported net in ``file`` (from ``photo.jpg``)."""
    width, height = EXAMPLE_SIZE
    architecture = meta.get("architecture") or {}
    scale = architecture.get("noise", 1.0)
    times = "" if scale == 1.0 else f"{scale:g} * "
    made, feeds = [], []
    if meta.get("task") == "stylize":
        made += [
            f'photo = Image.open("photo.jpg").convert("RGB").resize(({width}, {height}))',
            'content = np.asarray(photo, "float32").transpose(2, 0, 1)[None] / 255',
        ]
        feeds.append('"content": content')
    if meta.get("method") == "texture_net":
        scales = architecture.get("scales", 5)
        made += [
            f'sizes = {{f"noise{{k}}": (1, 3, {height} >> k, {width} >> k) for k in range({scales})}}',
            'noise = {name: np.random.rand(*size).astype("float32") for name, size in sizes.items()}',
            f'noise = {{name: {times}(z - z.mean((2, 3), keepdims=True) + 0.5) for name, z in noise.items()}}',
        ]
        feeds.append("**noise")
    given = "noise" if feeds == ["**noise"] else f"{{{', '.join(feeds)}}}"
    return "\n".join([
        "import numpy as np, onnxruntime",
        "from PIL import Image",
        *made,
        f'session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])',
        f"picture = session.run(None, {given})[0][0].transpose(1, 2, 0)",
        'Image.fromarray((255 * picture).round().astype("uint8")).save("picture.png")',
    ])  # fmt: skip


def _what(meta: Mapping[str, Any]) -> str:
    method = methods.METHODS[meta["method"]]
    makes = "repaints a photo" if meta["task"] == "stylize" else "makes a texture from noise"
    return f"It {makes} in the style of `{facts(meta)['style']}`: {method.description} ({method.paper})."


def _inputs(meta: Mapping[str, Any]) -> list[str]:
    lines = ["| name | shape | values |", "| --- | --- | --- |"]
    if meta["task"] == "stylize":
        lines.append("| `content` (in) | (N, 3, H, W) | the photo, RGB in [0, 1] |")
    if meta["method"] == "texture_net":
        scale = meta["architecture"].get("noise", 1.0)
        last = meta["architecture"].get("scales", 5) - 1
        lines.append(
            f"| `noise0` ... `noise{last}` (in) | (N, 3, H / 2^k, W / 2^k) | {_noise(scale)}; "
            "independent of each other |"
        )
    return [*lines, "| `picture` (out) | (N, 3, H, W) | RGB in [0, 1] |"]


def _training(meta: Mapping[str, Any]) -> list[str]:
    training = meta.get("training") or {}
    photos = training.get("photos")
    if meta["task"] == "texture":
        seen = "nothing but noise (a texture needs no photos)"
    elif photos:
        seen = f"the photos in `{Path(str(photos)).name}`"
    else:
        seen = (
            "the few photos and paintings that come with the suite, without the style picture and without "
            f"`{assets.HELD_OUT}`, in random crops"
        )
        if training.get("recipe") == "tuned":
            seen += f" of varied colours, and as many drawn scenes (dead leaves); `{assets.JUDGED}` chose the best net"
    terms = meta.get("final_objective") or {}
    names = [name for name in ("objective", "content", "style", "tv") if name in terms]
    objective = ", ".join(f"{name} {terms[name]:.4g}" for name in names)
    descriptor, size = meta.get("weights") or {}, meta.get("size", UNKNOWN)
    lines = [
        f"- style picture: `{facts(meta)['style']}`. {style_rights(str(meta.get('style', '')))}",
        f"- trained on: {seen}",
        f"- steps: {meta.get('iterations', UNKNOWN)}, pictures a step: {training.get('batch', UNKNOWN)}, pixels: "
        f"{size} x {size}, seed: {meta.get('seed', UNKNOWN)}",
        f"- minimised: the preset `{meta.get('preset', UNKNOWN)}` (layers, weights and source in "
        f"`nst_gluon/presets.py`), descriptor: {descriptor.get('source', UNKNOWN)}",
        f"- the objective at the end, mean of the last steps: {objective or UNKNOWN}",
        *([f"- the objective on held-out pictures: {meta['held_out']:.4g}"] if meta.get("held_out") else []),
        f"- command: `{meta.get('command', UNKNOWN)}`",
    ]
    if descriptor.get("random"):
        lines.append("- **the descriptor had random weights: this net is good for tests only**")
    return lines


def card(meta: Mapping[str, Any], file: str, checked: str) -> str:
    """The card, Markdown.

    Args:
        meta: a net file's description.
        file: the exported file's name.
        checked: one sentence on whether its picture was compared with the original's.
    """
    step, smallest = multiple(meta), least(meta)
    return "\n".join([
        f"# {file}",
        "",
        f"{_what(meta)} Exported by nst-gluon {__version__} as ONNX, opset 13, float32. {checked}",
        "",
        "## Inputs and output",
        "",
        *_inputs(meta),
        "",
        f"All float32. N, H and W are free; H and W must be multiples of {step} and at least {smallest}: pad a picture "
        "by reflection and crop the result.",
        "",
        "## Running it",
        "",
        "```python",
        program(meta, file),
        "```",
        "",
        "with `pip install onnxruntime pillow numpy`.",
        "",
        "## Training",
        "",
        *_training(meta),
        "",
        "## Licence",
        "",
        "The graph and the code that made it: MIT, as nst-gluon. The descriptor (VGG-19 or VGG-16) was used in "
        "training only and is not part of this file. For the style picture see above.",
        "",
        "## Limits",
        "",
        "- One style, fixed. Strokes and details have the size in pixels that they had in training, whatever the size "
        "of the picture.",
        "- Instance normalisation looks at the whole picture: tiles that are stylised apart do not fit together."
        if meta["architecture"].get("norm") == "instance"
        else "- Batch normalisation is folded into the convolutions: the net cannot be trained further from this file.",
        "- Nets of few training steps are demonstrations, not products; the objective above says how far this one got.",
        "",
    ])  # fmt: skip
