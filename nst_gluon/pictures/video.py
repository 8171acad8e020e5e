"""Videos, frame by frame, with the ffmpeg program that imageio-ffmpeg (the extra ``video``) brings.

Frames are uint8 (H, W, 3), RGB, upright: ffmpeg turns them as their metadata says. Written is H.264 with 4:2:0
colours, which every player knows; it wants even sides.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from nst_gluon.system import children
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import one_line, printable, quoted, reading, temporary_beside

SUFFIXES = frozenset({
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
    ".wmv",
})  # fmt: skip
SAVE_FORMATS = (".mp4", ".mkv", ".mov", ".m4v")
INSTALL = "python -m pip install -e '.[cpu,video]'"
ENDS_EARLY = ("partial file", "ended prematurely", "moov atom not found")  # what ffmpeg says of a cut file
QUALITY = 7  # of imageio-ffmpeg's 1 to 10: x264's CRF 15, which loses nothing that the eye would miss
# A video of more rows, or of so many columns, that does not say its colour matrix has that of high definition.
ROWS, COLUMNS = 576, 1280
HDR = {"smpte2084": "PQ", "arib-std-b67": "HLG"}  # by ffmpeg's names of transfer functions
FULL = 1 << 20  # bytes free: a disk with less is full
# ffmpeg takes bt601 for RGB and says so nowhere; players take bt709 for what says nothing and is large.
COLOURS = [
    "-vf", "scale=out_color_matrix=bt709:out_range=tv,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv",
]  # fmt: skip

# It logs, on stderr, that a turned video has another size than its file says.
logging.getLogger("imageio_ffmpeg").addHandler(logging.NullHandler())


def ffmpeg() -> ModuleType:
    """The package imageio-ffmpeg; UserError with what to install where it is missing."""
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UserError(f"videos need the package imageio-ffmpeg; {INSTALL}") from None
    return imageio_ffmpeg


@dataclass(frozen=True)
class Clip:
    """A video file.

    Attributes:
        rate: frames a second.
        size: height and width in pixels of the upright frames.
        frames: about how many there are; None if the file does not say how long it is.
        sound: whether it has any.
        matrix: the colour matrix that it has though it does not say so; None: ffmpeg knows.
    """

    path: Path
    rate: Fraction
    size: tuple[int, int]
    frames: int | None
    sound: bool
    matrix: str | None = None


def exact_rate(rate: float) -> Fraction:
    """Frames a second as a ratio: ffmpeg prints two decimals, and 29.97 is 30000/1001."""
    for whole in (24, 30, 48, 60, 120, 240):
        ntsc = Fraction(whole * 1000, 1001)
        if abs(rate - ntsc) < 0.006:
            return ntsc
    return Fraction(rate).limit_denominator(1000)


def open_clip(path: Path) -> Clip:
    """Read a video's description.

    Raises:
        UserError: it is missing or no video that ffmpeg can read, or imageio-ffmpeg is not installed.
    """
    library = ffmpeg()
    try:
        with reading(path):
            pass
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {quoted(path)}: {one_line(error)}; give a video") from None
    try:
        with contextlib.closing(library.read_frames(_argument(path), output_params=_upright())) as frames:
            meta = next(frames)
            next(frames)
    except Exception as error:  # OSError, IndexError, RuntimeError, StopIteration: it has no errors of its own
        raise UserError(f"{quoted(path)} is not a video that ffmpeg can read; give e.g. an .mp4") from error
    pixels = meta.get("pix_fmt") or ""
    hdr = next((name for transfer, name in HDR.items() if transfer in pixels), None)
    if hdr:
        raise UserError(f"{quoted(path)} is HDR ({hdr}), whose colours would come out wrong; convert it to SDR first")
    _check_whole(path)
    if not meta["fps"] > 0:
        raise UserError(f"{quoted(path)} does not say how many frames a second it has; convert it to .mp4")
    rate, (width, height) = exact_rate(meta["fps"]), meta["size"]
    count = max(1, round(meta["duration"] * rate)) if meta["duration"] else None
    large = max(width, height) >= COLUMNS or min(width, height) > ROWS
    matrix = "bt709" if large and not _says_matrix(pixels) else None
    return Clip(path, rate, (height, width), count, "audio_codec" in meta, matrix)


def _upright(matrix: str | None = None) -> list[str]:
    """ffmpeg's options with which pixels of other shapes become square ones, of a video with that colour matrix."""
    return ["-vf", f"{f'setparams=colorspace={matrix},' if matrix else ''}scale=iw*sar:ih,setsar=1"]


def _says_matrix(pixels: str) -> bool:
    """Whether a pixel format as ffmpeg describes it has its colour matrix: "yuv420p(tv, bt709, progressive)", or, with
    primaries and transfer function, "yuv420p(tv, unknown/bt709/bt709)".
    """
    return not pixels.startswith(("yuv", "nv")) or bool(re.search("bt|smpte|fcc", pixels.split("/")[0]))


