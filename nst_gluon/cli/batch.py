"""``stylize`` at work: pictures and videos one after another, read ahead and written behind, and what came of them.

Imports no engine by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nst_gluon.api import inputs
from nst_gluon.api.maker import PictureMaker
from nst_gluon.cli.console import MISUSED, wrapped
from nst_gluon.cli.input_files import PICTURE, Job
from nst_gluon.pictures import images, video
from nst_gluon.pictures.flicker import Flicker
from nst_gluon.pictures.pipeline import Behind, ahead
from nst_gluon.system import ending, runtime
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import quoted

FRAMES_WAITING = 8


@dataclass
class Outcome:
    """What was made: facts of each result, in order, of each source that failed, and the time that it took.

    ``skipped`` counts results that existed before. ``pictures_s`` and ``frames_s`` (of videos) include reading and
    writing, but not starting the engine, which is ``preparation_s``.
    """

    made: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    skipped: int = 0
    pictures_s: float = 0.0
    frames_s: float = 0.0
    preparation_s: float = 0.0

    @property
    def seconds(self) -> float:
        """All the time but the start of the engine."""
        return self.pictures_s + self.frames_s

    def counts(self) -> dict[str, int]:
        """How many pictures and frames of videos were made, those of which there are any."""
        frames = [facts["frames"] for facts in self.made if "frames" in facts]
        counts = {"pictures": len(self.made) - len(frames), "frames": sum(frames)}
        return {unit: count for unit, count in counts.items() if count}

    def rates(self) -> dict[str, float]:
        """Pictures and frames a second, those of which there are any."""
        times = {"pictures": self.pictures_s, "frames": self.frames_s}
        return {unit: count / times[unit] for unit, count in self.counts().items()}

    def as_dict(self) -> dict[str, Any]:
        """All of it, for --json."""
        times = {"seconds": self.seconds, "preparation_s": self.preparation_s}
        rates = {f"{unit}_per_s": rate for unit, rate in self.rates().items()}
        skipped = {"skipped": self.skipped}
        return {"made": self.made, "failed": self.failed, **skipped, **self.counts(), **times, **rates}

    def line(self) -> str:
        """All of it in one line for people."""
        parts = [f"{count:,} {unit if count > 1 else unit[:-1]}" for unit, count in self.counts().items()]
        text = []
        if parts:
            rates = ", ".join(f"{rate:.3g} {unit}/s" for unit, rate in self.rates().items())
            rates = f": {rates}" if sum(self.counts().values()) > 1 else ""
            started = f" (after {self.preparation_s:.2g} s to start)" if self.preparation_s >= 0.1 else ""
            text.append(f"{' and '.join(parts)} in {self.seconds:.3g} s{rates}{started}")
        if self.skipped:
            text.append(f"{self.skipped:,} skipped: the result exists")
        if self.failed:
            text.append(f"{len(self.failed):,} failed, see above")
        return "; ".join(text)


def report(outcome: Outcome, as_json: bool, quiet: bool) -> int:
    """Print the result and return the exit status. (A single video has a line of its own, which says it all.)"""
    if as_json:
        print(json.dumps(outcome.as_dict()))
    elif (outcome.made or outcome.skipped) and not quiet:
        one_video = len(outcome.made) == 1 and "frames" in outcome.made[0] and not outcome.skipped
        if not one_video:
            print(wrapped(outcome.line(), sys.stderr), file=sys.stderr)
    return MISUSED if outcome.failed else 0


def write_picture(picture: np.ndarray, path: Path, overwrite: bool) -> Path:
    """Write a picture, uint8 (H, W, 3), and make its folder if that is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return images.save(picture, path, overwrite)


def size_of(job: Job, size: int | str) -> tuple[int, int]:
    """About the height and width of what will be made, to say how long it takes; square where that is not known."""
    try:
        with images.opened(job.source) as picture:
            width, height = picture.size
    except UserError:
        return (inputs.longer_side((inputs.LARGEST,) * 2, size),) * 2
    scale = inputs.longer_side((height, width), size) / max(width, height)
    return round(height * scale), round(width * scale)


