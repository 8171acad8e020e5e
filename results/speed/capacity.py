"""Whether a net is large enough: L-BFGS on the weights of the bundled texture network, for a few draws of noise only.

    python results/speed/capacity.py

If the objective of those draws falls far while that of others does not, the net could draw better pictures than it has
learnt to, and what is left to learn is the noise. Every picture is normalised by its own statistics, as in training.
Writes capacity.csv: the objective after each evaluation of those draws, and now and then of others.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

import numpy as np
import peers

from nst_gluon import assets
from nst_gluon.cli import console
from nst_gluon.descriptor import weights
from nst_gluon.nets import netfile
from nst_gluon.nets.inputs import drawn
from nst_gluon.nets.training_net import parameters_of, with_parameters
from nst_gluon.objective import presets
from nst_gluon.objective.loss import Objective
from nst_gluon.optimise import lbfgs
from nst_gluon.pictures import images
from nst_gluon.system.engine import mx

COLUMNS = ("evaluation", "noise", "objective")
STYLE, SIZE, DESCRIPTOR = "great_wave", 256, "bfloat16"
LEARNT_SEEDS, OTHER_SEEDS = 1_000, 2_000
EVERY = 10


class Enough(Exception):
    """All evaluations are done."""


class Net:
    """A trained texture network, its weights as one vector, and what its pictures of given noise are worth."""

    def __init__(self, file: Path):
        self.description, found, meta = netfile.checked(file)
        self.net = with_parameters(self.description, found)
        self.net.hybridize(static_alloc=True, static_shape=True)
        self.learnt = [one for one in parameters_of(self.net).values() if one.grad_req != "null"]
        for one in self.learnt:
            one.grad_req = "add"
        style = images.load(assets.style_path(STYLE), SIZE)
        preset = presets.get(meta["preset"])
        self.objective = Objective(preset, weights.load(None), meta["task"], style, dtype=DESCRIPTOR)

    @property
    def vector(self) -> np.ndarray:
        """The weights (n,), float32."""
        return np.concatenate([one.data().asnumpy().ravel() for one in self.learnt])

    @vector.setter
    def vector(self, values: np.ndarray) -> None:
        ends = np.cumsum([one.data().size for one in self.learnt])
        for one, part in zip(self.learnt, np.split(values, ends[:-1])):
            one.set_data(mx.nd.array(part.reshape(one.shape), dtype="float32"))

    def value_and_gradient(self, seeds: range) -> tuple[float, np.ndarray]:
        """The mean objective of the pictures of these draws, and its gradient to the weights (n,)."""
        for one in self.learnt:
            one.zero_grad()
        total = 0.0
        for seed in seeds:
            noise = drawn(self.description, None, np.random.default_rng(seed), (1, SIZE, SIZE))
            inputs = [mx.nd.array(scale, dtype="float32") for scale in noise]
            with mx.autograd.record():
                value = self.objective.loss(self.net(*inputs))[0]
            value.backward()
            total += float(value.asscalar())
        gradient = np.concatenate([one.grad().asnumpy().ravel() for one in self.learnt])
        return total / len(seeds), gradient / len(seeds)


def trial(net: Net, learnt: range, others: range, evaluations: int) -> list[tuple[int, str, float]]:
    """Rows of COLUMNS: ``evaluations`` of L-BFGS on the draws ``learnt``, and every now and then the ``others``."""
    rows: list[tuple[int, str, float]] = []

    def look_at_others(number: int) -> None:
        rows.append((number, "others", net.value_and_gradient(others)[0]))
        print(f"{number}: {rows[-2][2]:.1f}, other draws {rows[-1][2]:.1f}", file=sys.stderr, flush=True)

    def function(vector: np.ndarray) -> tuple[float, np.ndarray]:
        number = 1 + sum(noise == "learnt" for _, noise, _ in rows)
        if number > evaluations:
            raise Enough
        net.vector = vector
        value, gradient = net.value_and_gradient(learnt)
        rows.append((number, "learnt", value))
        if number == 1 or number % EVERY == 0:
            look_at_others(number)
        return value, gradient

    start = net.vector
    first_step = 1e-3 * float(np.sqrt(np.mean(start**2)))
    with contextlib.suppress(Enough):
        lbfgs.minimise(function, start, memory=30, first_step=first_step)
    return rows


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = peers.parser(__doc__, "capacity.csv")
    peers.add_number(parser, "--draws", 2, "to learn (%(default)s)")
    peers.add_number(parser, "--others", 4, "not to (%(default)s)")
    peers.add_number(parser, "--evaluations", 100, "(%(default)s)")
    return parser.parse_args()


def main() -> int:
    """Try it, and write the record."""
    options = arguments()
    peers.check_output(options)
    net = Net(assets.find_net(STYLE, "texture_net", "texture"))
    learnt = range(LEARNT_SEEDS, LEARNT_SEEDS + options.draws)
    rows = trial(net, learnt, range(OTHER_SEEDS, OTHER_SEEDS + options.others), options.evaluations)
    peers.write_table(options.output, COLUMNS, ((number, noise, f"{value:.6g}") for number, noise, value in rows))
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(console.run(main))
