"""What a repository says of its own comparisons: options of ``bench compare``, without their dashes.

``[tool.nst-gluon.compare]`` of pyproject.toml or ``[nst-gluon:compare]`` of setup.cfg, the first that is there; a list
is an array or lines. TOML is read from Python 3.11 on.
"""

from __future__ import annotations

import configparser
from collections.abc import Collection
from pathlib import Path
from typing import Any

from nst_gluon.system.errors import UserError, did_you_mean
from nst_gluon.system.files import one_line, read_bounded

TOML, INI = "tool.nst-gluon.compare", "nst-gluon:compare"
LARGEST = 1 << 20
SWITCHES = ("random_weights",)  # the only options that yes or no is a value of


def read(folder: Path, options: Collection[str], repeated: Collection[str]) -> tuple[dict[str, Any], str | None]:
    """The options that the repository ``folder`` gives, and a line about a file that this Python cannot read, if any.

    Args:
        options: what may be given, with underscores.
        repeated: those of them that are lists; every other list is joined by commas.

    Raises:
        UserError: a file is damaged, or has an option that there is not.
    """
    unread = None
    for name, title, reader in (("pyproject.toml", TOML, _toml), ("setup.cfg", INI, _ini)):
        if not (folder / name).is_file():
            continue
        try:
            section = reader(read_bounded(folder / name, LARGEST).decode("utf-8"))
        except ImportError:
            unread = f"pyproject.toml is read from Python 3.11 on; put [{INI}] into setup.cfg for this one"
            continue
        except (OSError, ValueError, configparser.Error) as error:
            raise UserError(f"{name}: {one_line(error)}") from None
        if section is None:
            continue
        found = {}
        for key, value in section.items():
            option = key.replace("-", "_")
            if option not in options:
                known = [each.replace("_", "-") for each in options]
                raise UserError(f"{name}: [{title}] has no option {key!r}; {did_you_mean(key, known)}")
            found[option] = _value(value, option, option in repeated, f"{name}: {key}")
        return found, None
    return {}, unread


def _toml(text: str) -> dict[str, Any] | None:
    if f"[{TOML}]" not in text:
        return None
    import tomllib

    found = tomllib.loads(text)
    for name in TOML.split("."):
        found = found.get(name) or {}
    return found


def _ini(text: str) -> dict[str, Any] | None:
    found = configparser.ConfigParser(interpolation=None)
    found.read_string(text)
    if not found.has_section(INI):
        return None
    return {key: value.split("\n") if "\n" in value else value for key, value in found.items(INI)}


def _value(value: Any, option: str, repeated: bool, where: str) -> Any:
    """As the command line would have it: text, a list of texts for a repeated option, True or None for a switch."""
    if option in SWITCHES and (isinstance(value, bool) or value in ("true", "yes", "false", "no")):
        return value in (True, "true", "yes") or None
    parts = [part for part in value if str(part).strip()] if isinstance(value, list) else [value]
    if not all(isinstance(part, (str, int, float)) for part in parts):
        raise UserError(f"{where}: {value!r} is neither a text, a number, nor a list of them")
    texts = [str(part).strip() for part in parts]
    return texts if repeated else ",".join(texts)
