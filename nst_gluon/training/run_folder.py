"""A training as a folder of files: log, previews, checkpoints that resume, and at the end the net and its page.

<style>-<method>-<task>.npz    the net                         .json   its description and the command
<style>-<method>-<task>.csv    one line per iteration          .html   curve and samples, for people
<style>-<method>-<task>.preview.png   what it makes now        .checkpoint.npz   while it is training
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from nst_gluon import assets
from nst_gluon.descriptor import weights as vgg_weights
from nst_gluon.nets import netfile
from nst_gluon.objective.loss_terms import TERMS
from nst_gluon.pages.wording import quantity
from nst_gluon.pictures import images
from nst_gluon.system import ending
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import alone, one_line, write_atomically
from nst_gluon.training import checkpoint, page
from nst_gluon.training.config import TrainConfig, learning_rate
from nst_gluon.training.contents import contents
from nst_gluon.training.loop import Progress, Trainer

if TYPE_CHECKING:
    from nst_gluon.training.member import Together

# "held_out" and "saturated" (Trainer.judge) are there every few iterations, and nan between.
LOG_COLUMNS = ("iteration", "seconds", "learning_rate", *TERMS, "penalty", "held_out", "saturated")
# Held-out pictures are judged so many times in a run, and at its end.
JUDGEMENTS = 20
PREVIEW_PHOTO = "chelsea"
SAMPLE_PHOTOS = (assets.HELD_OUT, "chelsea", "coffee")
FINAL_WINDOW = 50
# The first steps of a session compile; those after them tell how long it will take.
WARM_UP, TIMED = 2, 5


def _read_log(path: Path, iterations: int) -> list[list[str]]:
    """The lines of a log up to an iteration; what a killed run wrote after its last checkpoint is dropped."""
    if not path.exists():
        return []
    with path.open(newline="", errors="replace") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(LOG_COLUMNS) and all(map(_is_number, row))]
    return [row for row in rows if float(row[0]) <= iterations]  # it may have been deleted meanwhile, and begin later


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _write_log(path: Path, rows: list[list[str]]) -> None:
    write_atomically(path, "".join(",".join(row) + "\n" for row in (LOG_COLUMNS, *rows)))


def _row(progress: Progress, judged: tuple[float, float]) -> list[str]:
    terms = progress.terms.as_dict()
    values = (progress.seconds, progress.learning_rate, *(terms[name] for name in TERMS), progress.penalty, *judged)
    return [str(progress.iteration), *(f"{v:.6g}" for v in values)]


@contextmanager
def _writing() -> Iterator[None]:
    """UserErrors of what is written inside name the argument, and the way on."""
    try:
        yield
    except UserError as error:
        raise UserError(f"--output: {error}; the same command goes on from the last checkpoint") from error


def preview(trainer: Trainer) -> np.ndarray:
    """What the net makes now: a texture, or a photo stylised (1, 3, size, size)."""
    size = trainer.config.size
    if trainer.config.task == "texture":
        return trainer.generator().generate(size=(size, size), seed=0)
    return trainer.generator().generate(images.load(assets.content_path(PREVIEW_PHOTO), size), seed=0)


def samples(trainer: Trainer) -> list[page.Sample]:
    """What the net makes, for its page: textures of several seeds and sizes, or photos before and after."""
    config, net = trainer.config, trainer.generator()
    size = config.size
    sides = f"{size} × {size}"
    found = [page.Sample("Style", Path(config.style).stem, images.load(assets.style_path(config.style), size))]
    if config.task == "texture":
        for seed, shape in ((0, (size, size)), (1, (size, size)), (0, (size, 2 * size))):
            note = f"{shape[1]} × {shape[0]}, noise of seed {seed}"
            found.append(page.Sample("Texture", note, net.generate(size=shape, seed=seed)))
        return found
    for photo in SAMPLE_PHOTOS:
        content = images.load(assets.content_path(photo), size)
        seen = "" if photo != assets.HELD_OUT or config.photos else ", which it was not trained on"
        found.append(page.Sample("Photo", f"{photo}, {sides}{seen}", content))
        found.append(page.Sample("Stylised", f"{photo}, {sides}", net.generate(content, seed=0)))
    return found


def estimate(timed: Mapping[int, Sequence[float]], left: Sequence[int]) -> str:
    """How long steps on pictures of the sides ``left`` will take, in one line.

    ``timed``: seconds of steps by the side of their pictures. Other sides cost as many times more as they have pixels.
    """
    seconds = {side: float(np.median(steps)) for side, steps in timed.items()}
    known = np.array(sorted(seconds))
    nearest = {side: int(known[np.abs(np.log(known / side)).argmin()]) for side in set(left)}
    total = sum(seconds[nearest[side]] * (side / nearest[side]) ** 2 for side in left)
    end = time.strftime("%H:%M", time.localtime(time.time() + total))
    step = quantity(total / max(1, len(left)), "s")
    return f"about {quantity(total, 's')} for {len(left):,} more steps of {step}, done at about {end}"


def train(
    config: TrainConfig,
    folder: Path,
    ctx=None,
    command: str = "",
    checkpoint_every: int = 100,
    preview_every_s: float = 60.0,
    overwrite: bool = False,
    show: Callable[[Progress], None] | None = None,
    quiet: bool = False,
    together: Together | None = None,
) -> Path:
    """Trains a net into ``folder`` and returns the net file's path; continues from a checkpoint that is there.

    Args:
        preview_every_s: seconds between previews, by the clock; they change nothing about the net.
        show: called after each iteration.
        quiet: say nothing on stderr; otherwise how long it will take, once a few steps have been timed, and on a
            terminal how far it is.
        together: the group that this process trains in; the first of them writes, the others only compute.

    Raises:
        UserError: the folder cannot be written, or holds this net already and ``overwrite`` is false.
        NotFinite: the training diverged; checkpoint and log stay.
    """
    net_path = Path(folder, f"{Path(config.style).stem}-{config.method}-{config.task}.npz")
    saved, log = net_path.with_suffix(".checkpoint.npz"), net_path.with_suffix(".csv")
    leader = together is None or together.rank == 0
    quiet = quiet or not leader

    def check_new() -> None:
        if leader and net_path.exists() and not overwrite and not checkpoint.exists(saved):
            raise UserError(f"--output: {net_path} exists; give another folder, or --force to replace it")

    check_new()
    weights = vgg_weights.load(config.weights, random=config.random_weights, progress=not quiet)
    trainer = Trainer(config, weights, ctx, together)  # refuses what it cannot train before there is a folder
    try:
        net_path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output: cannot make the folder {folder}: {one_line(error)}") from error
    if leader and not os.access(net_path.parent, os.W_OK):
        raise UserError(f"--output: the folder {folder} cannot be written to; name another")
    with alone(net_path) if leader else nullcontext():
        check_new()  # another process may have made it meanwhile
        if checkpoint.exists(saved):
            trainer.restore(saved)
        rows = _read_log(log, trainer.iteration)
        bar = tqdm(
            total=config.iterations,
            initial=trainer.iteration,
            desc="training",
            dynamic_ncols=True,
            unit="it",
            disable=True if quiet else None,
        )
        previewed, timed, told = time.monotonic(), {}, quiet
        judge_every = max(10, config.iterations // JUDGEMENTS)
        if together is not None:
            together.check(trainer.optimizer.learnt(), trainer.optimizer.gradients(), trainer.iteration)
        with bar:
            for content in contents(trainer.config, trainer.iteration):
                ending.check()
                begun = time.monotonic()
                progress = trainer.step(content)
                if not leader:
                    continue
                _ = trainer.joules  # the counter overflows unseen where it is seldom read
                timed.setdefault(config.side(progress.iteration - 1), []).append(time.monotonic() - begun)
                due = progress.iteration % judge_every == 0 or progress.iteration == config.iterations
                terms, saturated = trainer.judge() if due else (None, np.nan)
                if due and trainer.own is not None:
                    progress = replace(progress, terms=terms)
                rows.append(_row(progress, (terms.objective if due else np.nan, saturated)))
                if not told and sum(map(len, timed.values())) == (WARM_UP + TIMED) * len(config.sizes):
                    told = True
                    warm = {side: steps[WARM_UP:] for side, steps in timed.items() if len(steps) > WARM_UP}
                    left = [config.side(i) for i in range(progress.iteration, config.iterations)]
                    tqdm.write(estimate(warm, left), file=sys.stderr)
                bar.update()
                bar.set_postfix(objective=f"{progress.terms.objective:.4g}")
                if show is not None:
                    show(progress)
                if time.monotonic() - previewed >= preview_every_s:
                    with _writing():
                        images.save(preview(trainer), net_path.with_suffix(".preview.png"))
                    previewed = time.monotonic()
                if progress.iteration % checkpoint_every == 0:
                    with _writing():
                        _write_log(log, rows)
                    trainer.save(saved)
        if not leader:
            return net_path
        if not rows:  # the log was deleted after the checkpoint of the last iteration
            terms, saturated = trainer.judge()
            rate = learning_rate(trainer.config, trainer.iteration - 1)
            last = Progress(trainer.iteration, trainer.seconds, rate, terms, np.nan)
            rows.append(_row(last, (terms.objective, saturated)))
        with _writing():
            _write_log(log, rows)
            if trainer.iteration % checkpoint_every:
                with suppress(UserError):  # the net may find room where a checkpoint does not
                    trainer.save(saved)
            _finish(trainer, net_path, rows, command)
        checkpoint.delete(saved)
    return net_path


def _finish(trainer: Trainer, net_path: Path, rows: list[list[str]], command: str) -> None:
    """Writes preview, description, page and, last, the net: the best one where the recipe keeps it."""
    trainer.settle()
    images.save(preview(trainer), net_path.with_suffix(".preview.png"))
    last = np.array([[float(v) for v in row[3 : 3 + len(TERMS)]] for row in rows[-FINAL_WINDOW:]])
    last = last[np.isfinite(last[:, 0])]  # of a training of a method's own: where it was judged
    final = dict(zip(TERMS, last.mean(axis=0).tolist()))
    meta = {**trainer.meta(command), "final_objective": final, "final_window": len(last)}
    meta["seconds"] = trainer.seconds
    if trainer.joules is not None:
        meta["joules"] = trainer.joules
    meta["finished"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_atomically(net_path.with_suffix(".json"), json.dumps(meta, indent=2, sort_keys=True) + "\n")
    curve = [(int(row[0]), float(row[LOG_COLUMNS.index("objective")])) for row in rows]
    curve = [point for point in curve if np.isfinite(point[1])]
    write_atomically(net_path.with_suffix(".html"), page.write(meta, curve, samples(trainer), net_path))
    netfile.save(net_path, trainer.parameters(), meta)
