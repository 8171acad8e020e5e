"""Methods that lie in a repository of their own: measured by the installed suite, each side from its own checkout.

``python -m bench.gate.guest FOLDERS...`` is the suite's worker with modules of a checkout on its path.
"""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nst_gluon.system import children


def at(folder: Path, origin: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A plan as JSON has it, with what lies in the repository ``origin`` taken from its checkout in ``folder``.

    That is methods' files and trained nets. What the checkout lacks stays as it is: a net that was never committed.
    """
    settings = dict(fields["settings"])
    settings["nets"] = [(use, str(_there(Path(net), folder, origin))) for use, net in settings["nets"]]
    if "methods" in settings:
        settings["methods"] = [(name, place(reference, folder, origin)) for name, reference in settings["methods"]]
    return {**fields, "settings": settings}


def method_files(fields: Mapping[str, Any]) -> list[Path]:
    """The files of a plan's methods from outside that are named by their files."""
    files = (reference.rpartition(":")[0] for _, reference in fields["settings"].get("methods", ()))
    return [Path(file) for file in files if file.endswith(".py")]


def place(reference: str, folder: Path, origin: Path) -> str:
    """A method's reference (FILE.py:NAME) in a checkout; any other as it is."""
    file, colon, name = reference.rpartition(":")
    return f"{_there(Path(file).resolve(), folder, origin)}{colon}{name}" if file.endswith(".py") else reference


def _there(path: Path, folder: Path, origin: Path) -> Path:
    with contextlib.suppress(ValueError):
        moved = folder / path.relative_to(origin)
        return moved if moved.exists() or path.suffix == ".py" else path
    return path


def command(folder: Path, fields: Mapping[str, Any]) -> list[str]:
    """How to start the worker for a checkout; ``fields`` is what :func:`at` returns."""
    places = [place for place in (folder / "src", folder) if place.is_dir()]
    folders = dict.fromkeys([*places, *(file.parent for file in method_files(fields))])
    return children.python("bench.gate.guest", *map(str, folders))


def search(path: list[str], folders: list[str]) -> list[str]:
    """``path`` with ``folders`` after the standard library and before everything that is installed."""
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    standard |= {os.path.join(place, "lib-dynload") for place in standard}
    first = [entry for entry in path if entry in standard or entry.endswith(".zip")]
    return [*first, *folders, *(entry for entry in path if entry not in first)]


def main() -> None:
    from bench.run import worker  # before the path changes: a checkout may have a folder "bench" too

    end = sys.argv.index("--pipe")
    folders, arguments = sys.argv[1:end], sys.argv[end:]
    sys.path[:] = search(sys.path, folders)
    sys.exit(worker.main(arguments))


if __name__ == "__main__":
    main()