class Batch:
    """All jobs of one command line."""

    def __init__(self, args: argparse.Namespace, maker: PictureMaker):
        self._args, self._maker = args, maker
        # What the picture before it holds at the moment when one is read ahead is free again when its turn comes.
        self._available = runtime.memory_available_bytes()
        self.outcome = Outcome()

    def run(self, jobs: Sequence[Job]) -> Outcome:
        """Do them all. A source that cannot be read, or of which nothing can be made, is reported; the others go on.

        Raises:
            UserError: a result cannot be written or made; what was finished before is there.
        """
        start = time.perf_counter()
        self._pictures([job for job in jobs if not job.is_video])
        self.outcome.pictures_s = time.perf_counter() - start - self._maker.preparation_s
        for job in jobs:
            if job.is_video:
                self._video(job)
        self.outcome.preparation_s = self._maker.preparation_s
        return self.outcome

    def _bar(self, total: int | None, unit: str, title: str = "", needed: bool = True) -> tqdm:
        off = True if self._args.quiet or not needed else None  # None: unless stderr is no terminal
        return tqdm(total=total, unit=unit, desc=title, disable=off, dynamic_ncols=True, leave=False)

    def _made(self, job: Job, facts: dict[str, Any]) -> None:
        self.outcome.made.append({"source": str(job.source), "output": str(job.output), **facts})
        if not self._args.json:
            tqdm.write(str(job.output), file=sys.stdout)

    def _failed(self, job: Job, error: UserError) -> None:
        line = " ".join(str(error).splitlines())
        if quoted(job.source) not in line:
            line = f"{quoted(job.source)}: {line}"
        self.outcome.failed.append({"source": str(job.source), "error": line})
        tqdm.write(wrapped(f"error: {line}", sys.stderr), file=sys.stderr)

    # ------------------------------------------------------------------------------------------------- pictures

    def _content(self, path: Path) -> np.ndarray:
        """The picture at the asked size, its aspect kept."""
        made = inputs.load_fitted(PICTURE, path, self._args.size, self._maker.bytes_needed, self._available)
        self._maker.check(made.shape[2:])
        return made

    def _contents(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, np.ndarray | UserError]]:
        for job in jobs:
            try:
                yield job, self._content(job.source)
            except UserError as error:
                yield job, error

    def _pictures(self, jobs: Sequence[Job]) -> None:
        def save(job: Job, picture: np.ndarray) -> None:
            write_picture(picture, job.output, self._args.force)
            self._made(job, {})

        with self._bar(len(jobs), "picture", needed=len(jobs) > 1) as bar, Behind(save) as write:
            for job, content in ahead(self._contents(jobs)):
                ending.check()
                if isinstance(content, UserError):
                    self._failed(job, content)
                else:
                    write(job, self._maker.picture(content, content.shape[2:]))
                bar.update()

    # --------------------------------------------------------------------------------------------------- videos

    def _video(self, job: Job) -> None:
        with inputs.naming(PICTURE):
            video.ffmpeg()
        try:
            with inputs.naming(PICTURE):
                clip = video.open_clip(job.source)
            size = video.even_size(clip.size, inputs.longer_side(clip.size, self._args.size))
            inputs.check_memory(*size, self._maker.bytes_needed(*size), self._available)
            self._maker.check(size)
        except UserError as error:
            self._failed(job, error)
            return
        self._maker.prepare(size)
        job.output.parent.mkdir(parents=True, exist_ok=True)
        try:
            facts = self._frames(job, clip, size)
        except _Unreadable as error:
            self._failed(job, error)
            return
        self.outcome.frames_s += facts["seconds"]
        self._made(job, facts)
        if not self._args.quiet:
            tqdm.write(_about(facts, clip), file=sys.stderr)

    def _frames(self, job: Job, clip: video.Clip, size: tuple[int, int]) -> dict[str, Any]:
        """Make the video; its facts. Raises _Unreadable when the source ends badly; there is no result then."""
        flicker, count, start = Flicker(), 0, time.perf_counter()

        def frames() -> Iterator[np.ndarray]:
            try:
                with inputs.naming(PICTURE):
                    yield from video.read(clip, size)
            except UserError as error:
                raise _Unreadable(str(error)) from error

        with (
            self._bar(clip.frames, "frame", job.source.name) as bar,
            video.Writer(job.output, clip, size) as file,
            Behind(file.add, FRAMES_WAITING) as write,
        ):
            for frame in ahead(frames(), FRAMES_WAITING):
                ending.check()
                made = self._maker.picture(images.from_uint8(frame), size)
                flicker.add(frame, made)
                write(made)
                count += 1
                bar.update()
        seconds = time.perf_counter() - start
        height, width = size
        return {
            "frames": count, "seconds": seconds, "frames_per_s": count / seconds, "width": width, "height": height,
            "video_frames_per_s": float(clip.rate), "sound": file.sound_kept if clip.sound else None,
            "change_of_input": flicker.input_change, "change_of_output": flicker.output_change,
            "flicker": flicker.ratio,
        }  # fmt: skip


class _Unreadable(UserError):
    """A video that turned out to be damaged while it was read: no fault of the others."""


def _about(facts: dict[str, Any], clip: video.Clip) -> str:
    """A video's facts in one line for people."""
    seconds = facts["frames"] / clip.rate
    text = (
        f"{facts['frames']:,} frames of {facts['width']}x{facts['height']} ({float(seconds):.3g} s of video) in "
        f"{facts['seconds']:.3g} s, {facts['frames_per_s']:.3g} frames/s"
    )
    if facts["change_of_output"] is not None:
        ratio = "" if facts["flicker"] is None else f"flicker {facts['flicker']:.2f}: "
        text += (
            f"; {ratio}frame to frame the output changes by {facts['change_of_output']:.2%} of the range, the input by "
            f"{facts['change_of_input']:.2%}"
        )
    return text + ("; the sound could not be copied" if facts["sound"] is False else "")
