"""One block of ours: coarse to fine, of whichever revision is imported. ``descent.py JSON`` prints one JSON object.

JSON: task, size, seed, threads, iterations, targets (descending). ``seconds``: until each target at the full size, on
the method's own clock; null where it was not reached.
"""

import json
import sys
from dataclasses import replace

from nst_gluon.system import runtime

spec = json.loads(sys.argv[1])
runtime.prepare(spec["threads"])

from nst_gluon import assets  # noqa: E402  (the threads come first)
from nst_gluon.descriptor import weights  # noqa: E402
from nst_gluon.methods.gatys_pyramid import GatysPyramid  # noqa: E402
from nst_gluon.objective import presets  # noqa: E402
from nst_gluon.objective.loss import Objective  # noqa: E402
from nst_gluon.optimise.config import config_of  # noqa: E402
from nst_gluon.optimise.problem import Problem  # noqa: E402
from nst_gluon.pictures.images import load, resize  # noqa: E402

size, preset, descend = spec["size"], presets.get(presets.DEFAULT), GatysPyramid().descend
style = load(assets.style_path("great_wave"), presets.STYLE_SIZE)  # as python -m bench run has it
content = load(assets.content_path(assets.HELD_OUT), size) if spec["task"] == "stylize" else None
objective = Objective(preset, weights.load(None, progress=False), spec["task"], style, content)
config = config_of(preset, iterations=spec["iterations"], start="noise", seed=spec["seed"])
problem = Problem(objective, (size, size), replace(config, target=spec["targets"][-1]), content,
                  lambda side: resize(style, (side, side)), presets.STYLE_SIZE)  # fmt: skip
problem.rehearse(descend, 1)  # builds the graphs, off the clock
steps = [step for step in problem.run(descend).steps if step.size == (size, size)]
print(json.dumps({
    "seconds": [next((step.seconds for step in steps if step.terms.objective <= target), None)
                for target in spec["targets"]],
}))  # fmt: skip
