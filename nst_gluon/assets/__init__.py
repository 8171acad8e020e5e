"""The pictures and trained nets that come with the package; PROVENANCE.md says where each picture is from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nst_gluon.system.errors import UserError, did_you_mean
from nst_gluon.system.files import PathLike, quoted, what_is

FOLDER = Path(__file__).resolve().parent
STYLES = ("great_wave", "auvers", "moulin_de_la_galette", "brick", "gravel", "grass")
PAINTINGS = ("great_wave", "auvers", "moulin_de_la_galette")
HELD_OUT = "astronaut"
# The photo that tells a training which of its nets is the best; it is not trained on.
JUDGED = "rocket"
CONTENTS = ("astronaut", "chelsea", "coffee", "rocket")


@dataclass(frozen=True)
class NetInfo:
    """A trained net that comes with the package: ``<style>-<method>-<task>.npz``."""

    style: str
    method: str
    task: str
    path: Path

    @property
    def record(self) -> Path:
        """The JSON file beside the net: how it was made, and its final objective."""
        return self.path.with_suffix(".json")

    @property
    def log(self) -> Path:
        """The CSV file beside the net: its loss during training."""
        return self.path.with_suffix(".csv")


def styles() -> list[str]:
    """The names of the bundled paintings and textures, the default one first."""
    return list(STYLES)


def contents() -> list[str]:
    """The names of the bundled photos, the default one first."""
    return list(CONTENTS)



def training_pictures(style: PathLike) -> list[Path]:
    """What nets are trained on when no folder is given: the bundled photos and paintings.

    Without the style itself, and without the photo that benchmarks and reports stylise: a net is not measured on a
    picture that it has seen.
    """
    left_out = {HELD_OUT, Path(style).stem}
    return [_picture(name) for name in CONTENTS + PAINTINGS if name not in left_out]


def style_path(name_or_file: PathLike) -> Path:
    """The file of a bundled picture, by name, or the file that is named; UserError when it is neither."""
    return _find(name_or_file, STYLES)


def content_path(name_or_file: PathLike) -> Path:
    """The file of a bundled picture, by name, or the file that is named; UserError when it is neither."""
    return _find(name_or_file, CONTENTS)


def nets() -> list[NetInfo]:
    """The bundled nets, sorted by file name."""
    paths = sorted((FOLDER / "nets").glob("*-*-*.npz"))
    return [NetInfo(*path.stem.rsplit("-", 2), path=path) for path in paths]


def find_net(style: str, method: str, task: str) -> Path | None:
    """The file of the bundled net for a style, method and task; None when there is none."""
    wanted = (style, method, task)
    return next((net.path for net in nets() if (net.style, net.method, net.task) == wanted), None)


def _picture(name: str) -> Path:
    return FOLDER / "pictures" / f"{name}.jpg"


def _find(name_or_file: PathLike, names: tuple[str, ...]) -> Path:
    if name_or_file in STYLES + CONTENTS:
        return _picture(str(name_or_file))
    path = Path(name_or_file)
    try:
        kind = what_is(path.stat().st_mode)
        if kind is None:
            return path
        wrong = f"is {kind}, not a picture"
    except (OSError, ValueError):  # a name too long for the system, or with a NUL in it
        wrong = "is neither a bundled picture nor a file"
    raise UserError(
        f"{quoted(name_or_file)} {wrong}; give the path of a picture, or a bundled one: "
        f"{did_you_mean(str(name_or_file), names)}"
    )
