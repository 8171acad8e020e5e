"""Judges the finished pictures of a run, and draws its nets with more and less noise: ``judges.csv``, ``noise.csv``.

Everything is taken from the pictures that the run saved, after all of its cells, so that nothing of it is on a clock,
and a run of any age or engine can be judged. A net whose file is still the one that was measured is asked for further
pictures: of other noise where the run has one seed only, and of noise at NOISE_SCALES times its amplitude.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.plan import engines
from bench.plan.cells import CELL_COLUMNS, Cell, Settings, use_of
from bench.store import run_folder
from bench.store.schema import JUDGE_COLUMNS, JUDGES, NOISE, NOISE_COLUMNS
from nst_gluon import methods
from nst_gluon.descriptor import weights
from nst_gluon.methods.description import Noise
from nst_gluon.objective import judges, presets
from nst_gluon.pictures import images
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import digest, inside, write_atomically

NOISE_SCALES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
DRAWS, PAPERS_SIZE = 4, 256


class _Judging:
    """A run's inputs, and what its pictures are compared with."""

    def __init__(self, path: Path):
        self.path, self.meta = path, run_folder.read_run(path)
        self.plan = run_folder.plan_of(self.meta, path)
        self.settings: Settings = self.plan.settings
        for _, reference in self.settings.methods:
            methods.get(reference)
        runtime.prepare(self.settings.threads)
        engine = engines.get(engines.REFERENCE)
        engine.check()
        self.backend = getattr(engine.load(), engine.backend)("cpu", "float32")
        self.descriptor = weights.load(self.settings.weights, random=self.settings.random_weights, progress=False)
        self.inputs = self.meta.get("inputs") or {}
        known = (self.inputs.get("weights") or {}).get("sha256")
        if known not in (None, self.descriptor.sha256):
            raise UserError(f"RUN: {path} was measured with other weights than {self.descriptor.source}")
        self.preset = presets.get(self.settings.preset)
        self.unused = judges.unused_layers(self.preset, self.descriptor.arch)
        self._targets: dict[Any, Any] = {}
        self._nets: dict[str, Any] = {}

    def style(self, cell: Mapping[str, Any]) -> np.ndarray:
        """The style picture (1, 3, M, M) of a cell, as the run kept it."""
        own = self.path / "images" / f"style-{cell.get('style_name')}.png"
        return images.load(own if own.is_file() else self.path / "images" / "style.png", self.settings.style_size)

    def content(self, cell: Mapping[str, Any]) -> np.ndarray | None:
        """The photo (1, 3, S, S) of a cell, as the run kept it; None for a texture."""
        return images.load(self.path / "images" / "content.png", cell["size"]) if cell["task"] == "stylize" else None

    def shows_content(self, cell: Mapping[str, Any]) -> bool:
        """Whether a cell's picture is of the photo that the run kept: the photos are dealt out to the seeds."""
        photos, _ = self.plan.share(Cell.from_dict(cell))
        return photos[:1] == self.settings.contents[:1] or cell["task"] == "texture"

    def of_style(self, cell: Mapping[str, Any], what: Callable[[np.ndarray], Any]) -> Any:
        """``what`` makes of a cell's style picture."""
        key = (cell.get("style_name"), what)
        if key not in self._targets:
            self._targets[key] = what(self.style(cell))
        return self._targets[key]

    def _grams(self, style: np.ndarray) -> Any:
        return self.backend.objective(self.unused, self.descriptor, "texture", style, None)

    def _statistics(self, picture: np.ndarray) -> Mapping[str, np.ndarray]:
        return judges.statistics(picture[0])

    def net(self, cell: Mapping[str, Any]) -> Any:
        """The trained net that the run measured, or None where its file is not there any more, or is another."""
        use = use_of(cell.get("style_name"), cell["method"], cell["task"])
        if use not in self._nets:
            file, known = self.settings.net_file(use), (self.inputs.get("nets") or {}).get(use) or {}
            same = file is not None and file.is_file() and digest(file, "sha256") == known.get("sha256")
            self._nets[use] = self.backend.generator(file) if same else None
        return self._nets[use]

    def judge(self, cell: Mapping[str, Any], picture: np.ndarray) -> Iterator[tuple[str, float]]:
        """(metric, value) of one picture (1, 3, S, S)."""
        if self.unused:
            yield "judge_gram", self.of_style(cell, self._grams).terms(picture).style
        sides = (picture.shape[2], self.settings.style_size)
        if not any(side % judges.SIDES for side in sides):
            found = judges.statistics_distance(self._statistics(picture), self.of_style(cell, self._statistics))
            yield "judge_statistics", found
        if cell["task"] == "stylize":
            yield "edge_ssim", judges.edge_ssim(picture[0], self.content(cell)[0])
        elif cell["task"] == "texture" and min(sides) >= 2 * judges.PATCH:
            yield "copied_share", judges.copied_share(picture[0], self.style(cell)[0])

    def draws(self, cell: Mapping[str, Any], pictures: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The pictures of a method that differ by their seed; of a net with one of them, further ones."""
        if len(pictures) > 1 or cell["kind"] != "generate":
            return pictures
        net = self.net(cell)
        size, content = (cell["size"],) * 2, self.content(cell)
        return [net.generate(content, size, seed) for seed in range(DRAWS)] if net else pictures


def write(path: Path) -> None:
    """Write judges.csv and noise.csv of a run. Raises UserError where it is no run, or its inputs are others now."""
    run = _Judging(path)
    run_folder.refuse_links(path, run_folder.FOLDERS)
    records = [record for record in run_folder.read_committed(path)[0]
               if record.get("status") == "ok" and record.get("batch") == 1 and run.shows_content(record)]  # fmt: skip
    rows, draws = [], defaultdict(list)
    for record in records:
        cell = [record.get(name, "") for name in CELL_COLUMNS]
        for target, file, objective in _pictures(path, record):
            picture = images.load(file)
            if not target:
                draws[tuple(cell[:-1])].append((record, picture))
            found = dict(run.judge(record, picture))
            rows += [(*cell, target, metric, value) for metric, value in ({"objective": objective, **found}).items()]
    for group in draws.values():
        record = group[0][0]
        pictures = run.draws(record, [picture for _, picture in group])
        if len(pictures) > 1:
            cell = [record.get(name, "") for name in CELL_COLUMNS]
            rows.append((*cell, "", "diversity", judges.diversity([picture[0] for picture in pictures])))
    write_atomically(path / JUDGES, _csv(JUDGE_COLUMNS, rows))
    noise = list(_noise(run, records))
    if noise:
        write_atomically(path / NOISE, _csv(NOISE_COLUMNS, noise))


def _pictures(path: Path, record: Mapping[str, Any]) -> Iterator[tuple[str, Path, float]]:
    """(target, file, objective) of a cell's own picture, and of those at equal loss."""
    equal = (record.get("info") or {}).get("equal_loss") or {}
    objective = (record.get("info") or {}).get("shown_objective", (record.get("medians") or {}).get("objective"))
    kept = [("", record.get("image"), objective)]
    kept += [(str(net), one.get("image"), one.get("objective")) for net, one in equal.items()]
    for target, named, value in kept:
        file = inside(path, named) if isinstance(named, str) and named else None
        if file is not None and file.is_file() and isinstance(value, (int, float)):
            yield target, file, float(value)


def _noise(run: _Judging, records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """The objective of each stylising net that takes noise, at the size nearest to the papers', against its scale.

    Of several styles the first. The content is the photo as the run kept it, in 8 bits at the largest size, resampled:
    at scale 1 the objective is near that of the run's own picture, but not the same.
    """
    able = [record for record in records if record["kind"] == "generate" and record["task"] == "stylize"]
    for method in dict.fromkeys(record["method"] for record in able):
        own = [record for record in able if record["method"] == method]
        record = min(own, key=lambda one: (abs(one["size"] - PAPERS_SIZE), one["seed"]))
        net = run.net(record)
        if net is None or not any(isinstance(layer, Noise) for layer in net.description.inputs):
            continue
        content, style = run.content(record), run.style(record)
        objective = run.backend.objective(run.preset, run.descriptor, "stylize", style, content)
        for scale in NOISE_SCALES:
            picture = net.generate(content, seed=record["seed"], noise_scale=scale)
            named = Path("images") / f"noise-{method}-{scale:g}.png"
            images.save(picture, run.path / named)
            terms = objective.terms(picture)
            yield (method, record["size"], scale, terms.objective, terms.content, terms.style, terms.tv, named)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    short = ([f"{value:.7g}" if isinstance(value, float) else value for value in row] for row in rows)
    return run_folder.as_csv([columns, *short])


def main(path: str) -> int:
    """Judge the run at ``path``; exit status 2 and one line where that is not possible."""
    try:
        write(Path(path))
    except UserError as error:
        print(f"warning: the pictures are not judged: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
