"""The one place that imports PyTorch: ``from bench.engines.pytorch.library import torch``."""

from __future__ import annotations

from bench.plan import engines

(torch,) = engines.get("pytorch").packages_loaded()
