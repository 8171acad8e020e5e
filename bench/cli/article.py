"""``python -m bench article NAME``: run an article to the letter, beside the values that it prints."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import shlex
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench import RESULTS
from bench.cli.options import add_out
from bench.plan import articles, inputs
from bench.store.run_folder import as_csv, check_writable
from nst_gluon.cli import console
from nst_gluon.objective.loss_terms import TERMS
from nst_gluon.pages.wording import quantity
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import write_atomically

if TYPE_CHECKING:
    from bench.engines.article import Evaluation
    from nst_gluon.descriptor.weights import VggWeights

NO_VERDICT = "no verdict"


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "article",
        help="reproduce the run of an article, step by step",
        description="Run an article's own program: its objective, variables, optimiser, rounds and picture sizes, on "
        "Gluon. Writes the loss beside the values that the article prints, and a verdict on the ratio of the last to "
        "the first, into DIR/NAME. The articles' photos are replaced by bundled ones.",
        epilog="examples:\n  python -m bench article d2l\n  python -m bench article keras --weights vgg16.h5",
    )
    add = command.add_argument
    add("name", metavar="NAME", help=f"one of: {', '.join(articles.ARTICLES)}")
    add("--style", metavar="NAME|FILE", help=f"a bundled style or a picture (default: {_defaults('style')})")
    add("--content", metavar="NAME|FILE", help=f"a bundled photo or a picture (default: {_defaults('content')})")
    add("--weights", metavar="NAME|FILE", help="the descriptor's weights (default: the article's VGG)")
    add("--seed", default="0", metavar="N", help="of the noise that keras starts from (default: %(default)s)")
    add("--stages", metavar="N", help="only the first N picture sizes (default: all)")
    add("--threads", metavar="N", help="threads of the engine (default: OMP_NUM_THREADS, or all cores)")
    add_out(command, "the folder of reproduced articles", str(RESULTS / "articles"))


def _defaults(role: str) -> str:
    """Each article's own picture: "starry_night (d2l)"."""
    return ", ".join(f"{getattr(one, role)} ({name})" for name, one in articles.ARTICLES.items())


def main(options: argparse.Namespace) -> int:
    """Run an article and write what came of it; returns the exit status."""
    article = articles.get(options.name)
    if options.stages is not None:
        stages = console.whole_number("--stages", 1, 1)(options.stages)
        article = dataclasses.replace(article, stages=article.stages[:stages])
    folder = Path(options.out) / article.name
    check_writable(folder)
    names = {role: getattr(options, role) or getattr(article, role) for role in ("style", "content")}
    paths = {role: inputs.picture(role, name) for role, name in names.items()}
    seed = console.seed(options.seed)
    threads = None if options.threads is None else console.whole_number("--threads", 1, 2)(options.threads)
    weights = load_weights(article, options.weights)
    runtime.prepare(threads)
    from bench.engines.article import reproduce
    from nst_gluon.pictures import images

    style, content = (images.load(paths[role]) for role in ("style", "content"))

    began = time.perf_counter()
    with tqdm(total=sum(stage.rounds * stage.evaluations for stage in article.stages), unit="evaluation") as bar:

        def tell(evaluation: Evaluation) -> None:
            bar.update()
            bar.set_postfix(objective=f"{evaluation.terms.objective:.5g}", refresh=False)

        picture, evaluations, rounds = reproduce(article, weights, style, content, seed, tell)
    found = result(article, weights, names, evaluations, rounds)
    found.update(command=_command(options), stages=len(article.stages), seed=seed,
                 seconds=round(time.perf_counter() - began, 1))
    folder.mkdir(parents=True, exist_ok=True)
    images.save(picture, folder / "picture.jpg")
    write_atomically(folder / "curve.csv", curve(evaluations))
    write_atomically(folder / "article.json", json.dumps(found, indent=2) + "\n")
    print(write_atomically(folder / "README.md", page(article, found)))
    return 0


def _command(options: argparse.Namespace) -> str:
    given = [("--style", options.style), ("--content", options.content), ("--weights", options.weights),
             ("--stages", options.stages), ("--seed", None if options.seed == "0" else options.seed)]  # fmt: skip
    words = [word for name, value in given if value is not None for word in (name, value)]
    return shlex.join(["python", "-m", "bench", "article", options.name, *words])


