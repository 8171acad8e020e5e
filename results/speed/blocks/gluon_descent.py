"""One block of ours: a descent on the common objective. ``gluon_descent.py JSON`` prints one JSON object.

JSON: content, style (square PNGs of the side ``size``), size, preset, threads, dtype, start, iterations, coarse
(pairs of a side and evaluations), pictures (null, or [folder, steps]: the first at full size, and every so many).

``seconds`` are those of every evaluation at full size, on the method's own clock; writing pictures is off it.
The pictures are clipped and rounded to 8 bits, as every picture that is scored.
"""

import json
import sys
import time
from pathlib import Path

begun = time.perf_counter()

from nst_gluon.system import runtime  # noqa: E402  (the clock and the threads come first)

spec = json.loads(sys.argv[1])
runtime.prepare(spec["threads"])

import numpy as np  # noqa: E402

from nst_gluon.descriptor import weights  # noqa: E402
from nst_gluon.methods.gatys import Gatys  # noqa: E402
from nst_gluon.objective import presets  # noqa: E402
from nst_gluon.objective.loss import Objective  # noqa: E402
from nst_gluon.optimise.config import config_of  # noqa: E402
from nst_gluon.optimise.problem import Problem  # noqa: E402
from nst_gluon.pictures import images  # noqa: E402
from nst_gluon.system.engine import mx  # noqa: E402


class Seen:
    """An objective that remembers the picture it was last asked about."""

    def __init__(self, objective):
        self._objective = objective

    def value_and_gradient(self, picture):
        self.picture = picture
        return self._objective.value_and_gradient(picture)

    def __getattr__(self, name):
        return getattr(self._objective, name)


def objective(side):
    content, style = (images.load(spec[name], side) for name in ("content", "style"))
    return Objective(presets.get(spec["preset"]), found, "stylize", style, content, dtype=spec["dtype"])


found = weights.load(None, progress=False)
side = spec["size"]
full = Seen(objective(side))
content = images.load(spec["content"], side)
config = config_of(presets.get(spec["preset"]), iterations=spec["iterations"], optimizer="lbfgs", start=spec["start"])
pictures = []


def keep(step):
    if not spec["pictures"] or step.size != (side, side):
        return
    if step.iteration == 1 or step.iteration % spec["pictures"][1] == 0:
        path = Path(spec["pictures"][0]) / f"ours-{step.iteration:04d}.png"
        images.save(np.clip(full.picture, 0, 1), path)
        pictures.append([step.iteration, step.seconds, str(path)])


problem = Problem(full, (side, side), config, content, lambda small: images.load(spec["style"], small), side,
                  levels=spec["coarse"], callback=keep)  # fmt: skip
problem.rehearse(Gatys().descend, 1)  # builds the graphs, off the clock
mx.nd.waitall()
setup_s = time.perf_counter() - begun
steps = [step for step in problem.run(Gatys().descend).steps if step.size == (side, side)]
print(json.dumps({
    "setup_s": setup_s,
    "seconds": [step.seconds for step in steps],
    "pictures": pictures,
    "versions": {"mxnet": mx.__version__, "numpy": np.__version__},
}))  # fmt: skip
