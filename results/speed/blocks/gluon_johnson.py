"""One block of ours: forward passes of a trained net. ``gluon_johnson.py JSON`` prints one JSON object.

JSON: net, content (.npy, (1, 3, H, W)), threads, dtype, warm_up (calls), samples.
"""

import inspect
import json
import sys
import time

import numpy as np

from nst_gluon.system import runtime

spec = json.loads(sys.argv[1])
runtime.prepare(spec["threads"])

from nst_gluon.nets.trained_net import load_net  # noqa: E402
from nst_gluon.system.engine import mx  # noqa: E402  (the threads come first)

precision = {} if spec["dtype"] == "float32" else {"dtype": spec["dtype"]}
if precision and "dtype" not in inspect.signature(load_net).parameters:
    sys.exit(f"--dtype: nets of this version compute in float32 only, not in {spec['dtype']}")
generator = load_net(spec["net"], **precision)
inputs = generator.inputs(np.load(spec["content"]))
seconds = []
for _ in range(spec["warm_up"] + spec["samples"]):
    mx.nd.waitall()
    begun = time.perf_counter()
    picture = generator.forward(*inputs)
    mx.nd.waitall()
    seconds.append(time.perf_counter() - begun)
picture = np.clip(picture.asnumpy(), 0, 1)
print(json.dumps({
    "latency_s": seconds[spec["warm_up"]:],
    "grid": picture[0, :, ::32, ::32].ravel().tolist(),
    "versions": {"mxnet": mx.__version__, "numpy": np.__version__},
}))  # fmt: skip
