"""PyTorch's side of test_no_slower_than_pytorch: a process of its own that measures a block when it is told to.

``torch_descriptor.py FILE.npz THREADS``; reads lines ``LAYOUT CALLS`` and answers with seconds; ``check`` answers with
the norm of the gradient.
"""

import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[2]))
with np.load(sys.argv[1]) as file:
    arrays = dict(file)
mean = torch.tensor(arrays["mean"], dtype=torch.float32).reshape(1, 3, 1, 1)
std = torch.tensor(arrays["std"], dtype=torch.float32).reshape(1, 3, 1, 1)
names = sorted(name[:-7] for name in arrays if name.endswith(".weight"))


def prepare(layout):
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    x = torch.tensor(arrays["picture"]).contiguous(memory_format=form).requires_grad_()
    kernels = [torch.tensor(arrays[f"{name}.weight"]).contiguous(memory_format=form) for name in names]
    biases = [torch.tensor(arrays[f"{name}.bias"]) for name in names]
    return x, kernels, biases


def both_ways(x, kernels, biases):
    x.grad = None
    y, heads = (x - mean) / std, []
    for name, kernel, bias in zip(names, kernels, biases):
        if name.endswith("_1") and name != "conv1_1":
            y = F.max_pool2d(y, 2)
        y = F.relu(F.conv2d(y, kernel, bias, padding=1))
        if name.endswith("_1"):
            heads.append(y)
    torch.autograd.backward(heads, [torch.ones_like(h) for h in heads])
    return x.grad


sides = {layout: prepare(layout) for layout in ("contiguous", "channels_last")}
for line in sys.stdin:
    if line.strip() == "check":
        print(float(both_ways(*sides["contiguous"]).double().norm()), flush=True)
        continue
    layout, calls = line.split()
    times = []
    for _ in range(int(calls)):
        start = time.perf_counter()
        both_ways(*sides[layout])
        times.append(time.perf_counter() - start)
    print(*times, flush=True)
