"""The texture network: textures from noise, and stylisation (Ulyanov, Lebedev, Vedaldi, Lempitsky 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nst_gluon.methods.base import Generator, Schedule
from nst_gluon.methods.description import Builder, Net, whole
from nst_gluon.system.errors import UserError

# Channels of each scale (section 3.2).
WIDTH = 8
LEAK = 0.01


class TextureNet(Generator):
    """K noise tensors of sides M, M/2, ... M/2^(K-1) go through a block each; from the smallest up, the result so far
    is upsampled, both branches are normalised (which balances their gradients), concatenated and passed through a
    wider block. 71,659 parameters for textures with K = 5; 118,211 for stylisation with K = 6, where each noise tensor
    carries the content picture too.
    """

    name = "texture_net"
    tasks = ("stylize", "texture")
    title = "texture network"
    description = "a small multi-scale net trained for one style, one forward pass a picture"
    paper = "Ulyanov, Lebedev, Vedaldi, Lempitsky: Texture Networks, 2016"
    color = "#0072b2"
    initializer = "xavier"  # section 4

    def architecture(self, task: str) -> dict[str, Any]:
        if task == "texture":
            return {"scales": 5, "content": False, "norm": "batch", "padding": "circular"}
        # Noise as strong as the content drowns it: nets trained so ignored the photo altogether.
        return {"scales": 6, "content": True, "norm": "instance", "padding": "reflect", "noise": 0.1}

    def net(
        self,
        scales: int = 5,
        content: bool = False,
        norm: str = "batch",
        padding: str = "circular",
        noise: float = 1.0,
        finest: int | None = None,
    ) -> Net:
        """The net as data.

        Args:
            scales: K; sides are multiples of 2^(K-1).
            content: whether it takes a content picture beside the K noise tensors, largest first.
            norm: ``batch`` (the paper) or ``instance`` (the later version, which made stylisation good).
            padding: ``circular`` (the paper; textures that tile) or ``reflect`` (photographs do not).
            noise: the noise that the net is trained with is uniform over a range of this.
            finest: channels of the finest join; None: 8 more than the coarser one's, as in the paper. It has most of
                the work, and processors take channels by sixteens: with K = 5, 32 take two thirds of the time of 40.
        """
        if whole("scales", scales) < 2 and finest is not None:
            raise UserError("a net of one scale joins nothing: finest needs 2 scales or more")
        net = Builder()

        def block(x: str, name: str, channels: int) -> str:
            """conv3x3, conv3x3, conv1x1, each with normalisation and leaky ReLU (the paper's figure 2)."""
            for number, kernel in ((1, 3), (2, 3), (3, 1)):
                x = net.convolution(f"{name}.conv{number}.conv", x, channels, kernel, padding=kernel // 2, mode=padding)
                x = net.activation(net.norm(f"{name}.norm{number}", x, norm), "leaky_relu", LEAK)
            return x

        picture = net.content() if content else None
        branches = [net.noise(k, amplitude=noise) for k in range(scales)]
        for k, z in enumerate(branches):
            if picture:
                z = net.concatenate(z, net.average_pool(picture, 2**k) if k else picture)
            branches[k] = block(z, f"blocks.{k}", WIDTH)
        x = branches.pop()
        for k, shallow in enumerate(reversed(branches)):
            channels = WIDTH * (k + 2) if finest is None or k < scales - 2 else finest
            deep = net.norm(f"joins.{k}.deep_norm", net.upsample(x), norm)
            shallow = net.norm(f"joins.{k}.shallow_norm", shallow, norm)
            x = block(net.concatenate(deep, shallow), f"joins.{k}.block", channels)
        net.affine(net.convolution("output", x, 3, kernel=1), shift=0.5)
        return net.build()

    def schedule(self, iterations: int) -> Schedule:
        """x0.7 every tenth of the run from its middle on (section 4: 2000 iterations, x0.7 every 200 after 1000), but
        from 0.01 and not 0.1, which is slower under this suite's objective.
        """
        return Schedule(0.01, iterations // 2, max(1, iterations // 10), 0.7)

    def departures(self, architecture: Mapping[str, Any], preset: str) -> tuple[str, ...]:
        found = ["texture networks draw noise whose mean is moved to 1/2, and train at a lower rate"]
        scales, finest = architecture.get("scales"), architecture.get("finest")
        if isinstance(scales, int) and isinstance(finest, int) and finest != WIDTH * scales:
            found.append(
                f"the texture network for {'stylisation' if architecture.get('content') else 'textures'} has {finest} "
                f"channels at its finest scale, where the paper has {WIDTH * scales}: it is faster for that"
            )
        if architecture.get("norm") == "instance":
            found.append("stylising texture networks have instance norm and reflection, as in the later version")
        return tuple(found)

    def choices(self) -> dict[str, str]:
        return {
            "scales": "number of scales (default: the paper's, 5 for textures and 6 to stylise); fewer are faster",
            "finest": "channels of the finest scale (default: the paper's, 8 for each scale); fewer are faster, best a "
            "multiple of 16",
        }
