"""The methods of a run as its report sees them: titles, colours, kinds, and which one the others are measured against.

All of it comes from :class:`nst_gluon.methods.base.Facts`; no method is known here by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nst_gluon.methods.base import GENERATES, OPTIMISES, Facts
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
        return self._facts[name].color if name in self._facts else "#767676"

    def kind(self, name: str) -> str:
        return self._facts[name].kind if name in self._facts else ""

    def is_variant(self, name: str) -> bool:
        """Whether it is a faster way of doing what another method does."""
        return name in self._facts and self._facts[name].variant_of is not None

    @property
    def nets(self) -> list[str]:
        return [name for name, facts in self._facts.items() if facts.kind == GENERATES]

    @property
    def optimisers(self) -> list[str]:
        return [name for name, facts in self._facts.items() if facts.kind == OPTIMISES]

    @property
    def baseline(self) -> str:
        """The optimiser that speed-ups and memory ratios relate to: nobody's variant; empty where a run has none."""
        return next((name for name in self.optimisers if not self.is_variant(name)), "")

    def of_paper(self, title: str) -> list[str]:
        """The nets that a paper of that title describes."""
        return [name for name in self.nets if title in self._facts[name].paper and not self.is_variant(name)]


def of_cells(facts: Mapping[str, Facts], records: Iterable[Mapping[str, Any]], timed: Sequence[str] = ()) -> Methods:
    """The methods that a run has cells of: ``facts``, and for a method without any what its cells say.

    ``timed``: methods with samples of a latency, for tables without a record of their cells.
    """
    found: dict[str, Facts] = {}
    kinds = {str(record["method"]): str(record.get("kind") or "") for record in records if "method" in record}
    for name in {**kinds, **dict.fromkeys(timed)}:
        kind = OPTIMISES if kinds.get(name) == "optimise" else GENERATES
        found[name] = facts.get(name) or Facts(name, kind, (), name, "", "", "#767676")
    known = [name for name in facts if name in found]
    return Methods({name: found[name] for name in [*known, *sorted(set(found) - set(known))]})


def of_run(run: Any) -> Methods:
    """The methods of a run (:class:`bench.store.reader.RunData`)."""
    facts = getattr(run, "methods", None)
    return of_cells(_interim() if facts is None else facts, run.records, _timed(run.samples))


def _timed(samples: Any) -> list[str]:
    return sorted(set(samples.loc[samples["metric"] == "latency_s", "method"]))


def of_tables(cells: Any, samples: Any) -> Methods:
    """The methods of tables that belong to no run folder, by their kinds alone."""
    others = sorted(set(samples["method"]) - set(cells["method"]))
    records = [*cells[["method", "kind"]].drop_duplicates().to_dict("records"),
               *({"method": name, "kind": "generate" if name in _timed(samples) else "optimise"} for name in others)]  # fmt: skip
    return of_cells(_interim(), records)


def _interim() -> dict[str, Facts]:
    from nst_gluon import methods
    if hasattr(methods, "bundled"):
        return {name: method.facts() for name, method in methods.bundled().items()}
    look = {"gatys": ("optimisation", "#d55e00"), "gatys_pyramid": ("coarse-to-fine optimisation", "#b07d00"), "net_gatys": ("optimisation from a net's picture", "#cc79a7"), "johnson": ("Johnson net", "#009e73"), "texture_net": ("texture network", "#0072b2")}
    return {name: Facts(name, m.kind, m.tasks, look[name][0], m.description, m.paper, look[name][1], (), m.variant_of, m.from_net) for name, m in methods.METHODS.items()}
