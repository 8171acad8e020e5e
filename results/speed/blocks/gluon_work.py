"""One block of ours: one kind of work, repeated. ``gluon_work.py JSON`` prints one JSON object.

JSON: work (``descent``, ``forward``, ``tiles``, ``training`` or ``descriptor``), size, dtype, threads, warm_up (calls),
samples, and what that work needs; see its function. ``seconds`` has one number a call, or a picture where a call makes
several. ``working_memory_bytes`` is the peak of resident memory over what was resident after the import.
"""

import json
import sys
import time

begun = time.perf_counter()

from nst_gluon.system import runtime  # noqa: E402  (the clock and the threads come first)

spec = json.loads(sys.argv[1])
runtime.prepare(spec["threads"])

import numpy as np  # noqa: E402

from bench.machine import meters  # noqa: E402
from nst_gluon import assets, methods  # noqa: E402
from nst_gluon.descriptor import vgg, weights  # noqa: E402
from nst_gluon.methods.description import describe  # noqa: E402
from nst_gluon.nets.tiles import Tiling  # noqa: E402
from nst_gluon.nets.trained_net import TrainedNet, load_net  # noqa: E402
from nst_gluon.nets.training_net import initialised, values_of  # noqa: E402
from nst_gluon.objective import presets  # noqa: E402
from nst_gluon.objective.loss import Objective  # noqa: E402
from nst_gluon.optimise.config import config_of  # noqa: E402
from nst_gluon.optimise.problem import Problem  # noqa: E402
from nst_gluon.pictures import images  # noqa: E402
from nst_gluon.system.engine import mx  # noqa: E402
from nst_gluon.training.config import TrainConfig  # noqa: E402
from nst_gluon.training.contents import contents  # noqa: E402
from nst_gluon.training.loop import Trainer  # noqa: E402

PRESET = presets.get("texture_net")
STYLE = "great_wave"
side, dtype = spec["size"], spec["dtype"]
calls = spec["warm_up"] + spec["samples"]
meter = meters.HostMeter()


def content() -> np.ndarray:
    return images.load(assets.content_path(assets.HELD_OUT), side)


def timed(call) -> list[float]:
    return [meters.timed(call, mx.nd.waitall) for _ in range(calls)]


def descent() -> list[float]:
    """Steps of L-BFGS on the texture objective from noise: ``optimizer`` ours or ``scipy``, in ``segments``."""
    style = images.load(assets.style_path(STYLE), side)
    objective = Objective(PRESET, weights.load(None), "texture", style, dtype=dtype, segments=spec["segments"])
    config = config_of(PRESET, iterations=calls + 1, optimizer="lbfgs", start="noise")
    problem = Problem(objective, (side, side), config)
    start = problem.start()
    meter.start()
    if spec["optimizer"] == "scipy":
        return np.diff(scipy_steps(objective, start, config.corrections)).tolist()
    return np.diff([step.seconds for step in problem.run(lambda problem: problem.minimise(start)).steps]).tolist()


def scipy_steps(objective: Objective, start: np.ndarray, corrections: int) -> list[float]:
    from scipy.optimize import fmin_l_bfgs_b

    ends = []

    def evaluate(flat: np.ndarray):
        terms, gradient = objective.value_and_gradient(flat.reshape(start.shape).astype(np.float32))
        ends.append(time.perf_counter())
        return terms.objective, gradient.ravel().astype(np.float64)

    fmin_l_bfgs_b(evaluate, start.ravel().astype(np.float64), m=corrections, maxfun=calls + 1, factr=0, pgtol=0)
    return ends[: calls + 1]


def forward() -> list[float]:
    """Pictures of a trained ``net``, ``batch`` at once: with the graph it was ``trained`` with, or for inference.

    With ``finest``: of an untrained net like it, with so many channels in its finest scale.
    """
    generator = load_net(net_path(), dtype=dtype)
    if "finest" in spec:
        generator = untrained({**generator.meta, "architecture": {**generator.architecture, "finest": spec["finest"]}})
    stylizes = generator.task == "stylize"
    inputs = generator.inputs(content() if stylizes else None, (side, side), spec["batch"])
    run = generator.net if spec["graph"] == "trained" else generator.forward
    meter.start()
    return [seconds / spec["batch"] for seconds in timed(lambda: run(*inputs))]


def tiles() -> list[float]:
    """A large picture by a trained ``net`` in ``tile`` x ``tile`` pieces, its statistics included; whole without."""
    generator = load_net(net_path(), dtype=dtype)
    photo = content() if generator.task == "stylize" else None
    meter.start()
    if spec["tile"] is None:
        return timed(lambda: generator.generate(photo, (side, side), seed=0))
    return timed(lambda: Tiling(generator, photo, (side, side), spec["tile"]).pixels())


def training() -> list[float]:
    """Iterations of a training of ``method`` for ``task``, one picture each."""
    config = TrainConfig(spec["method"], spec["task"], STYLE, iterations=calls, size=side, batch=1, dtype=dtype)
    trainer = Trainer(config, weights.load(None))
    meter.start()
    return [meters.timed(lambda picture=picture: trainer.step(picture)) for picture in contents(trainer.config)]


def descriptor() -> list[float]:
    """VGG-19's forward pass up to relu5_1, that of the style's layers."""
    net = vgg.Descriptor(weights.load(None), [name for name, _ in PRESET.style_layers], dtype=dtype)
    picture = mx.nd.array(content())
    meter.start()
    return timed(lambda: net(picture))


def untrained(meta: dict) -> TrainedNet:
    """A net as ``meta`` describes it, its parameters at random: it takes as long as a trained one."""
    method = methods.get(meta["method"])
    net = initialised(describe(method, meta["architecture"], "net"), method.initializer)
    return TrainedNet(values_of(net), meta, dtype=dtype)


def net_path() -> str:
    return str(next(net.path for net in assets.nets() if net.path.stem == f"{STYLE}-{spec['net']}"))


kinds = {"descent": descent, "forward": forward, "tiles": tiles, "training": training, "descriptor": descriptor}
taken = kinds[spec["work"]]()
setup_s = time.perf_counter() - begun - sum(taken)
memory = meter.read()
print(json.dumps({
    "setup_s": setup_s,
    "seconds": taken[spec["warm_up"]:],
    "working_memory_bytes": memory.working,
    "peak_memory_bytes": memory.peak,
    "versions": {"mxnet": mx.__version__, "numpy": np.__version__},
}))  # fmt: skip
