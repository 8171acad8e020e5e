"""What is done to colours, pixel by pixel: the photo's own ones and less of the style for a net's picture; the
principal axes of a style's, and pictures that have its mean colour and covariance.

Pure functions of float32 pictures (..., 3, H, W), RGB in [0, 1].
"""

from __future__ import annotations

import numpy as np

from nst_gluon.pictures.images import resize
from nst_gluon.system.errors import UserError

# Luminance Y of the colour space YIQ (NTSC, 1953).
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# A covariance is matched to this fraction of its norm, in so many rounds at most.
TOLERANCE, ROUNDS = 0.005, 20
# The least variance along a principal axis: of any, and as a fraction of the largest.
FLAT, LEAST_FRACTION = 1e-6, 1e-4


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
    """From ``content`` (strength 0) to ``stylised`` (strength 1), linearly."""
    return content + np.float32(strength) * (stylised - content)


class PrincipalColors:
    """The principal axes of the colours of a style (1, 3, H, W); along each it has the same ``deviation``.

    Raises:
        UserError: the style is of one colour.
    """

    def __init__(self, style: np.ndarray, deviation: float):
        self.mean, self.covariance = moments(style)
        variances, axes = np.linalg.eigh(self.covariance)
        if not variances[-1] > FLAT:
            raise UserError("--style: it is of one colour; give one of more")
        # Along the others the style does not vary: a grey one has one axis.
        kept = variances > FLAT + LEAST_FRACTION * variances[-1]
        self._axes, self._scales = axes[:, kept], deviation / np.sqrt(variances[kept])

    @property
    def count(self) -> int:
        """How many axes there are."""
        return len(self._scales)

    def channels(self, picture: np.ndarray) -> np.ndarray:
        """A picture (1, 3, H, W) along the axes (1, count, H, W), each with mean 0.5."""
        along = np.einsum("ca,ncij->naij", self._axes, picture - self.mean[:, None, None])
        return (0.5 + along * self._scales[:, None, None]).astype("float32")

    def picture(self, channels: np.ndarray) -> np.ndarray:
        """Back, float32 in [0, 1], with the style's mean colour and covariance, as near as clipping lets them be."""
        along = (channels - 0.5) / self._scales[:, None, None]
        made = np.einsum("ca,naij->ncij", self._axes, along) + self.mean[:, None, None]
        aim_mean, aim = self.mean, self.covariance
        for _ in range(ROUNDS):
            mean, covariance = moments(made)
            change = power(aim, 0.5) @ np.linalg.pinv(power(covariance, 0.5))
            made = np.einsum("ab,nbij->naij", change, made - mean[:, None, None]) + aim_mean[:, None, None]
            made = np.clip(made, 0, 1)
            # Clipping takes some of the variance away again: aim as much beyond it.
            mean, covariance = moments(made)
            off = np.linalg.norm(covariance - self.covariance), np.linalg.norm(mean - self.mean)
            if off[0] < TOLERANCE * np.linalg.norm(self.covariance) and off[1] < TOLERANCE * np.linalg.norm(self.mean):
                break
            aim, aim_mean = aim + self.covariance - covariance, aim_mean + self.mean - mean
        return made.astype("float32")


def moments(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean colour (3,) and covariance (3, 3) of a picture (1, 3, H, W)."""
    pixels = picture[0].reshape(3, -1).astype("float64")
    return pixels.mean(axis=1), np.cov(pixels, bias=True)


def power(matrix: np.ndarray, exponent: float, least: float = 0.0) -> np.ndarray:
    """A power of a covariance, of eigenvalues that are at least ``least``."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.maximum(values, least) ** exponent @ vectors.T
