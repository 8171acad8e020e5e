"""Textures by adversarial training: the spatial GAN (Jetchev, Bergmann, Vollgraf 2016), and DCGAN (Radford, Metz,
Chintala 2015) on crops of one texture, the comparison of the article on texture networks.

The generator is a net like any other. It is trained against a discriminator, on crops of the style, and not on the
common objective, which only judges what it makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from nst_gluon.methods.base import Generator, Schedule
from nst_gluon.methods.description import Builder, Net
from nst_gluon.system.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from nst_gluon.training.loop import Trainer

LEAK = 0.2


class Sgan(Generator):
    """Noise, uniform in (-1, 1), at 1/2^layers of the picture's side goes through ``layers`` layers that double it,
    from ``filters`` * 2^(layers - 2) channels down to those of the picture.
    """

    name = "sgan"
    tasks = ("texture",)
    title = "spatial GAN"
    description = "a net trained against a discriminator on crops of the texture, one forward pass a picture"
    paper = "Jetchev, Bergmann, Vollgraf: Spatial Generative Adversarial Networks, 2016"
    color = "#9c6b5e"
    initializer = "normal"
    own_loss = True
    # Side of the pictures that it is trained on, dimensions of the noise and number of layers, and Adam's rate.
    side: ClassVar[int] = 128
    dimensions: ClassVar[int] = 100
    layers: ClassVar[int] = 5
    rate: ClassVar[float] = 5e-4
    weight_decay: ClassVar[float] = 1e-5

    def architecture(self, task: str) -> dict[str, Any]:
        return {"dimensions": self.dimensions, "layers": self.layers, "filters": 64}

    def departures(self, architecture: Mapping[str, Any], preset: str) -> tuple[str, ...]:
        return (
            f"the {self.title} upsamples and convolves 3x3 where the paper has transposed convolutions, pads "
            "circularly, and moves its noise's mean to 0",
        )

    def net(self, dimensions: int = 100, layers: int = 5, filters: int = 64) -> Net:
        """The net as data.

        A layer is nearest-neighbour upsampling and a 3x3 convolution, where the papers have a transposed 5x5
        convolution of stride 2: it makes no checkerboards (Odena, Dumoulin, Olah 2016). Padding is circular, where
        theirs is with zeros, so that its textures tile.

        Args:
            dimensions: channels of the noise, uniform in (-1, 1), one place for each 2^layers pixels of a side.
            layers: how often the side is doubled.
            filters: channels of the finest layer but the picture; each coarser one has twice as many.
        """
        net = Builder()
        x = net.affine(net.noise(layers, dimensions, amplitude=2.0), shift=-1.0)
        for k in range(layers - 1, 0, -1):
            x = net.convolution(f"up{k}.conv", net.upsample(x), filters << (k - 1), 3, padding=1, mode="circular")
            x = net.activation(net.norm(f"up{k}.norm", x, "batch"), "relu")
        x = net.convolution("output", net.upsample(x), 3, kernel=3, padding=1, mode="circular")
        net.affine(net.activation(x, "tanh"), 0.5, 0.5)
        return net.build()

    def schedule(self, iterations: int) -> Schedule:
        return Schedule(self.rate, iterations, iterations, 1.0, beta1=0.5, weight_decay=self.weight_decay)

    def choices(self) -> dict[str, str]:
        return {"filters": "channels of the finest layer; each coarser one has twice as many (default: 64)"}

    def training(self, trainer: Trainer) -> Adversarial:
        return Adversarial(trainer, self.side)


class Dcgan(Sgan):
    """The same with DCGAN's settings: 64x64 crops, four layers, 100 dimensions, Adam 2e-4, no weight decay. It makes
    pictures of any size as well, since its noise is a grid here, too (in the paper 4x4 places from one linear layer).
    """

    name = "dcgan"
    title = "DCGAN"
    description = "the same with the settings of DCGAN: 64 x 64 crops, four layers"
    paper = "Radford, Metz, Chintala: Unsupervised Representation Learning with DCGANs, 2015"
    color = "#7f7f00"
    side, layers, rate, weight_decay = 64, 4, 2e-4, 0.0


class Adversarial:
    """Generator and discriminator in turns (Goodfellow et al. 2014, algorithm 1 with one step each): the discriminator
    minimises -log D(crop) - log(1 - D(made)), the generator -log D(made), each the mean over all places of D.

    D mirrors the generator: 5x5 convolutions of stride 2, leaky ReLU, batch normalisation but in the first and the
    last, and one sigmoid for each place of the noise.

    Raises:
        UserError: the style, which has the training's size, is smaller than the crops.
    """

    def __init__(self, trainer: Trainer, side: int):
        from nst_gluon.system.engine import mx

        if trainer.config.size < side:
            name = trainer.config.method
            raise UserError(f"--size: {name} is trained on crops of {side} pixels of the style; give {side} or more")
        self._mx, self._trainer, self.side = mx, trainer, side
        net = trainer.description
        layers, filters = net.inputs[0].reduction, net["output"].source
        self._judge = judge = mx.gluon.nn.HybridSequential(prefix="")
        for k in range(layers - 1):
            judge.add(mx.gluon.nn.Conv2D(filters << k, 5, 2, 2, in_channels=filters << (k - 1) if k else 3))
            if k:
                judge.add(mx.gluon.nn.BatchNorm(in_channels=filters << k))
            judge.add(mx.gluon.nn.LeakyReLU(LEAK))
        judge.add(mx.gluon.nn.Conv2D(1, 5, 2, 2, in_channels=filters << (layers - 2)))
        judge.initialize(mx.init.Normal(0.02), ctx=trainer.ctx)
        judge.hybridize()
        self._parameters = judge._collect_params_with_prefix()
        self._optimizer = trainer.adam(self._parameters)

    def step(self, iteration: int, rate: float, rng: np.random.Generator) -> float:
        """One step of both; the generator's loss."""
        nd, autograd, trainer = self._mx.nd, self._mx.autograd, self._trainer
        batch, style = trainer.config.batch, trainer.style[0]
        real = nd.stack(*(nd.array(self._crop(style, rng), ctx=trainer.ctx) for _ in range(batch)))
        with autograd.record():
            made = trainer.net(*trainer.noise(rng, self.side))
        self._optimizer.zero_gradients()
        with autograd.record():
            self._loss(real, 1).backward()
        with autograd.record():
            self._loss(made.detach(), 0).backward()
        self._optimizer.step(iteration, rate, batch)
        trainer.optimizer.zero_gradients()
        with autograd.record():
            loss = self._loss(made, 1)
        loss.backward()
        trainer.optimizer.step(iteration, rate, batch)
        return float(loss.mean().asscalar())

    def _loss(self, pictures: Any, right: int) -> Any:
        """-log of the probability (N,) that the discriminator gives to what is right: 1 for crops, 0 for others."""
        answer = self._judge(2 * pictures - 1)
        return self._mx.nd.Activation(-answer if right else answer, act_type="softrelu").mean(axis=(1, 2, 3))

    def _crop(self, style: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        top, left = (rng.integers(length - self.side + 1) for length in style.shape[1:])
        return style[:, top : top + self.side, left : left + self.side]

    def arrays(self) -> dict[str, np.ndarray]:
        """What the next step depends on, besides the generator and its optimiser."""
        found = {f"judge.{name}": p.data(self._trainer.ctx).asnumpy() for name, p in self._parameters.items()}
        return {**found, **{f"optimizer.{name}": value for name, value in self._optimizer.arrays().items()}}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what :meth:`arrays` gave."""
        for name, parameter in self._parameters.items():
            parameter.set_data(self._mx.nd.array(arrays[f"judge.{name}"]))
        prefix = "optimizer."
        self._optimizer.restore({n[len(prefix):]: value for n, value in arrays.items() if n.startswith(prefix)})
