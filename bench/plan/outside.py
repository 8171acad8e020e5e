"""What is known of methods that do not come with the suite: ``python -m bench.plan.outside`` imports them and says.

The process that plans and measures does not execute them; this child does, and the cells' workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.plan import child
from nst_gluon import methods
from nst_gluon.methods import FORMS, Facts
from nst_gluon.system.errors import UserError, did_you_mean

IMPORT_S = 120.0  # somebody's module that takes longer hangs


def facts(names: Sequence[str]) -> list[Facts]:
    """What is known of methods, by name or reference, in that order, each once.

    Raises:
        UserError: one is unknown, cannot be imported, is no method, or has the name of another.
    """
    foreign = [name for name in names if name not in methods.bundled()]
    request = {"names": foreign}
    asked = child.ask("bench.plan.outside", request, "--method: the import", IMPORT_S) if foreign else []
    found = dict(zip(foreign, map(Facts.from_dict, asked)))
    chosen: dict[str, Facts] = {}
    for name in names:
        each = found[name] if name in found else methods.facts(name)
        chosen.setdefault(each.name, each)
    return list(chosen.values())


def parse(argument: str, text: str) -> list[str]:
    """Names and references from a comma-separated list; "all" is every bundled and installed method but those
    whose nets are files of other programs.

    A file whose path has a comma cannot be given. Raises a UserError for a name that nobody knows.
    """
    known, chosen = methods.names(), []
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name != "all" and name not in known and not methods.is_reference(name):
            raise UserError(f"{argument}: unknown method {name!r}; {did_you_mean(name, known)}, or give {FORMS}")
        chosen += [each for each in (methods.usual() if name == "all" else [name]) if each not in chosen]
    if not chosen:
        raise UserError(f"{argument}: empty; {did_you_mean('', known)}, or give {FORMS}")
    return chosen


def strange(references: Iterable[str]) -> list[str]:
    """Those that no installed package offers: a run directory that names them may be anybody's."""
    known = set(methods.installed().values())
    return [reference for reference in references if reference not in known]


def _facts(request: dict[str, Any]) -> list[dict[str, Any]]:
    return [methods.facts(name).to_dict() for name in request["names"]]


if __name__ == "__main__":
    child.answer(_facts)
