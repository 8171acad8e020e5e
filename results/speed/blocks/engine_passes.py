"""One block of one engine: forward passes of the bundled nets. ``engine_passes.py JSON`` prints one JSON object.

JSON: engine, options, threads, cells [[net, size, dtype, batch], ...], warm_up, samples, seconds (of each cell, at
most). A precision that the engine lacks is left out.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from bench.plan import engines
from nst_gluon import assets
from nst_gluon.pictures import images
from nst_gluon.system import runtime

spec = json.loads(sys.argv[1])
runtime.prepare(spec["threads"])
engine = engines.get(spec["engine"])
module, found = engine.load(), []
for name, size, dtype, batch in spec["cells"]:
    if dtype not in engine.generate_dtypes:
        continue
    backend = getattr(module, engine.backend)("cpu", dtype, 0, engine.settle(spec["options"]))
    net = backend.generator(next(net.path for net in assets.nets() if net.path.stem == name))
    content = None
    if net.description.takes_content:
        content = images.resize(images.load(assets.content_path(assets.HELD_OUT)), (size, size))
    inputs = net.inputs(content, (size, size), batch, 0)
    taken, begun = [], time.monotonic()
    while len(taken) < spec["warm_up"] + spec["samples"]:
        if len(taken) > 1 and time.monotonic() - begun > spec["seconds"]:
            break
        backend.synchronise()
        start = time.perf_counter()
        made = net.forward(*inputs)
        backend.synchronise()
        taken.append(time.perf_counter() - start)
    found.append({
        "cell": [name, size, dtype, batch],
        "latency_s": taken[spec["warm_up"]:] or taken[1:],
        "grid": np.clip(backend.fetch(made)[0, :, :size:16, :size:16], 0, 1).ravel().tolist(),
    })  # fmt: skip
versions = {package: runtime.installed_version(package) for package in (*engine.packages, "numpy")}
print(json.dumps({"cells": found, "versions": versions}))
