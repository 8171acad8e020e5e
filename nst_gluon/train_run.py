"""A training as a folder of files: log, previews, checkpoints that resume, and at the end the net.

<style>-<method>-<task>.npz    the net                         .json   its description and the command
<style>-<method>-<task>.csv    one line per iteration          .preview.png   what it makes now
<style>-<method>-<task>.checkpoint.npz    while it is training
"""

from __future__ import annotations

import csv
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
from tqdm import tqdm

from nst_gluon import assets, images, netfile
from nst_gluon import weights as vgg_weights
from nst_gluon.errors import UserError
from nst_gluon.files import one_line, write_atomically
from nst_gluon.training import Progress, TrainConfig, Trainer, contents, net_stem

LOG_COLUMNS = ("iteration", "seconds", "learning_rate", "objective", "content", "style", "tv")
PREVIEW_PHOTO = "chelsea"
FINAL_WINDOW = 50


@dataclass(frozen=True)
class Files:
    """The files of one training in ``folder``."""

    folder: Path
    stem: str

    def path(self, suffix: str) -> Path:
        return self.folder / f"{self.stem}{suffix}"


def _read_log(path: Path, iterations: int) -> list[list[str]]:
    """The first ``iterations`` lines of a log; what a killed run wrote after its last checkpoint is dropped."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(LOG_COLUMNS)]
    return rows[1 : iterations + 1]


def _write_log(path: Path, rows: list[list[str]]) -> None:
    lines = [",".join(LOG_COLUMNS), *(",".join(row) for row in rows)]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _row(progress: Progress) -> list[str]:
    terms = progress.terms
    values = (progress.seconds, progress.learning_rate, terms.objective, terms.content, terms.style, terms.tv)
    return [str(progress.iteration), *(f"{v:.6g}" for v in values)]


def preview(trainer: Trainer) -> np.ndarray:
    """What the net makes now: a texture, or a photo stylised (1, 3, size, size)."""
    size = trainer.config.size
    if trainer.config.task == "texture":
        return trainer.generator().generate(size=(size, size), seed=0)
    return trainer.generator().generate(images.load(assets.content_path(PREVIEW_PHOTO), size), seed=0)


def train(
    config: TrainConfig,
    folder: Path,
    ctx=None,
    command: str = "",
    checkpoint_every: int = 100,
    preview_every: int = 100,
    overwrite: bool = False,
    show: Callable[[Progress], None] | None = None,
) -> Path:
    """Trains a net into ``folder`` and returns the net file's path; continues from a checkpoint that is there.

    Raises:
        UserError: the folder cannot be written, or holds this net already and ``overwrite`` is false.
        NotFinite: the training diverged; checkpoint and log stay.
    """
    files = Files(Path(folder), net_stem(config))
    net_path, checkpoint = files.path(".npz"), files.path(".checkpoint.npz")
    if net_path.exists() and not overwrite and not checkpoint.exists():
        raise UserError(f"--output: {net_path} exists; give another folder, or --force to replace it")
    try:
        files.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output: cannot make the folder {folder}: {one_line(error)}") from error
    weights = vgg_weights.load(config.weights, random=config.random_weights)
    trainer = Trainer(config, weights, ctx)
    if checkpoint.exists():
        trainer.restore(checkpoint)
    rows = _read_log(files.path(".csv"), trainer.iteration)
    bar = tqdm(
        total=config.iterations,
        initial=trainer.iteration,
        desc=files.stem,
        unit="it",
        disable=not sys.stderr.isatty(),
    )
    with bar:
        for content in contents(trainer.config, trainer.iteration):
            progress = trainer.step(content)
            rows.append(_row(progress))
            bar.update()
            bar.set_postfix(objective=f"{progress.terms.objective:.4g}")
            if show is not None:
                show(progress)
            if progress.iteration % preview_every == 0:
                images.save(preview(trainer), files.path(".preview.png"))
            if progress.iteration % checkpoint_every == 0:
                _write_log(files.path(".csv"), rows)
                trainer.save(checkpoint)
    _write_log(files.path(".csv"), rows)
    _finish(trainer, files, rows, command)
    checkpoint.unlink(missing_ok=True)
    return net_path


def _finish(trainer: Trainer, files: Files, rows: list[list[str]], command: str) -> None:
    """Writes preview, description and, last, the net."""
    images.save(preview(trainer), files.path(".preview.png"))
    last = np.array([[float(v) for v in row] for row in rows[-FINAL_WINDOW:]])
    final = dict(zip(LOG_COLUMNS[3:], last[:, 3:].mean(axis=0).tolist()))
    meta = {**trainer.meta(None, command), "final_objective": final, "final_window": len(last)}
    meta["seconds"] = trainer.seconds
    meta["finished"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_atomically(files.path(".json"), (json.dumps(meta, indent=2, sort_keys=True) + "\n").encode())
    netfile.save(files.path(".npz"), trainer.parameters(), meta)
