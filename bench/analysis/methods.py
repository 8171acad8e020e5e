"""The methods of a run as its report sees them: titles, colours, kinds, and which one the others are measured against.

All of it comes from :class:`nst_gluon.methods.base.Facts`; no method is known here by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from bench.store.reader import RunData
from nst_gluon.methods import GENERATES, OPTIMISES, TASKS, Facts, Method, bundled
from nst_gluon.pages.wording import clean


class Methods(Mapping[str, Facts]):
    """Facts by name, in a fixed order; a name that nobody knows has plain ones."""

    def __init__(self, facts: Mapping[str, Facts]):
        self._facts = dict(facts)

    def __getitem__(self, name: str) -> Facts:
        return self._facts[name]

    def __iter__(self):
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def title(self, name: str) -> str:
        """As a sentence has it: "texture network"."""
        return clean(self._facts[name].title if name in self._facts else name, 60)

    def color(self, name: str) -> str:
        return self._facts[name].color if name in self._facts else Method.color

    def kind(self, name: str) -> str:
        return self._facts[name].kind if name in self._facts else ""

    def is_variant(self, name: str) -> bool:
        """Whether it is a faster way of doing what another method does."""
        return name in self._facts and self._facts[name].variant_of is not None

    def own_loss(self, name: str) -> bool:
        """Whether it minimises something else than the common objective."""
        return name in self._facts and self._facts[name].own_loss

    @property
    def nets(self) -> list[str]:
        return [name for name, facts in self._facts.items() if facts.kind == GENERATES]

    @property
    def optimisers(self) -> list[str]:
        return [name for name, facts in self._facts.items() if facts.kind == OPTIMISES]

    @property
    def baseline(self) -> str:
        """The optimiser that speed-ups and memory ratios relate to; empty where a run has none.

        Nobody's variant, with no loss of its own, and one that comes with the suite before somebody's own.
        """
        plain = [name for name in self.optimisers if not (self.is_variant(name) or self.own_loss(name))]
        return min(plain, key=lambda name: bool(self._facts[name].reference), default="")

    def of_paper(self, title: str) -> list[str]:
        """The nets that a paper of that title describes."""
        return [name for name in self.nets if title in self._facts[name].paper and not self.is_variant(name)]


def of_run(run: RunData) -> Methods:
    """The methods of a run; which paper a bundled one is of is what this version says, whatever an older one kept."""
    papers = {name: method.paper for name, method in bundled().items()}
    return Methods({
        name: facts if facts.reference else replace(facts, paper=papers.get(name, facts.paper))
        for name, facts in run.methods.items()
    })  # fmt: skip


def of_tables(cells: pd.DataFrame, samples: pd.DataFrame) -> Methods:
    """The methods of tables that belong to no run folder: the bundled ones, others by their kinds alone."""
    kinds = {str(method): str(kind) for method, kind in zip(cells["method"], cells["kind"]) if kind}
    timed = set(samples.loc[samples["metric"] == "latency_s", "method"])
    for name in samples["method"].unique():
        kinds.setdefault(name, "generate" if name in timed else "optimise")
    known = {name: method.facts() for name, method in bundled().items()}
    kind_of = {name: GENERATES if kind == "generate" else OPTIMISES for name, kind in kinds.items()}
    others = {name: Facts(name, kind, TASKS, name, "", "", Method.color) for name, kind in kind_of.items()}
    return Methods({name: known.get(name, others[name]) for name in [*known, *others] if name in kinds})
