"""The command line of the harness: run, report, list, doctor. Imports no engine."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import engines, plan, run, shards, store
from bench.commands import baseline, compare, listing, merge, selftest
from nst_gluon import __version__, assets, console, methods, presets, runtime
from nst_gluon.errors import UserError, did_you_mean

RESULTS = Path("results")
COMMANDS = {"list": listing, "compare": compare, "baseline": baseline, "selftest": selftest, "merge": merge}
LARGEST_SIZE, LARGEST_BATCH = 1_000_000, 100_000

# What decides a plan: given together with --resume, it must be the plan of that run.
PLAN_DEFAULTS = {
    "method": "all",
    "size": "256,512",
    "engine": "gluon",
    "task": "texture,stylize",
    "style": "great_wave",
    "content": "astronaut",
    "device": "cpu",
    "dtype": "float32",
    "batch": None,
    "repeats": None,
    "seed": "0",
    "budget": "standard",
    "target_loss": None,
    "preset": "texture_net",
    "weights": None,
    "random_weights": None,
    "net": None,
    "threads": None,
    "shard": None,
}


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = console.Parser(
        prog="python -m bench",
        description="Measure methods of neural style transfer under one common objective.",
        epilog="example:\n  python -m bench run --method all --size 256,512 --budget quick",
    )
    top.add_argument("--version", action="version", version=f"nst-gluon {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=console.Parser)
    _add_run(commands)
    report = commands.add_parser("report", help="build summary, claims and report of a run again")
    report.add_argument("run", metavar="RUN", help="a run directory, a run's id, or latest")
    report.add_argument("--out", default=str(RESULTS), metavar="DIR", help="the folder of runs (results)")
    report.add_argument("--open", action="store_true", help="open the report in a browser")
    for module in COMMANDS.values():
        module.add(commands)
    commands.add_parser("doctor", help="what this machine can run, and what to do about the rest")
    return top


def _add_run(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "run",
        help="measure and report",
        description="Measure every combination of the lists given, each in a fresh process, and report.",
        epilog="examples:\n  python -m bench run --method all --size 256,512\n"
        "  python -m bench run --method texture_net --task texture --size 256 --batch 1,4,16\n"
        "  python -m bench run --method all --size 256,512 --shard 1/2\n"
        "  python -m bench run --resume latest",
    )
    defaults = PLAN_DEFAULTS
    add = command.add_argument
    add("--method", metavar="LIST", help=f"all, or of: {', '.join(methods.METHODS)} ({defaults['method']})")
    add("--size", metavar="LIST", help=f"sides of the square pictures in pixels ({defaults['size']})")
    add("--engine", metavar="LIST", help=f"of: {', '.join(engines.ENGINES)} ({defaults['engine']})")
    add("--task", metavar="LIST", help=f"of: {', '.join(methods.TASKS)} ({defaults['task']})")
    add("--style", metavar="NAME|FILE", help=f"a bundled style or a picture ({defaults['style']})")
    add("--content", metavar="NAME|FILE", help=f"a bundled photo or a picture ({defaults['content']})")
    add("--device", metavar="LIST", help=f"cpu, gpu, gpu:1 ({defaults['device']})")
    add("--dtype", metavar="LIST", help=f"of: {', '.join(runtime.DTYPES)} ({defaults['dtype']})")
    add("--batch", metavar="LIST", help="batches for the generators' throughput; 1 is always measured (1,4)")
    add("--repeats", metavar="N", help="measure every cell with N seeds (1; with --budget full: 3)")
    add("--seed", metavar="N", help=f"the first seed ({defaults['seed']})")
    add("--budget", metavar="NAME", help=f"of: {', '.join(plan.BUDGETS)} ({defaults['budget']})")
    add("--target-loss", metavar="X", help="the objective to reach, instead of the generators' own")
    add("--preset", metavar="NAME", help=f"the common objective ({defaults['preset']})")
    add("--weights", metavar="NAME|FILE", help="the descriptor's weights (vgg19)")
    add("--random-weights", action="store_const", const=True, help="a descriptor without training, marked so")
    add(
        "--net",
        metavar="FILE",
        action="append",
        help="a trained net instead of a bundled one; may be repeated",
    )
    add(
        "--threads",
        metavar="N",
        help="threads of the engine (OMP_NUM_THREADS, or all cores that may be used)",
    )
    add("--shard", metavar="I/N", help="measure part I of N only, of about equal length; see merge")
    add("--out", default=str(RESULTS), metavar="DIR", help="the folder of runs (results)")
    add("--resume", metavar="RUN", help="go on with a run that was interrupted: its id, folder, or latest")
    add("--json", action="store_true", help="print one JSON object on standard output, and nothing else there")
    add("--timeout-scale", default="1", help=argparse.SUPPRESS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors of the user's are one line on standard error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return console.run(lambda: _main(arguments))


def _main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    if options.command == "run":
        return _run(options, arguments)
    if options.command == "report":
        return _report(options)
    if options.command in COMMANDS:
        return COMMANDS[options.command].main(options)
    from bench import doctor

    return doctor.run()


# -------------------------------------------------------------------------------------------------------- run


def _run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    out = Path(options.out)
    resume = None
    if options.resume is not None:
        resume = store.find_run(options.resume, out, "--resume")
        out = resume.parent
        begun = store.read_run(resume, "--resume")
        _check_resumable(begun, resume)
        if all(getattr(options, name) is None for name in PLAN_DEFAULTS):
            what = plan.Plan.from_dict(begun)
            for name in {cell.engine for cell in what.cells}:
                engines.get(name).check()
        else:
            what = make_plan(options)
    else:
        what = make_plan(options)
        store.check_writable(out)
    how = run.How(
        out=out,
        resume=resume,
        as_json=options.json,
        timeout_scale=console.number("--timeout-scale", 0.0)(options.timeout_scale),
        arguments=["python", "-m", "bench", *arguments],
    )
    return run.execute(what, how)


def _check_resumable(record: Mapping[str, Any], path: Path) -> None:
    """Refuse what no run wrote: it has nothing to go on with."""
    if record.get("merged_from"):
        parts = ", ".join(str(part["id"]) for part in record["merged_from"])
        raise UserError(f"--resume: {path} was merged from {parts}; go on with those, then merge again")
    if record.get("baseline"):
        raise UserError(f"--resume: {path} is a baseline; start a new run and save that")


def make_plan(options: argparse.Namespace) -> plan.Plan:
    """The plan that the arguments of ``run`` describe; raises UserError, in one line, for the first that is
    wrong.
    """
    given = {
        name: default if getattr(options, name) is None else getattr(options, name)
        for name, default in PLAN_DEFAULTS.items()
    }
    engine_names = plan.parse_names("--engine", given["engine"], list(engines.ENGINES))
    for name in engine_names:
        engines.get(name).check()
    method_names = plan.parse_names("--method", given["method"], list(methods.METHODS))
    tasks = plan.parse_names("--task", given["task"], methods.TASKS)
    sizes = plan.parse_integers("--size", given["size"], least=16, most=LARGEST_SIZE)
    batches = given["batch"] and plan.parse_integers("--batch", given["batch"], most=LARGEST_BATCH)
    devices = [runtime.parse_device(text) for text in _items("--device", given["device"])]
    dtypes = [runtime.parse_dtype(text) for text in _items("--dtype", given["dtype"])]
    for device in devices:
        runtime.check_device(device)
        for dtype in dtypes:
            runtime.check_dtype(dtype, device)
    repeats = given["repeats"] and console.whole_number("--repeats", 1, 3)(given["repeats"])
    if given["budget"] not in plan.BUDGETS:
        hint = did_you_mean(given["budget"], plan.BUDGETS)
        raise UserError(f"--budget: unknown budget {given['budget']!r}; {hint}")
    presets.get(given["preset"])
    settings = plan.Settings(
        style=_picture("style", given["style"]),
        content=_picture("content", given["content"]),
        preset=given["preset"],
        weights=_weights(given["weights"]),
        random_weights=bool(given["random_weights"]),
        threads=given["threads"] and console.whole_number("--threads", 1, 2)(given["threads"]),
        target_loss=_target_loss(given["target_loss"]),
        nets=_nets(given["style"], method_names, tasks, given["net"] or []),
    )
    built = plan.build(
        engines=engine_names,
        method_names=method_names,
        tasks=tasks,
        sizes=sizes,
        batches=batches,
        dtypes=dtypes,
        devices=[str(device) for device in devices],
        seed=console.whole_number("--seed", 0, 0)(given["seed"]),
        repeats=repeats,
        budget=plan.BUDGETS[given["budget"]],
        settings=settings,
    )
    if run.unavailable(built) and all(cell.key in run.unavailable(built) for cell in built.cells):
        raise UserError(f"--style: {next(iter(run.unavailable(built).values()))}")
    if given["shard"] is not None:  # before anything that depends on this machine, so that all split one and the same
        built = shards.take(built, *shards.parse(given["shard"]))
    memory = _memory(devices)
    if batches is None:  # nobody asked for these batches: leave out those that cannot fit
        built = plan.without_larger_batches(built, memory)
    plan.check_memory(built.cells, memory)
    return built


def _items(argument: str, text: str) -> list[str]:
    found = list(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))
    if not found:
        raise UserError(f"{argument}: empty; give at least one")
    return found


def _picture(argument: str, text: str) -> str:
    """A bundled name as it is, a file as an absolute path, so that a resumed run finds it from anywhere."""
    from bench.prepare import picture

    path = picture(argument, text)
    return text if text in (*assets.styles(), *assets.contents()) else str(path.resolve())


def _weights(text: str | None) -> str | None:
    return str(Path(text).resolve()) if text is not None and Path(text).is_file() else text


def _target_loss(text: str | None) -> float | None:
    if text is None:
        return None
    value = console.number("--target-loss", 0.0, 1e4)(text)
    if not math.isfinite(value) or value <= 0:
        raise UserError(f"--target-loss: {text} is not a positive number; give for example 1e4")
    return value


def _nets(
    style: str, method_names: Sequence[str], tasks: Sequence[str], files: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """("method/task", net) for every generator that has one: the files given, else the bundled ones."""
    found = {}
    for method in method_names:
        for task in tasks:
            path = assets.find_net(style, method, task)
            if path is not None:
                found[f"{method}/{task}"] = f"{plan.BUNDLED}{path.name}"
    given: dict[str, str] = {}
    for file in files:
        from nst_gluon import netfile

        try:
            _, meta = netfile.load(file)
        except UserError as error:
            raise UserError(f"--net: {error}") from error
        use = f"{meta.get('method')}/{meta.get('task')}"
        if use in given:
            raise UserError(f"--net: {given[use]} and {file} are both for {use}; give one of them")
        given[use] = str(Path(file).resolve())
    return tuple(sorted({**found, **given}.items()))


def _memory(devices: Sequence[runtime.Device]) -> dict[str, int]:
    """Bytes that can be had on each device."""
    found = {}
    for device in devices:
        if device.kind == "cpu":
            found[str(device)] = runtime.memory_available_bytes()
        else:
            found[str(device)] = runtime.gpu_devices()[device.index].memory_bytes
    return found


# ----------------------------------------------------------------------------------------- the other commands


def _report(options: argparse.Namespace) -> int:
    path = store.find_run(options.run, Path(options.out))
    store.read_run(path)
    from bench import analysis, claims, report

    analysis.summarise(path)
    claims.evaluate(path)
    page = Path(report.build(path))
    print(page)
    if options.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return run.OK
