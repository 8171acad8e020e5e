"""One block of the peer's: forward passes of an exported net. ``onnxruntime_johnson.py JSON`` prints one JSON object.

Runs in the peer's Python, which needs onnxruntime and numpy only. JSON: onnx (file), content (.npy, (1, 3, H, W)),
threads, warm_up (calls), samples.
"""

import json
import sys
import time

import numpy as np
import onnxruntime

spec = json.loads(sys.argv[1])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = spec["threads"], 1
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
session = onnxruntime.InferenceSession(spec["onnx"], options, providers=["CPUExecutionProvider"])
feeds = {"content": np.load(spec["content"])}
seconds = []
for _ in range(spec["warm_up"] + spec["samples"]):
    begun = time.perf_counter()
    (picture,) = session.run(None, feeds)
    seconds.append(time.perf_counter() - begun)
print(json.dumps({
    "latency_s": seconds[spec["warm_up"]:],
    "grid": picture[0, :, ::32, ::32].ravel().tolist(),
    "versions": {"onnxruntime": onnxruntime.__version__, "numpy": np.__version__},
}))  # fmt: skip
