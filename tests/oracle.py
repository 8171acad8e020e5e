"""The descriptor and the losses once more, in plain float64 numpy from the papers' formulas: no engine in it."""

from __future__ import annotations

import numpy as np

FIRST = tuple(f"relu{block}_1" for block in range(1, 6))
BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


def picture(seed: int, height: int = 32, width: int = 40) -> np.ndarray:
    """Coarse noise with fine noise on it (1, 3, height, width), so that every layer has something to see."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((1, 3, height // 4 + 1, width // 4 + 1)).repeat(4, axis=2).repeat(4, axis=3)
    return (coarse[:, :, :height, :width] * 0.7 + 0.3 * rng.random((1, 3, height, width))).astype("float32")


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """3x3 convolution (C, H, W) with zero padding 1: cross-correlation, as every framework calls it."""
    c, h, w = x.shape
    padded = np.zeros((c, h + 2, w + 2))
    padded[:, 1:-1, 1:-1] = x
    out = np.zeros((kernel.shape[0], h, w))
    for i in range(3):
        for j in range(3):
            out += np.tensordot(kernel[:, :, i, j].astype(np.float64), padded[:, i : i + h, j : j + w], axes=1)
    return out + bias[:, None, None]


def pool(x: np.ndarray, kind: str) -> np.ndarray:
    """2x2, stride 2; an odd last row or column is dropped."""
    c, h, w = x.shape
    windows = x[:, : h // 2 * 2, : w // 2 * 2].reshape(c, h // 2, 2, w // 2, 2)
    return windows.max(axis=(2, 4)) if kind == "max" else windows.mean(axis=(2, 4))


def describe(picture: np.ndarray, weights, pooling: str = "max") -> dict[str, np.ndarray]:
    """Every activation of a picture (3, H, W) in [0, 1]: {"conv1_1": ..., "relu1_1": ...}."""
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (weights.mean, weights.std))
    x = (picture.astype(np.float64) - mean) / std
    named = {}
    for block, count in enumerate(BLOCKS[weights.arch], 1):
        if block > 1:
            x = pool(x, pooling)
        for index in range(1, count + 1):
            name = f"{block}_{index}"
            x = convolve(x, weights.params[f"conv{name}.weight"], weights.params[f"conv{name}.bias"])
            named[f"conv{name}"] = x
            x = np.maximum(x, 0)
            named[f"relu{name}"] = x
    return named


def gram(features: np.ndarray) -> np.ndarray:
    """Unnormalised: G_ij = sum_p F_ip F_jp."""
    flat = features.reshape(features.shape[0], -1)
    return flat @ flat.T


def gatys(picture, style, content, weights) -> tuple[float, float, float]:
    """(content, style, tv) of the paper: E_l = sum (G - A)^2 / (4 N^2 M^2) / 5, beta = 1e3; average pooling."""
    p, s, c = (describe(v, weights, "avg") for v in (picture, style, content))
    total = 0.0
    for name in FIRST:
        channels, positions = p[name].shape[0], p[name][0].size
        target = gram(s[name]) * positions / s[name][0].size  # a style of another size, brought to this one
        total += ((gram(p[name]) - target) ** 2).sum() / (4 * channels**2 * positions**2) / 5
    return 0.5 * ((p["relu4_2"] - c["relu4_2"]) ** 2).sum(), 1e3 * total, 0.0


def _grams(p, s, names):
    """The pairs of Grams over the number of features, of picture and style."""
    return [tuple(gram(v[name]) / v[name].size for v in (p, s)) for name in names]


def texture_net(picture, style, content, weights) -> tuple[float, float, float]:
    """The paper's ||G - A||^2, summed over the layers."""
    p, s, c = (describe(v, weights) for v in (picture, style, content))
    total = sum(((a - b) ** 2).sum() for a, b in _grams(p, s, FIRST))
    return 5e4 * np.mean((p["relu4_2"] - c["relu4_2"]) ** 2), total, 0.0


def texture_net_relative(picture, style, content, weights) -> tuple[float, float, float]:
    """Every difference relative to the mean square of its target."""
    p, s, c = (describe(v, weights) for v in (picture, style, content))
    total = sum(((a - b) ** 2).sum() / (b**2).sum() for a, b in _grams(p, s, FIRST))
    difference = ((p["relu4_2"] - c["relu4_2"]) ** 2).sum() / (c["relu4_2"] ** 2).sum()
    return 200 * difference, 200 * total, 0.0


def johnson(picture, style, content, weights) -> tuple[float, float, float]:
    p, s, c = (describe(v, weights) for v in (picture, style, content))
    x = picture.astype(np.float64) * 255
    tv = 1e-6 * (((x[:, 1:] - x[:, :-1]) ** 2).sum() + ((x[:, :, 1:] - x[:, :, :-1]) ** 2).sum())
    total = sum(((a - b) ** 2).mean() for a, b in _grams(p, s, ("relu1_2", "relu2_2", "relu3_3", "relu4_3")))
    return np.mean((p["relu3_3"] - c["relu3_3"]) ** 2), 5 * total, tv


def d2l(picture, style, content, weights) -> tuple[float, float, float]:
    """TV of the picture as the article's code holds it: normalised by ImageNet's mean and deviation."""
    p, s, c = (describe(v, weights) for v in (picture, style, content))
    x = picture.astype(np.float64) / np.reshape((0.229, 0.224, 0.225), (3, 1, 1))
    tv = 0.5 * (np.abs(x[:, 1:] - x[:, :-1]).mean() + np.abs(x[:, :, 1:] - x[:, :, :-1]).mean())
    total = sum(((a - b) ** 2).mean() for a, b in _grams(p, s, [f"conv{block}_1" for block in range(1, 6)]))
    return np.mean((p["conv4_4"] - c["conv4_4"]) ** 2), 1e3 * total, 10 * tv


def keras(picture, style, content, weights) -> tuple[float, float, float]:
    p, s, c = (describe(v, weights) for v in (picture, style, content))
    height, width = picture.shape[1:]
    total = 0.0
    for name in ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"):
        total += ((gram(s[name]) - gram(p[name])) ** 2).sum() / (4.0 * 3**2 * (height * width) ** 2)
    x = picture.astype(np.float64) * 255
    a = (x[:, : height - 1, : width - 1] - x[:, 1:, : width - 1]) ** 2
    b = (x[:, : height - 1, : width - 1] - x[:, : height - 1, 1:]) ** 2
    return 0.025 * ((p["relu2_2"] - c["relu2_2"]) ** 2).sum(), 5.0 / 5 * total, 1.0 * ((a + b) ** 1.25).sum()
