"""What the objective is in every engine: its terms, what its total variation sees, and the pictures that it refuses.

No engine in it. The formulas themselves are each engine's own (:mod:`nst_gluon.objective.loss` has the reference):
that they agree is measured, not arranged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

from nst_gluon.descriptor.scaling import IMAGENET_STD
from nst_gluon.system.errors import UserError

# Preset.tv_scale: what each channel of a picture in [0, 1] is multiplied by.
TV_SCALES = {"unit": (1.0,) * 3, "byte": (255.0,) * 3, "imagenet": tuple(1 / s for s in IMAGENET_STD)}


@dataclass(frozen=True)
class Terms:
    """The three terms, each already weighted, and their sum, the objective."""

    objective: float
    content: float
    style: float
    tv: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


#: Their names, the objective first.
TERMS = tuple(field.name for field in fields(Terms))


def check_size(shape: Sequence[int], layers: Iterable[str], what: str) -> None:
    """That pictures (N, 3, H, W) have at least a pixel left in the deepest of the ``layers`` (``relu5_1``).

    Raises:
        UserError: they have not; it names ``what``.
    """
    smallest = max(2, *(1 << (int(name[4]) - 1) for name in layers))
    if min(shape[2:]) < smallest:
        raise UserError(
            f"{what}: {shape[3]}x{shape[2]} pixels is too small for this objective; both sides need at least {smallest}"
        )


def no_content() -> UserError:
    """What an objective with content layers says that has no content picture."""
    return UserError("content: this objective needs a content picture")
