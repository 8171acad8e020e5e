"""What decides a trained net, and the learning rate of each of its iterations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from nst_gluon import methods
from nst_gluon.methods.description import describe
from nst_gluon.nets.geometry import working_size
from nst_gluon.objective import presets
from nst_gluon.training import recipe

# The recipe's stages are for multiples of this: deep layers must see more than a few pixels.
STAGED = 256


@dataclass(frozen=True)
class TrainConfig:
    """What decides a trained net.

    Attributes:
        style: a bundled style's name or a picture file.
        photos: a folder of pictures to train on; None: bundled ones (:func:`nst_gluon.assets.training_pictures`) but
            for the one that nets are judged on, and drawn ones if the recipe has them. Textures need none.
        recipe: a name of :data:`nst_gluon.training.recipe.RECIPES`.
        size, batch: pictures of size x size, so many a step. The style is seen at this size.
        more_sizes: sides that are taken in turn with ``size``, an iteration each.
        learning_rate: Adam's first; None: the recipe's from random weights, if it has one, else the method's own.
        decay_start, decay_every, decay: the rate is multiplied by ``decay`` every ``decay_every`` iterations from
            ``decay_start`` on; None: the method's own schedule. Unused by a recipe whose rate falls along a cosine.
        dtype: precision of convolutions, the descriptor's and the net's; everything else is float32.
        style_weight: multiplies the preset's style weights.
        architecture: what differs from the method's own net (:meth:`nst_gluon.methods.Generator.choices`).
        start: a net file of the same method and task, whose parameters the training begins with; None: at random.
        workers: equal parts of a batch, each with normalisation statistics of its own: so many processes, or one that
            takes the parts in turn.
    """

    method: str
    task: str
    style: str
    preset: str = presets.DEFAULT
    photos: str | None = None
    recipe: str = recipe.DEFAULT
    iterations: int = 2000
    size: int = 256
    batch: int = 4
    seed: int = 0
    learning_rate: float | None = None
    decay_start: int | None = None
    decay_every: int | None = None
    decay: float | None = None
    dtype: str = "float32"
    style_weight: float = 1.0
    architecture: Mapping[str, Any] = field(default_factory=dict)
    more_sizes: tuple[int, ...] = ()
    start: str | None = None
    weights: str | None = None
    random_weights: bool = False
    workers: int = 1

    @property
    def how(self) -> recipe.Recipe:
        """Its recipe; of a method with a training of its own, the parts that go with any training."""
        found = recipe.get(self.recipe)
        own = methods.get(self.method).own_loss
        return recipe.Recipe(cosine=found.cosine, average=found.average) if own else found

    @property
    def sizes(self) -> tuple[int, ...]:
        """All sides that pictures have."""
        return (self.size, *self.more_sizes)

    @property
    def new_architecture(self) -> dict[str, Any]:
        """That of a net that begins at random: the method's own, as the recipe has it, but for what differs."""
        method = methods.get(self.method)
        own = method.unsaturated if self.how.unsaturated else method.architecture
        return {**own(self.task), **self.architecture}

    @cached_property
    def stages(self) -> tuple[tuple[float, int], ...]:
        """The recipe's stages at whose side the net can work, as (part of the iterations where it ends, side)."""
        stages = self.how.texture_stages if self.task == "texture" else self.how.stages
        if self.start or self.size % STAGED or not stages:
            return ()
        net = describe(methods.get(self.method), self.new_architecture, f"--method {self.method}")
        found = ((until, self.size * eighths // 8) for until, eighths in stages)
        return tuple((until, side) for until, side in found if working_size(net, side, side) == (side, side))

    def side(self, iteration: int) -> int:
        """The side of the pictures of an iteration (the first is 0)."""
        for until, side in self.stages:
            if iteration < until * self.iterations:
                return side
        return self.sizes[iteration % len(self.sizes)]

    def as_json(self) -> dict[str, Any]:
        """As it comes back from JSON; the architecture's values stand beside the others."""
        fields = asdict(self)
        architecture = fields.pop("architecture")
        if self.workers == 1:
            del fields["workers"]  # older checkpoints do not have it
        return json.loads(json.dumps({**fields, **architecture}))


def defaults(config: TrainConfig) -> TrainConfig:
    """``config`` with the method's own schedule where it has None."""
    own = methods.get(config.method).schedule(config.iterations)
    schedule = {
        "learning_rate": own.rate if config.start else config.how.rate or own.rate,
        "decay_start": own.decay_start,
        "decay_every": own.decay_every,
        "decay": own.decay,
    }
    return replace(config, **{k: v for k, v in schedule.items() if getattr(config, k) is None})


def learning_rate(config: TrainConfig, iteration: int) -> float:
    """The rate of an iteration (the first is 0) under a ``config`` from :func:`defaults`."""
    if config.how.cosine:
        return recipe.cosine(config.learning_rate, iteration, config.iterations)
    late = iteration - config.decay_start
    return config.learning_rate * (config.decay ** (late // config.decay_every + 1) if late >= 0 else 1.0)
