"""The articles' own runs as data: what each does step by step, and the values that it prints. Imports no engine.

The objectives are the presets of the same names; how they are minimised here is the article's way, not the suite's: the
article's variables (pixels in its descriptor's input scaling, not bounded), optimiser, rounds and picture sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

from nst_gluon.descriptor.scaling import CAFFE_MEAN, CAFFE_STD, IMAGENET_MEAN, IMAGENET_STD, Triple
from nst_gluon.system.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Stage:
    """One picture size: ``rounds`` of L-BFGS with at most so many ``evaluations`` each, every round a new L-BFGS, or,
    with a ``rate``, one round of Adam whose rate is divided by 10 every ``decay_every`` steps.
    """

    width: int
    height: int
    evaluations: int
    rounds: int = 1
    rate: float | None = None
    decay_every: int | None = None


@dataclass(frozen=True)
class Article:
    """An article's run.

    Attributes:
        name: also the preset's.
        arch: the descriptor that the article uses.
        style, content: bundled pictures that stand for the article's, which cannot be had.
        mean, std: the article's variables are (RGB in [0, 1] - mean) / std.
        noise: the range of the uniform noise to start from, in those variables; None: it starts from the content.
        mark: what a printed value is of: a ``round``, or a ``step``.
        published: (round or step of the first stage, objective) as printed.
        source: where they were printed.
    """

    name: str
    title: str
    arch: str
    style: str
    content: str
    mean: Triple
    std: Triple
    noise: tuple[float, float] | None
    stages: tuple[Stage, ...]
    mark: str
    published: tuple[tuple[int, float], ...]
    source: str

    @property
    def published_ratio(self) -> float:
        """The last printed value over the first: pictures and weights matter less to it than to the values."""
        return self.published[-1][1] / self.published[0][1]


_KERAS = (8.07324e10, 5.27136e10, 4.34040e10, 3.98068e10, 3.80434e10, 3.70919e10, 3.65379e10, 3.61779e10, 3.59321e10,
          3.57626e10)  # fmt: skip
# content + style + total variation after 50, 100, ... steps at 225 x 150
_D2L = (0.24 + 1.11 + 1.33, 0.24 + 0.81 + 1.20, 0.23 + 0.73 + 1.12, 0.23 + 0.68 + 1.06, 0.23 + 0.68 + 1.05,
        0.23 + 0.67 + 1.04, 0.23 + 0.67 + 1.04, 0.23 + 0.67 + 1.03, 0.23 + 0.67 + 1.03)  # fmt: skip

ARTICLES = {
    article.name: article
    for article in (
        Article(
            name="d2l",
            title="Dive into Deep Learning, neural style transfer",
            arch="vgg19",
            style="moulin_de_la_galette",
            content="coffee",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            noise=None,
            stages=(Stage(225, 150, 500, rate=0.01, decay_every=200), Stage(900, 600, 300, rate=0.01, decay_every=100)),
            mark="step",
            published=tuple((50 * number, value) for number, value in enumerate(_D2L, 1)),
            source="the PyTorch edition of the book, first stage; the book itself prints a plot",
        ),
        Article(
            name="keras",
            title="the Keras neural style transfer article",
            arch="vgg16",
            style="great_wave",
            content="astronaut",
            mean=CAFFE_MEAN,
            std=CAFFE_STD,
            noise=(-128.0, 127.0),
            stages=(Stage(512, 512, 20, rounds=10),),
            mark="round",
            published=tuple(enumerate(_KERAS, 1)),
            source="the article, after each round",
        ),
    )
}


def get(name: str) -> Article:
    """The article of that name. Raises UserError for another."""
    if name not in ARTICLES:
        raise UserError(f"NAME: unknown article {name!r}; {did_you_mean(name, ARTICLES)}")
    return ARTICLES[name]
