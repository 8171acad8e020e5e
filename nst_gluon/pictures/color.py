"""What is done to a net's picture afterwards, pixel by pixel: the photo's own colours, and less of the style.

Pure functions of float32 pictures (..., 3, H, W), RGB in [0, 1].
"""

from __future__ import annotations

import numpy as np

from nst_gluon.pictures.images import resize

# Luminance Y of the colour space YIQ (NTSC, 1953).
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def luminance(picture: np.ndarray) -> np.ndarray:
    """Y of YIQ, (..., 1, H, W), in the range of the picture."""
    weights = LUMINANCE.astype(picture.dtype, copy=False)
    return np.tensordot(picture, weights, axes=(-3, 0))[..., None, :, :]


def keep_colors(content: np.ndarray, stylised: np.ndarray) -> np.ndarray:
    """The luminance of ``stylised`` with the colours (I and Q of YIQ) of ``content``, clipped to [0, 1].

    Gatys, Bethge, Hertzmann, Shechtman: Preserving Color in Neural Artistic Style Transfer, 2016, section 3.2. Y has
    the same part in R, G and B when YIQ is turned back, so that it is enough to move all three by the difference in Y.
    """
    return np.clip(content + (luminance(stylised) - luminance(content)), 0, 1)


def carry_detail(content: np.ndarray, small: np.ndarray) -> np.ndarray:
    """A picture that was made ``small`` at the size of its ``content``, with the detail that ``content`` has beyond it.

    Enlarged, plus the difference in luminance of ``content`` and its own version at the small size; clipped to [0, 1].
    """
    full = content.shape[-2:]
    coarse = resize(resize(content, small.shape[-2:]), full)
    return np.clip(resize(small, full) + luminance(content - coarse), 0, 1)


def interpolate(content: np.ndarray, stylised: np.ndarray, strength: float) -> np.ndarray:
    """From ``content`` (strength 0) to ``stylised`` (strength 1), linearly; ValueError outside [0, 1]."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is from 0 to 1, not {strength}")
    return content + np.float32(strength) * (stylised - content)
