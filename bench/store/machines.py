"""The machines of one run whose cells were measured on a cluster, each kind by a label.

Machines with equal fingerprints are one. As long as a run has one kind its run.json is that of a run on one machine;
with more of them it has what a run has that was merged with ``--facet machine``, and readers put the label of each
cell's machine into its device ("cpu@machine-1"), so that no ratio and no median is of two kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.store.run_folder import Store

AT = "@"


class Machines:
    """The machines of the run of ``store``, which is updated when another kind takes part."""

    def __init__(self, store: Store):
        self.store = store

    def _known(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Fingerprints and environments by label."""
        run = self.store.run
        if run.get("machines"):
            return run["fingerprint"]["machines"], run["environment"]["machines"]
        label = "machine-1"
        return {label: run.get("fingerprint") or {}}, {label: run.get("environment") or {}}

    def first(self) -> str:
        """The label of the machine that the run was begun on."""
        return next(iter(self._known()[0]))

    def fingerprint(self, label: str) -> dict[str, Any]:
        """The fingerprint of a kind of machine."""
        return self._known()[0][label]

    def label(self, fingerprint: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
        """The label of a machine; one of a new kind is written to run.json first."""
        fingerprints, environments = self._known()
        for label, known in fingerprints.items():
            if known == fingerprint:
                return label
        label = f"machine-{len(fingerprints) + 1}"
        fingerprints = {**fingerprints, label: dict(fingerprint)}
        legend = {
            name: {"name": name.replace("-", " "), **{key: value for key, value in each.items() if key != "dtypes"},
                   "runs": [self.store.run["id"]]}
            for name, each in fingerprints.items()
        }  # fmt: skip
        self.store.update(
            fingerprint={"machines": fingerprints},
            environment={"machines": {**environments, label: dict(environment)}},
            machines=legend,
        )
        return label


def label(record: Mapping[str, Any], run: Mapping[str, Any]) -> str | None:
    """The label of the machine of a cell's line; None where the run has one kind of machine, or was merged."""
    return record.get("machine") if run.get("machines") else None


def labelled(record: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's line with the label of its machine, if it has one, in its device and key."""
    there = label(record, run)
    if not there:
        return dict(record)
    return {**record, "device": f"{record['device']}{AT}{there}", "key": f"{record.get('key')}{AT}{there}"}
