"""What must be right before anything is measured, in a process of its own: ``python -m bench.run.prepare``.

Tries each engine in a process of its own (two in one may clash), reads the pictures, fetches and verifies
the weights (with a progress bar on standard error), reads the nets. Standard input: one JSON object
{"engines", "sizes", "settings"}. Standard output: what the run's numbers belong to, see :mod:`bench.plan.child`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.plan import engines
from bench.plan.cells import Settings
from bench.plan.child import answer
from bench.plan.child import ask as ask_child
from bench.plan.inputs import loaded, picture
from nst_gluon import methods
from nst_gluon.system import children
from nst_gluon.system.errors import UserError
from nst_gluon.system.files import digest

_LOAD = """
import json, platform, sys
from bench.plan import engines
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError
runtime.prepare()
engine = engines.get(sys.argv[1])
try:
    engine.load()
except UserError as error:
    sys.exit(str(error))
versions = {package: runtime.installed_version(package) for package in (*engine.packages, "numpy")}
print(json.dumps({"python": platform.python_version(), **versions}))
"""


def inputs(engine_names: Sequence[str], sizes: Sequence[int], settings: Settings) -> dict[str, Any]:
    """Check everything a run needs; return {"pictures", "weights", "nets"} with hashes, "methods" from outside, and the
    versions of "engines" that are installed elsewhere.

    Raises UserError for what is missing, damaged or does not fit.
    """
    pythons = dict(settings.engine_pythons)
    versions = {name: try_engine(name, pythons.get(name)) for name in engine_names}
    from nst_gluon.descriptor import weights
    from nst_gluon.nets import netfile
    from nst_gluon.objective import presets

    foreign = {}
    for name, reference in settings.methods:
        file = Path(sys.modules[type(methods.get(reference)).__module__].__file__)
        foreign[name] = {"file": file.name, "sha256": digest(file, "sha256")}
    presets.get(settings.preset)
    pictures = {}
    for name, size, found in (
        ("style", settings.style_size, settings.styles), ("content", max(sizes), settings.contents)
    ):  # fmt: skip
        for number, given in enumerate(found):
            path = picture(name, given)
            loaded(name, given, size)
            role = f"{name} {path.stem}" if number else name
            pictures[role] = {"file": path.name, "sha256": digest(path, "sha256")}
    nets = {}
    for use, _ in settings.nets:
        path = settings.net_file(use)
        meta = netfile.describe(path)
        trained = f"{meta.get('method')}/{meta.get('task')}"
        if use != trained and not use.endswith(f"/{trained}"):
            raise UserError(f"--net: {path} is a net for {trained}, not for {use}")
        nets[use] = {"file": path.name, "sha256": digest(path, "sha256"), "meta": meta}
    identity = weights.load(settings.weights, random=settings.random_weights).identity()
    found = {"pictures": pictures, "weights": identity, "nets": nets}
    known = {name: versions[name] for name in pythons if name in versions}
    if known:  # those of a cluster are tried by its workers
        found["engines"] = known
    return {**found, "methods": foreign} if foreign else found


def try_engine(name: str, program: str | None = None) -> dict[str, Any]:
    """Import an engine in a fresh process of the Python ``program`` (None: this one); a UserError is that process's
    one line. Returns the versions of Python and of its packages there.
    """
    command = children.python("-c", _LOAD, name, program=program)
    try:
        child = children.run(command, stderr=subprocess.PIPE)
    except OSError:
        raise engines.no_python(name, command[0]) from None
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
        raise UserError(last if last.startswith(("no engine", "--")) else f"--engine: {name} cannot be loaded ({last})")
    try:
        return json.loads(child.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise engines.no_python(name, command[0]) from None


def keep_pictures(folder: Path, sizes: Sequence[int], settings: Settings) -> None:
    """Put the styles and the first photo into the run directory, which then has all that its pictures were made of."""
    from nst_gluon.pictures import images

    images.save(loaded("style", settings.style, settings.style_size), folder / "style.png")
    images.save(loaded("content", settings.content, max(sizes)), folder / "content.png")
    for style in settings.other_styles:
        images.save(loaded("style", style, settings.style_size), folder / f"style-{Path(style).stem}.png")


def ask(
    engine_names: Sequence[str],
    sizes: Sequence[int],
    settings: Mapping[str, Any],
    keep_in: Path | None = None,
) -> dict[str, Any]:
    """:func:`inputs` in a child process, so that this one stays small and without an engine.

    With ``keep_in``, :func:`keep_pictures` to that folder instead.
    """
    request = {
        "engines": list(engine_names),
        "sizes": list(sizes),
        "settings": dict(settings),
        "keep_in": None if keep_in is None else str(keep_in),
    }
    return ask_child("bench.run.prepare", request, "preparing the run")


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    sizes, settings = request["sizes"], Settings.from_dict(request["settings"])
    if request["keep_in"] is None:
        return inputs(request["engines"], sizes, settings)
    keep_pictures(Path(request["keep_in"]), sizes, settings)
    return {}


if __name__ == "__main__":
    answer(_answer)
