"""The command line of the harness: run, report, list, doctor. Imports no engine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.cli import article, baseline, compare, figure, judge, listing, merge, parity, report, roofline, selftest
from bench.cli.options import add_out
from bench.plan import engines, outside
from bench.plan.arguments import PLAN_DEFAULTS, make_plan
from bench.plan.budgets import BUDGETS
from bench.plan.cells import Plan
from bench.run import output, session
from bench.store import run_folder
from nst_gluon import __version__, methods
from nst_gluon.cli import console
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

COMMANDS = {
    "report": report,
    "figure": figure,
    "list": listing,
    "compare": compare,
    "baseline": baseline,
    "selftest": selftest,
    "merge": merge,
    "roofline": roofline,
    "parity": parity,
    "article": article,
    "judge": judge,
}


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = console.Parser(
        prog="python -m bench",
        description="Measure and compare methods of neural style transfer under one common objective.",
        epilog="example:\n  python -m bench run --method all --size 256,512 --budget quick",
    )
    top.add_argument("--version", action="version", version=f"nst-gluon {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=console.Parser)
    _add_run(commands)
    for module in COMMANDS.values():
        module.add(commands)
    doctor = commands.add_parser(
        "doctor",
        help="check what this machine can run",
        description="Check the machine, the engine, the weights and the nets: what can run here, and how to fix what "
        "cannot. Of each NVIDIA GPU it says what runs on it: MXNet's wheel, NVIDIA's container with MXNet, or PyTorch.",
        epilog="examples:\n  python -m bench doctor\n  python -m bench doctor --json",
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    return top


def _add_run(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "run",
        help="measure methods and write a report",
        description="Measure every combination of the given lists, each in a fresh process, and write a report into "
        "DIR/ID. How long that takes depends on the processor, the sizes and the budget; it is estimated at the start "
        "and while cells finish.",
        epilog="examples:\n  python -m bench run --method all --size 256,512\n"
        "  python -m bench run --method texture_net --task texture --size 256 --batch 1,4,16\n"
        "  python -m bench run --method all --size 256,512 --shard 1/2\n"
        "  python -m bench run --method gatys --size 256 --budget quick --json\n"
        "  python -m bench run --resume latest",
    )
    defaults = PLAN_DEFAULTS
    add = command.add_argument
    add("--method", metavar="LIST", help=f"all, or any of: {', '.join(methods.names())}, "
        f"{methods.FORMS} (default: {defaults['method']}); a path must not contain a comma; FILE.py is imported in "
        "the worker processes")
    add("--size", metavar="LIST", help=f"side lengths of the square pictures in pixels (default: {defaults['size']})")
    add("--engine", metavar="LIST", help=f"all, or any of: {', '.join(engines.ENGINES)} "
        f"(default: {defaults['engine']})")
    add("--engine-option", metavar="NAME=VALUE", action="append", help="pytorch.layout=channels_last, "
        "pytorch.compile=yes, pytorch.lbfgs=torch; may be repeated")
    add("--engine-python", metavar="NAME=PATH", action="append", help="the Python of an engine that is installed in an "
        "environment of its own, such as onnxruntime=PATH; that needs the base package's requirements and no MXNet; "
        "may be repeated")
    add("--task", metavar="LIST", help=f"any of: {', '.join(methods.TASKS)} (default: {defaults['task']})")
    add("--style", metavar="LIST", help="all, or bundled styles, pictures (a comma in a name: double quotes around it) "
        "and folders of pictures "
        f"(default: {defaults['style']})")
    add("--content", metavar="LIST", help="all, or bundled photos, pictures and folders of pictures "
        f"(default: {defaults['content']})")
    add("--device", metavar="LIST", help=f"cpu, gpu, gpu:1 (default: {defaults['device']})")
    add("--dtype", metavar="LIST", help=f"any of: {', '.join(runtime.DTYPES)} (default: {defaults['dtype']})")
    add("--batch", metavar="LIST", help="batch sizes for the nets' throughput; 1 is always measured (default: 1; with "
        "--budget full: 1,4)")
    add("--repeats", metavar="N", help="fresh processes of each net, and starts of optimisation (default: 3; with "
        "--budget quick: 1)")
    add("--seed", metavar="N", help=f"the first seed (default: {defaults['seed']})")
    add("--budget", metavar="NAME", help="the longest that an optimisation of 256 pixels may take: " + ", ".join(
        f"{budget.name} {budget.optimise_seconds:g} s" for budget in BUDGETS.values()) + "; quick leaves its faster "
        f"variants out, full makes 500 evaluations (default: {defaults['budget']})")
    add("--target-loss", metavar="X", help="stop optimisation at this objective, not at that of the nets' pictures")
    add("--bounds", metavar="NAME", help="pixels: optimised pictures stay in [0, 1]; none: they are clipped when saved "
        f"(default: {defaults['bounds']})")
    add("--preset", metavar="NAME", help=f"the common objective (default: {defaults['preset']})")
    add("--weights", metavar="NAME|FILE", help="weights of the descriptor (default: vgg19)")
    add("--random-weights", action="store_const", const=True, help="use an untrained descriptor: for tests without a "
        "network connection; results are marked")
    add("--net", metavar="NAME|FILE", action="append", help="a trained net instead of the bundled one; may be repeated")
    add("--threads", metavar="N", help="threads of the engine (default: OMP_NUM_THREADS, or all available cores)")
    add("--shard", metavar="I/N", help="measure only part I of N similarly long parts; see merge")
    add("--cluster", metavar="WHERE", help="measure on the workers of a Dask cluster: its scheduler's address, the "
        "file that dask scheduler --scheduler-file wrote, or slurm; see bench/README.md")
    add_out(command)
    add("--resume", metavar="RUN", help="resume an interrupted run: its id, its folder, or latest")
    add("--timeout-scale", default="1", help=argparse.SUPPRESS)
    output.add_arguments(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors of the user's are one line on standard error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return console.run(lambda: _main(arguments))


def _main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    if options.command == "run":
        return _run(options, arguments)
    if options.command in COMMANDS:
        return COMMANDS[options.command].main(options)
    from bench.machine import doctor

    return doctor.run(options.json)


# -------------------------------------------------------------------------------------------------------- run


def _run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    out, level = Path(options.out), output.level(options)
    resume = None
    if options.resume is not None:
        resume = run_folder.find_run(options.resume, out, "--resume")
        out = resume.parent
        begun = run_folder.read_run(resume, "--resume")
        _check_resumable(begun, resume)
        asked = {name for name in PLAN_DEFAULTS if getattr(options, name) is not None}
        what = run_folder.plan_of(begun, resume, "--resume")
        named = set(filter(None, (options.method or "").split(",")))
        if asked <= {"method", "engine_python"} and named <= {reference for _, reference in what.settings.methods}:
            _check_trusted(what, resume, options)
            here = {cell.engine for cell in what.cells} - set(dict(what.settings.engine_pythons))
            for name in here if options.cluster is None else ():
                engines.get(name).check()
        else:
            what = make_plan(options)
    else:
        what = make_plan(options)
        run_folder.check_writable(out)
    how = session.How(
        out=out,
        resume=resume,
        level=level,
        as_json=options.json,
        timeout_scale=console.number("--timeout-scale", 0.0)(options.timeout_scale),
        arguments=["python", "-m", "bench", *arguments],
        judge=what.budget.name != "quick",
        cluster=options.cluster,
    )
    return session.execute(what, how)


def _check_trusted(plan: Plan, path: Path, options: argparse.Namespace) -> None:
    """Refuse to run code that only the run directory names: somebody else may have made that."""
    strange = outside.strange(reference for _, reference in plan.settings.methods)
    pythons = plan.settings.engine_pythons
    if engines.parse_pythons(options.engine_python or (), sorted(dict(pythons))) != pythons:
        again = " ".join(f"--engine-python {name}={program}" for name, program in pythons)
        raise UserError(f"--resume: {path} runs other Pythons; if you trust them, name them too: {again}")
    if not set(strange) <= set((options.method or "").split(",")):
        raise UserError(
            f"--resume: {path} runs code from {', '.join(strange)}; if you trust that, name it too: --method "
            f"{','.join(strange)}"
        )


def _check_resumable(record: Mapping[str, Any], path: Path) -> None:
    """Refuse what cannot be resumed because no run wrote it."""
    if record.get("merged_from"):
        parts = ", ".join(str(part["id"]) for part in record["merged_from"])
        raise UserError(f"--resume: {path} was merged from {parts}; resume those, then merge again")
    if record.get("baseline"):
        raise UserError(f"--resume: {path} is a baseline; start a new run and save that")
