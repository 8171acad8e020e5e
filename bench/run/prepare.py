"""What must be right before anything is measured, in a process of its own: ``python -m bench.run.prepare``.

Tries each engine in a process of its own (two in one may clash), reads the pictures, fetches and verifies
the weights (with a progress bar on standard error), reads the nets. Standard input: one JSON object
{"engines", "sizes", "settings"}. Standard output: one JSON object that says what the run's numbers belong to,
or {"error": the one line for the user}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.machine.environment import file_sha256
from bench.plan.cells import Settings
from bench.run.process import child_environment
from nst_gluon.system.errors import UserError

_LOAD = """
import sys
from bench import engines
from nst_gluon import runtime
from nst_gluon.system.errors import UserError
runtime.prepare()
try:
    engines.get(sys.argv[1]).load()
except UserError as error:
    sys.exit(str(error))
"""


def inputs(engine_names: Sequence[str], sizes: Sequence[int], settings: Settings) -> dict[str, Any]:
    """Check everything a run needs; return {"pictures", "weights", "nets"} with hashes.

    Raises UserError for what is missing, damaged or does not fit.
    """
    for name in engine_names:
        try_engine(name)
    from nst_gluon.descriptor import weights
    from nst_gluon.nets import netfile
    from nst_gluon.objective import presets

    presets.get(settings.preset)
    pictures = {}
    for name in ("style", "content"):
        path = picture(name, getattr(settings, name))
        prepared(name, settings, sizes)
        pictures[name] = {"file": path.name, "sha256": file_sha256(path)}
    nets = {}
    for use, _ in settings.nets:
        path = settings.net(*use.split("/"))
        _, meta = netfile.load(path)
        trained = f"{meta.get('method')}/{meta.get('task')}"
        if use != trained:
            raise UserError(f"--net: {path} is a net for {trained}, not for {use}")
        nets[use] = {"file": path.name, "sha256": file_sha256(path), "meta": meta}
    identity = weights.load(settings.weights, random=settings.random_weights).identity()
    return {"pictures": pictures, "weights": identity, "nets": nets}


def try_engine(name: str) -> None:
    """Import an engine in a fresh process; a UserError is that process's one line."""
    child = subprocess.run(
        [sys.executable, "-c", _LOAD, name], capture_output=True, text=True, env=child_environment(), check=False
    )
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
        raise UserError(last if last.startswith(("no engine", "--")) else f"--engine: {name} cannot be loaded ({last})")


def prepared(name: str, settings: Settings, sizes: Sequence[int]) -> Any:
    """The style or content picture as the methods see it (at the largest size): (1, 3, S, S) in [0, 1]."""
    from nst_gluon.pictures import images

    size = settings.style_size if name == "style" else max(sizes)
    try:
        return images.load(picture(name, getattr(settings, name)), size)
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith("--") else f"--{name}: {text}") from error


def keep_pictures(folder: Path, sizes: Sequence[int], settings: Settings) -> None:
    """Put the style and the content picture into the run directory, which is then complete in itself."""
    from nst_gluon.pictures import images

    for name in ("style", "content"):
        images.save(prepared(name, settings, sizes), folder / f"{name}.png")


def picture(argument: str, name_or_file: str) -> Any:
    """The path of a bundled picture or of a file; raises UserError naming the argument."""
    from nst_gluon import assets

    try:
        return {"style": assets.style_path, "content": assets.content_path}[argument](name_or_file)
    except UserError as error:
        text = str(error)
        raise UserError(f"--{text}" if text.startswith(f"{argument}:") else f"--{argument}: {text}") from error


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
    child = subprocess.run(
        [sys.executable, "-m", "bench.run.prepare"],
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(),
        check=False,
    )
    try:
        answer = json.loads(child.stdout)
    except ValueError:
        status = child.returncode
        raise UserError(f"preparing the run failed (exit status {status}); the lines above say why") from None
    if "error" in answer:
        raise UserError(answer["error"])
    return answer


def main() -> int:
    request = json.loads(sys.stdin.read())
    sizes, settings = request["sizes"], Settings.from_dict(request["settings"])
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)  # what libraries print must not get between
        try:
            if request["keep_in"] is None:
                result = inputs(request["engines"], sizes, settings)
            else:
                keep_pictures(Path(request["keep_in"]), sizes, settings)
                result = {}
        except UserError as error:
            result = {"error": str(error)}
        except KeyboardInterrupt:
            return 130
        json.dump(result, answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
