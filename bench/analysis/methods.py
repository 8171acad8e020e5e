"""The methods of a run as its report sees them: titles, colours, kinds, and which one the others are measured against.

All of it comes from :class:`nst_gluon.methods.base.Facts`; no method is known here by its name.
"""

from __future__ import annotations

from dataclasses import replace

from bench.store.reader import RunData
from nst_gluon.methods import GENERATES, OPTIMISES, Facts, Method, bundled
from nst_gluon.pages.wording import clean


class Methods(dict[str, Facts]):
    """Facts by name, in a fixed order; a name that nobody knows has plain ones."""

    def __missing__(self, name: str) -> Facts:
        return Facts(name, "", (), name, "", "", Method.color)

    def title(self, name: str) -> str:
        """As a sentence has it: "texture network"."""
        return clean(self[name].title, 60)

    def is_variant(self, name: str) -> bool:
        """Whether it is a faster way of doing what another method does."""
        return self[name].variant_of is not None

    @property
    def nets(self) -> list[str]:
        return [name for name, facts in self.items() if facts.kind == GENERATES]

    @property
    def optimisers(self) -> list[str]:
        return [name for name, facts in self.items() if facts.kind == OPTIMISES]

    @property
    def baseline(self) -> str:
        """The optimiser that speed-ups and memory ratios relate to; empty where a run has none.

        Nobody's variant, with no loss of its own, and one that comes with the suite before somebody's own.
        """
        plain = [name for name in self.optimisers if not (self.is_variant(name) or self[name].own_loss)]
        return min(plain, key=lambda name: bool(self[name].reference), default="")

    def of_paper(self, title: str) -> list[str]:
        """The nets that a paper of that title describes."""
        return [name for name in self.nets if title in self[name].paper and not self.is_variant(name)]


def of_run(run: RunData) -> Methods:
    """The methods of a run; which paper a bundled one is of is what this version says, whatever an older one kept."""
    papers = {name: method.paper for name, method in bundled().items()}
    return Methods({
        name: facts if facts.reference else replace(facts, paper=papers.get(name, facts.paper))
        for name, facts in run.methods.items()
    })  # fmt: skip