def load_weights(article: articles.Article, spec: str | None) -> VggWeights:
    """The weights that are asked for, or the article's own; a UserError says how to go on without those."""
    from nst_gluon.descriptor import weights

    try:
        return weights.load(spec or article.arch)
    except UserError as error:
        if spec:
            raise UserError(f"--weights: {error}") from error
        reason = str(error).partition("; ")[0]
        raise UserError(f"--weights: the article's {article.arch} cannot be had ({reason}); give a file of it, or "
                        "vgg19, which the result then names as a departure") from error  # fmt: skip


def result(
    article: articles.Article, weights: VggWeights, pictures: Mapping[str, str],
    evaluations: Sequence[Evaluation], rounds: Sequence[float],
) -> dict[str, Any]:  # fmt: skip
    """The loss at each mark that the article prints, and the verdict on the ratio of the last to the first.

    Args:
        weights: of random ones there is no verdict, nor of those for another input scaling than the article's: how the
            terms of its objective balance depends on it.
        pictures: the names of style and content.
    """
    from bench.analysis import claims  # brings pandas

    steps = {one.step: one.terms.objective for one in evaluations if one.stage == 1}
    at = dict(enumerate(rounds, 1)) if article.mark == "round" else steps
    values = [at[mark] for mark, _ in article.published]
    ratio, published = values[-1] / values[0], article.published_ratio
    falls = all(after < before for before, after in zip(values, values[1:]))
    verdict = claims.judge(claims.ABOUT, (published, published), ratio, ratio)
    departures = [f"the pictures are {pictures['content']} in the style of {pictures['style']}; the article's are not "
                  "to be had"]  # fmt: skip
    if weights.arch != article.arch:
        departures.append(f"the descriptor is {weights.arch}, where the article has {article.arch}")
    comparable = not weights.random and all(map(partial(math.isclose, rel_tol=0.02), weights.std, article.std))
    departures.append(f"its weights are {weights.source}" + ("" if comparable else ", whose activations are of another "
                      "scale than the article's, and with them the balance of the terms: no verdict"))  # fmt: skip
    return {
        "article": article.name, "weights": weights.identity(), **pictures, "departures": departures,
        "marks": [{article.mark: mark, "published": value, "measured": mine}
                  for (mark, value), mine in zip(article.published, values)],
        "ratio": {"published": published, "measured": ratio}, "falls_throughout": falls,
        "verdict": verdict if comparable else NO_VERDICT,
    }  # fmt: skip


def curve(evaluations: Sequence[Evaluation]) -> bytes:
    """Every evaluation as CSV."""
    rows = ((one.stage, one.round, one.step, f"{one.seconds:.2f}", *(f"{getattr(one.terms, t):.7g}" for t in TERMS))
            for one in evaluations)  # fmt: skip
    return as_csv([("stage", "round", "step", "seconds", *TERMS), *rows])


def page(article: articles.Article, found: Mapping[str, Any]) -> str:
    """What came of it, as Markdown."""
    from bench.analysis import claims  # brings pandas

    marks = found["marks"]
    rows = [
        f"| {one[article.mark]} | {quantity(one['published'], '1')} | {quantity(one['measured'], '1')} | "
        f"{one['published'] / marks[0]['published']:.3f} | {one['measured'] / marks[0]['measured']:.3f} |"
        for one in marks
    ]
    stages = ", then ".join(_stage(stage) for stage in article.stages[: found["stages"]])
    ratio = found["ratio"]
    lines = [
        f"# {article.name}: {article.title}", "",
        f"Made by `{found['command']}`: {stages}. Printed values: {article.source}.", "",
        f"Last over first: published {ratio['published']:.3f}, measured {ratio['measured']:.3f}: "
        f"**{found['verdict']}** ({claims.RULES[claims.ABOUT]})", "",
        "Departures: " + "; ".join(found["departures"]) + ". So values compare by their shape alone.", "",
        f"| {article.mark} | published | measured | published, of the first | measured, of the first |",
        "|---:|---:|---:|---:|---:|", *rows, "", "![the picture](picture.jpg)",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _stage(stage: articles.Stage) -> str:
    if stage.rate is None:
        how = f"{stage.rounds} rounds of SciPy's L-BFGS-B with at most {stage.evaluations} evaluations"
    else:
        how = f"{stage.evaluations} steps of Adam at {stage.rate:g}, a tenth every {stage.decay_every}"
    return f"{stage.width} x {stage.height}, {how}"