def _check_whole(path: Path) -> None:
    """Raise UserError if the file ends before its last frame: it would be played to there without a word."""
    said = _ffmpeg("-i", _argument(path), "-map", "0", "-c", "copy", "-f", "null", "-").stderr
    line = next((line for line in said.splitlines() if any(words in line for words in ENDS_EARLY)), None)
    if line:
        raise UserError(f"{quoted(path)} is cut short (ffmpeg says: {printable(line, 120)}); give the whole video")


def _ffmpeg(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ffmpeg to its end; on its standard error there are only errors."""
    command = [ffmpeg().get_ffmpeg_exe(), "-y", "-v", "error", *arguments]
    return children.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _argument(path: Path) -> str:
    """A path as ffmpeg takes it: neither an option nor a protocol, whatever its name."""
    return str(path.absolute())


def even_size(size: tuple[int, int], longer: int | None = None) -> tuple[int, int]:
    """Height and width of a video like ``size`` whose longer side is ``longer`` (None: its own), both even."""
    scale = 1.0 if longer is None else longer / max(size)
    height, width = (max(2, 2 * round(side * scale / 2)) for side in size)
    return height, width


def read(clip: Clip, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """The frames of a clip at a constant rate, resampled (Lanczos) to ``size`` = (height, width) if theirs is another.

    Raises UserError when the file turns out to be damaged.
    """
    height, width = size
    try:
        # Frames are repeated or left out where the file's own times are uneven, so that the sound stays in step.
        options = [*_upright(clip.matrix), "-r", str(clip.rate)]
        source = ffmpeg().read_frames(_argument(clip.path), output_params=options)
        with contextlib.closing(source) as frames:
            next(frames)
            for data in frames:
                frame = np.frombuffer(data, np.uint8).reshape(*clip.size, 3)
                if clip.size != size:
                    frame = np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))
                yield frame
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{quoted(clip.path)} cannot be read to its end: {_first_line(error)}") from error


class Writer:
    """A video file in the making: a context manager with :meth:`add`.

    The file is there when the block has ended well, complete, with the sound of ``clip`` if it has any and ffmpeg can
    copy it (:attr:`sound_kept`); otherwise it is not there at all, and an older one stays as it was.

    Raises:
        UserError: ffmpeg refuses, or the file cannot be written.
    """

    def __init__(self, path: Path, clip: Clip, size: tuple[int, int]):
        self.path, self.sound_kept = path, False
        self._clip, self._size = clip, size
        self._files = contextlib.ExitStack()

    def __enter__(self) -> Writer:
        with contextlib.ExitStack() as files:
            try:
                parts = [files.enter_context(temporary_beside(self.path, self.path.suffix))[0] for _ in range(2)]
            except OSError as error:
                raise UserError(f"cannot write {quoted(self.path)}: {one_line(error)}") from error
            self._silent, self._whole = parts
            # Versions for Python 3.9 round their rate to two decimals; ffmpeg takes the last one that it is given.
            self._stream = ffmpeg().write_frames(
                _argument(self._silent), self._size[::-1], fps=float(self._clip.rate), codec="libx264",
                quality=QUALITY, macro_block_size=2, input_params=["-r", str(self._clip.rate)],
                output_params=list(COLOURS), ffmpeg_log_level="quiet",
            )  # fmt: skip
            next(self._stream)
            self._files = files.pop_all()
        return self

    def add(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 (H, W, 3)."""
        try:
            self._stream.send(np.ascontiguousarray(frame))
        except (OSError, StopIteration) as error:
            raise self._failed(f"ffmpeg stopped ({_first_line(error)})") from error

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._stream.close()
            if kind is None:
                self._finish()
        finally:
            self._files.close()

    def _finish(self) -> None:
        self.sound_kept = self._clip.sound and self._copy(with_sound=True) is None
        wrong = None if self.sound_kept else self._copy(with_sound=False)
        if wrong is not None:
            raise self._failed(f"ffmpeg says: {wrong}")
        try:
            self._whole.replace(self.path)
        except OSError as error:
            raise UserError(f"cannot write {quoted(self.path)}: {one_line(error)}") from error

    def _failed(self, why: str) -> UserError:
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self._silent.parent).free < FULL:
                why = "the disk is full; free some of it, or give a path on another"
        return UserError(f"cannot write {quoted(self.path)}: {why}")

    def _copy(self, with_sound: bool) -> str | None:
        """The pictures, and the clip's sound, as one file; the last line of what ffmpeg says when it cannot."""
        inputs = ["-i", _argument(self._silent)]
        chosen = ["-map", "0:v:0"]
        if with_sound:
            inputs += ["-i", _argument(self._clip.path)]
            chosen += ["-map", "1:a"]
        fast = ["-movflags", "+faststart"] if self.path.suffix.lower() != ".mkv" else []
        done = _ffmpeg(*inputs, *chosen, "-c", "copy", *fast, _argument(self._whole))
        if done.returncode == 0:
            return None
        return (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
