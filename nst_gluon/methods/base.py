"""What a method is: one object that every other part of the suite asks. Imports no engine.

A method optimises a picture (:class:`Optimiser`) or generates it with one pass of a trained net (:class:`Generator`).
Nothing outside its own module compares a method's name, keeps a table of names, or knows its layers.
"""

from __future__ import annotations

import abc
import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from nst_gluon.methods.description import Net
from nst_gluon.system.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from nst_gluon.optimise.problem import Problem
    from nst_gluon.training.loop import Trainer

TASKS = ("stylize", "texture")
OPTIMISES, GENERATES = "optimises", "generates"


@dataclass(frozen=True)
class Facts:
    """What is known of a method without running it: plain data, which a run keeps, so that its report needs no more.

    Attributes:
        name: on the command line, in tables and file names: letters, digits, ``_``.
        kind: OPTIMISES or GENERATES.
        tasks: those of TASKS that it can do.
        title: as a heading has it; color: ``#rrggbb`` of its marks in plots.
        engines: names of the engines that can run it; none named: every engine that runs its kind.
        variant_of: the method that this one is a faster way of.
        from_net: whether it begins with the picture of a trained net (of another method).
        own_loss: whether it minimises something else than the common objective, which then only judges its pictures:
            nothing is aimed at them, and it has no speed-up at equal loss.
        needs: packages that must be importable, beside those of its engines; extra: the suite's extra that brings them.
        reference: where it was found: empty for a bundled one, else FILE.py:NAME or package.module:NAME.
    """

    name: str
    kind: str
    tasks: tuple[str, ...]
    title: str
    description: str
    paper: str
    color: str
    engines: tuple[str, ...] = ()
    variant_of: str | None = None
    from_net: bool = False
    own_loss: bool = False
    needs: tuple[str, ...] = ()
    extra: str = ""
    reference: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Facts:
        """From :meth:`to_dict`."""
        lists = {name: tuple(fields.get(name, ())) for name in ("tasks", "engines", "needs")}
        return cls(**{**fields, **lists})

    def missing(self) -> str | None:
        """What is not there of what it needs and how to get it, in one line; None: nothing. Nothing is imported."""
        absent = next((name for name in self.needs if importlib.util.find_spec(name) is None), None)
        if absent is None:
            return None
        how = f"install it with python -m pip install -e '.[{self.extra}]'" if self.extra else f"install {absent}"
        return f"{self.name} needs {absent}; {how}"


class Method(abc.ABC):
    """What both kinds have. Class attributes say what :class:`Facts` says."""

    name: ClassVar[str]
    kind: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]
    title: ClassVar[str] = ""
    description: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    color: ClassVar[str] = "#555555"
    engines: ClassVar[tuple[str, ...]] = ()
    variant_of: ClassVar[str | None] = None
    from_net: ClassVar[bool] = False
    own_loss: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    def facts(self, reference: str = "") -> Facts:
        """This method as plain data."""
        own = {field.name: getattr(self, field.name) for field in fields(Facts) if field.name != "reference"}
        return Facts.from_dict({**own, "title": self.title or self.name, "reference": reference})

    def check_task(self, task: str) -> None:
        """Raise a UserError if this method cannot do ``task``."""
        if task not in self.tasks:
            raise UserError(f"--method: {self.name} cannot do {task!r}; it can do {', '.join(self.tasks)}")


class Optimiser(Method):
    """Moves one picture downhill on the common objective.

    ``begins_with``: what it begins with, in words, if that is not what the user asks for (``--start``).
    """

    kind = OPTIMISES
    begins_with: ClassVar[str] = ""

    @abc.abstractmethod
    def descend(self, problem: Problem) -> None:
        """Go downhill until ``problem.evaluate`` ends it; the problem keeps the clock, the curve and the best picture.

        It is called more than once: for rehearsals first, whose evaluations end at once, and then on the clock. So it
        keeps nothing in ``self``, and its random numbers follow ``problem.seed``.

        Args:
            problem: what is minimised: ``start()``, ``evaluate(picture)``, ``minimise(picture)`` (L-BFGS or Adam),
                ``coarser(side, evaluations)``, ``net_picture()``; see :class:`nst_gluon.optimise.problem.Problem`.
        """


@dataclass(frozen=True)
class Schedule:
    """Adam while a net trains: the learning rate is ``rate``, times ``decay`` every ``decay_every`` iterations from
    ``decay_start`` on; ``beta1`` and ``weight_decay`` (the factor of L2) are the same throughout.
    """

    rate: float
    decay_start: int
    decay_every: int
    decay: float
    beta1: float = 0.9
    weight_decay: float = 0.0


class Training(Protocol):
    """A generator's own training, made with the :class:`nst_gluon.training.loop.Trainer` that it works for."""

    side: int

    def step(self, iteration: int, rate: float, rng: np.random.Generator) -> float:
        """One iteration (the first is 0), which moves the trainer's net; the loss that the net minimised.

        All that is random follows ``rng``, so that a training that was interrupted resumes exactly.
        """

    def arrays(self) -> Mapping[str, np.ndarray]:
        """What the next step depends on besides the net and the trainer's optimiser, for a checkpoint."""

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what :meth:`arrays` gave."""


class Generator(Method):
    """Makes a picture with one pass of a net that was trained for one style."""

    kind = GENERATES
    # How a new net's weights are drawn: ``xavier``; ``uniform``, in +-1/sqrt(fan in); ``normal``, of deviation 0.02.
    initializer: ClassVar[str] = "xavier"
    # Adam's first learning rate.
    rate: ClassVar[float] = 1e-3

    @abc.abstractmethod
    def architecture(self, task: str) -> dict[str, Any]:
        """The keyword arguments of :meth:`net` that a new net for ``task`` gets; JSON can hold them."""

    @abc.abstractmethod
    def net(self, **architecture: Any) -> Net:
        """The net as data. Raises TypeError or UserError for an architecture that it does not know."""

    def unsaturated(self, task: str) -> dict[str, Any]:
        """Like :meth:`architecture`, but without a final tanh where the method offers that."""
        return self.architecture(task)

    def watched(self, net: Net) -> tuple[str, ...]:
        """Names of norms of ``net`` whose spikes a training may penalise; none unless a method says more."""
        return ()

    def schedule(self, iterations: int) -> Schedule:
        """The learning rate of a training of so many iterations: :attr:`rate` throughout unless a method says more."""
        return Schedule(self.rate, iterations, iterations, 1.0)

    def training(self, trainer: Trainer) -> Training | None:
        """How its nets are trained if not on the common objective; None: on that."""
        return None

    def departures(self, architecture: Mapping[str, Any], preset: str) -> tuple[str, ...]:
        """How a net of this architecture, trained under a preset, differs from the paper's, for the report."""
        return ()

    def choices(self) -> Mapping[str, str]:
        """Keywords of :meth:`net` that ``train`` offers as options, with what each means; usually none."""
        return {}

    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Any], dict[str, str]] | None:
        """Whether a file of named arrays that another program wrote is a net of this method.

        Args:
            shapes: of the arrays by name, as a state dictionary of PyTorch has them.

        Returns:
            Its architecture, and the array's name in the file for each parameter of the net; None: it is no such net.
        """
        return None
