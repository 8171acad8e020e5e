"""Neural style transfer with MXNet/Gluon: slow and fast methods on one common objective.

    nst_gluon.stylize, texture, train, score, load_net        see :mod:`nst_gluon.api`

Importing this package imports no engine; the modules that need MXNet import it through :mod:`nst_gluon.system.engine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nst_gluon.api import load_net, score, stylize, texture, train

__version__ = "0.2.0"
__all__ = ["load_net", "score", "stylize", "texture", "train"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from nst_gluon import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
