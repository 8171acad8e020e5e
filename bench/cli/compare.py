"""``bench compare``: two runs, a baseline and a run, or two revisions, with a verdict for each metric."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

from bench.cli.options import add_out
from bench.plan.arguments import PLAN_DEFAULTS, make_plan
from bench.plan.budgets import GATE
from bench.plan.cells import Plan
from bench.run import output
from nst_gluon import methods
from nst_gluon.cli import console
from nst_gluon.system.errors import UserError, did_you_mean

TIME_S = 300.0
FAIL, PASS = "fail", "pass"
# Every installation has these, with a net where they need one; a variant would say the same twice.
METHODS = [name for name, method in methods.bundled().items()
           if name in methods.usual() and not method.needs and method.variant_of is None]  # fmt: skip
PLAN = {
    "method": ",".join(METHODS),
    "task": "texture,stylize", "size": "128", "batch": "1", "dtype": "float32", "device": "cpu",
    "style": "great_wave", "content": "astronaut", "threads": None, "net": None, "weights": None,
    "random_weights": None,
}  # fmt: skip
RULES = {"time": None, "metric": None, "fail_on": "slower", "inconclusive": PASS, "floor": None}


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "compare",
        help="compare two runs or two revisions",
        description="Compare a candidate with a baseline. Each is a run directory, a run's id, a saved baseline, the "
        "JSON of pytest-benchmark, a git revision, or a folder (. is the working tree). Two revisions are measured "
        "here and now, in turns; two runs are compared by their samples. Revisions are of the suite, or of any "
        "repository that has methods of its own (--method FILE.py:NAME), which the installed suite measures. The "
        "options may stand in that repository's setup.cfg, [nst-gluon:compare], or pyproject.toml, "
        "[tool.nst-gluon.compare]. Exit status: 0 pass, 1 regression, 2 cells failed or an argument is wrong, "
        "3 nothing could be compared, as with a saved baseline that has no entry for this machine.",
        epilog="examples:\n  python -m bench compare HEAD~1 HEAD\n"
        "  python -m bench compare main . --method texture_net --size 256 --time 120\n"
        "  python -m bench compare nightly latest --json",
    )
    command.add_argument("baseline", metavar="BASELINE", help="what it is compared with")
    command.add_argument("candidate", metavar="CANDIDATE", help="what may have become slower")
    add_arguments(command)
    command.add_argument("--metric", metavar="LIST", help="the metrics to compare (default: times and memory)")
    command.add_argument("--fail-on", metavar="LIST",
                         help=f"verdicts that fail the comparison (default: {RULES['fail_on']})")  # fmt: skip
    command.add_argument("--inconclusive", metavar=f"{PASS}|{FAIL}", help="what inconclusive counts as (default: pass)")
    command.add_argument("--floor", metavar="PERCENT",
                         help="ignore smaller changes of times (default: 5; of two runs, 10)")  # fmt: skip


def add_arguments(command: argparse.ArgumentParser, time_s: float = TIME_S) -> None:
    """The arguments that it shares with ``selftest``: what is measured, for how long, and where the result goes."""
    add_plan = command.add_argument_group("measurement (not of finished runs)").add_argument
    add_plan("--method", metavar="LIST", help=f"names, or {methods.FORMS} (default: {PLAN['method']})")
    for name in ("task", "size", "batch", "dtype", "device"):
        add_plan(f"--{name}", metavar="LIST", help=f"(default: {PLAN[name]})")
    add_plan("--threads", metavar="N", help="threads of the engine (default: all cores); 1 is steadier on a shared "
             "machine")  # fmt: skip
    add_plan("--style", metavar="NAME|FILE", help=f"a style or picture (default: {PLAN['style']})")
    add_plan("--content", metavar="NAME|FILE", help=f"a photo or picture (default: {PLAN['content']})")
    add_plan("--weights", metavar="NAME|FILE", help="weights of the descriptor (default: vgg19)")
    add_plan("--random-weights", action="store_const", const=True, help="use an untrained descriptor")
    add_plan("--net", metavar="NAME|FILE", action="append", help="a trained net, not the bundled one; may be repeated")
    command.add_argument("--time", metavar="SECONDS",
                         help=f"begin no round after so many seconds (default: {time_s:.0f})")  # fmt: skip
    add_out(command)
    output.add_arguments(command)


def main(options: argparse.Namespace) -> int:
    """Compare; returns the exit status of :func:`bench.gate.verdicts.exit_status`."""
    from bench.gate import comparison, configuration, revisions, sources
    from bench.gate.verdicts import COMPARED_METRICS, INCONCLUSIVE, VERDICTS
    from bench.machine.environment import SOURCE
    from nst_gluon.objective.loss_terms import TERMS

    level, out = output.level(options), Path(options.out)
    repository = revisions.top(Path.cwd()) or SOURCE
    kept, unread = configuration.read(repository, [*PLAN, *RULES], repeated=["net"])
    for name, usual in {**dict.fromkeys(PLAN), **RULES}.items():
        if getattr(options, name) is None:
            setattr(options, name, kept.get(name, usual))
    guests = not revisions.is_checkout(repository)
    metrics = _names("--metric", options.metric, COMPARED_METRICS) if options.metric is not None else None
    fail_on = _names("--fail-on", options.fail_on, VERDICTS)
    if _names("--inconclusive", options.inconclusive, (PASS, FAIL)) == [FAIL]:
        fail_on.append(INCONCLUSIVE)
    floor = None if options.floor is None else console.number("--floor", 0.0, 5.0)(options.floor) / 100
    pair = sources.pair_of(options.baseline, options.candidate, out, repository, guests)
    how = comparison.How(metrics, fail_on, floor, out)
    to_measure = [isinstance(side, sources.Revision) for side in pair]
    if any(to_measure) and not all(to_measure):
        raise UserError("BASELINE: a revision is compared with a revision, a run with a run or a baseline")
    if any(to_measure):
        scored = [name for name in metrics or () if name in TERMS]
        if scored:
            raise UserError(
                f"--metric: {scored[0]} is of finished pictures, which a comparison of revisions does not make; give "
                "times or memory, or compare two runs"
            )
        plan, limit = plan_of(options), time_limit(options)
        if guests and not plan.settings.methods:
            raise UserError("; ".join(filter(None, [f"--method: none is given; give {methods.FORMS}", unread])))
        with comparison.measuring_folder(out) as folder:
            result = comparison.of_revisions(*pair, how, folder, plan, limit, repository, level)
    else:
        result = comparison.of_runs(*pair, how)
        folder = comparison.new_folder(out)
    return _tell(result, folder, level, options.json)


def _tell(result: dict, folder: Path, level: int, as_json: bool) -> int:
    from bench.report import comparison as pages  # draws, and is not needed while something is measured

    pages.write(result, folder)
    if as_json:
        print(json.dumps({**result, "folder": str(folder)}, indent=2))
    elif level == output.QUIET:
        if result["exit_status"]:
            print(result["summary"], file=sys.stderr)
        print(folder / "compare.html")
    else:
        colours = output.has_colours(sys.stdout)
        print(pages.terminal(result, width=shutil.get_terminal_size((120, 24)).columns, colour=colours))
        print(f"comparison: {folder / 'compare.html'}")
    return result["exit_status"]


def time_limit(options: argparse.Namespace, usual: float = TIME_S) -> float:
    """Seconds that may be measured."""
    return usual if options.time is None else console.number("--time", 0.0, usual)(options.time)


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the arguments describe, with the budget of a gate's blocks."""
    import dataclasses

    given = {name: getattr(options, name, None) for name in PLAN}
    chosen = {name: PLAN[name] if value is None else value for name, value in given.items()}
    plan = make_plan(argparse.Namespace(**{**dict.fromkeys(PLAN_DEFAULTS), **chosen, "repeats": "1"}))
    return dataclasses.replace(plan, budget=GATE)


def _names(argument: str, text: str, choices: Collection[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in choices:
            raise UserError(f"{argument}: unknown name {name!r}; {did_you_mean(name, choices)}")
    if not names:
        raise UserError(f"{argument}: empty; give at least one")
    return names
