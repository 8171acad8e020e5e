"""What makes pictures: a net that is loaded once, an optimisation, or one after the other.

Starts the engine when the first picture is asked for, so that everything which can be refused is refused before.
"""

from __future__ import annotations

import math
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nst_gluon import methods
from nst_gluon.api import inputs
from nst_gluon.api.choice import LEAST_NET_SIZE, choose
from nst_gluon.api.descent import Descent
from nst_gluon.api.inputs import Listener
from nst_gluon.api.request import Request
from nst_gluon.pictures import color, images
from nst_gluon.system import runtime
from nst_gluon.system.errors import UserError

if TYPE_CHECKING:
    from nst_gluon.nets.trained_net import TrainedNet

# Pictures of more pixels than this are made in tiles of at most TILE_SIDE, unless --tile says otherwise; bytes a pixel
# of a tile, with all its graphs; of the picture as it is read and written; and of one that gets the detail of its
# content (52 and some room): measured.
WHOLE_PIXELS, TILE_SIDE = 2048**2, 512
TILE_BYTES, PICTURE_BYTES, DETAIL_BYTES = 2_600, 24, 64
# A picture whose longer side is more times larger or smaller than those of the training: strokes of another scale.
FAR = 2.5
BAND = 256  # rows of a picture that is finished in 8 bits


class PictureMaker:
    """Pictures as a request says.

    Attributes:
        choice: the method and the net that make them.
        preparation_s: how long it took to start the engine and to load the net.
    """

    def __init__(self, request: Request, listener: Listener | None = None):
        self._request, self._listener = request, listener or Listener()
        self.choice = choose(request)
        method = self.choice.method
        self._descent = Descent(request, method, self._listener) if isinstance(method, methods.Optimiser) else None
        self._interpolates = request.strength != 1 and not self.choice.takes_noise
        self.preparation_s = 0.0
        self._told = False

    def bytes_needed(self, height: int, width: int) -> int:
        """About how much memory a picture takes at least, beside the engine."""
        pixels, tile, limit = height * width, self._request.tile, self._request.net_size
        if self._descent is not None:
            return self._descent.bytes_per_pixel * pixels
        if limit is not None and max(height, width) > limit:
            small = pixels * limit**2 // max(height, width) ** 2
            return DETAIL_BYTES * pixels + self._bytes_of_net(small, tile)
        return self._bytes_of_net(pixels, tile)

    @staticmethod
    def _bytes_of_net(pixels: int, tile: int | str) -> int:
        if tile == "off":
            return inputs.NET_BYTES * pixels
        return PICTURE_BYTES * pixels + (0 if tile == "auto" else TILE_BYTES * min(tile**2, pixels))

    def check(self, size: tuple[int, int]) -> None:
        """Raise UserError if no picture of ``size`` can be made; starts nothing."""
        if self._descent is not None:
            self._descent.check(size)

    def prepare(self, size: tuple[int, int]) -> None:
        """Check what pictures of ``size`` need, start the engine, load the net and the weights."""
        start = time.perf_counter()
        if self._descent is not None:
            self._descent.prepare(size)
        if self.choice.net is not None:
            _ = self._generator
        self.preparation_s += time.perf_counter() - start

    def picture(self, content: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
        """A picture, uint8 (H, W, 3).

        Args:
            content: (1, 3, H, W) in [0, 1]; None for textures.
        """
        self.prepare(size)
        made = None if self.choice.net is None else self._generate(content, size)
        if self._descent is not None:
            start = images.from_uint8(made) if made is not None and made.dtype == np.uint8 else made
            made = self._descent.picture(start, content, size)
        if content is not None:
            made = self._finished(content, made)
        return made if made.dtype == np.uint8 else images.to_uint8(made)

    @cached_property
    def _generator(self) -> TrainedNet:
        request, net = self._request, self.choice.net
        if isinstance(net, Path):
            engine = inputs.start_engine(request.device, request.dtype, request.threads)
            from nst_gluon.nets.trained_net import load_net

            generator = load_net(net, engine.context, engine.dtype)
        else:
            generator = net.generator
        if request.engine == "fastest":
            if generator.context.device_type != "cpu":
                raise UserError("--engine: fastest compares engines on the CPU; use --device cpu")
            generator = generator.in_fastest_engine(self._listener.note)
        if (generator.meta.get("weights") or {}).get("random"):
            self._listener.note("note: this net was trained with random weights")
        return generator

    def _tile_side(self, size: tuple[int, int]) -> int | None:
        """The side of the tiles that a picture is made in; None makes it in one piece."""
        tile, generator = self._request.tile, self._generator
        if tile == "off" or (tile == "auto" and generator.context.device_type != "cpu"):
            return None
        if tile != "auto":
            return tile
        pixels, room = size[0] * size[1], runtime.memory_available_bytes() - inputs.BASE_BYTES
        if pixels <= WHOLE_PIXELS and pixels * inputs.NET_BYTES <= room:
            return None
        from nst_gluon.nets.tiles import least_side

        return max(min(TILE_SIDE, math.isqrt(max(room // 2, 0) // TILE_BYTES)), least_side(generator.description))

    def _tell_scale(self, size: tuple[int, int]) -> None:
        """Once: that a picture is so much larger or smaller than those of the training that strokes look wrong."""
        meta = self._generator.meta
        sides = [meta.get("size") or 0, *((meta.get("training") or {}).get("more_sizes") or ())]
        if self._told or min(sides) <= 0 or meta["task"] != "stylize":
            return
        if min(sides) / FAR <= max(size) <= max(sides) * FAR:
            return
        self._told, trained, side = True, " and ".join(map(str, sides)), max(size)
        option = "--net-size" if side == self._request.net_size else "--size"
        how = f"large: try a larger {option}" if side < min(sides) else f"small: try --net-size {max(sides)}"
        self._listener.hint(f"note: this net was trained at {trained} pixels; at {side} its strokes are {how}")

    def _generate(self, content: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
        """The net's picture, whose noise follows --seed alone: all frames of a video have the same."""
        limit = self._request.net_size
        if content is not None and limit is not None and max(size) > limit:
            small = tuple(max(LEAST_NET_SIZE, round(side * limit / max(size))) for side in size)
            made = self._generate(images.resize(content, small), small)
            return color.carry_detail(content, images.from_uint8(made) if made.dtype == np.uint8 else made)
        self._tell_scale(size)
        noise, seed = 1.0 if self._interpolates else self._request.strength, self._request.seed
        side = self._tile_side(size)
        if side is None:
            return self._generator.generate(content, size, seed=seed, noise_scale=noise)
        if self._request.engine == "fastest":
            self._listener.note(f"note: pictures of {size[1]}x{size[0]} pixels are made in tiles, in gluon")
        from nst_gluon.nets.tiles import Tiling

        tiling = Tiling(self._generator, content, size, side, seed, noise, self._request.tile_statistics)
        with self._listener.bar(tiling.work, "tile") as bar:
            return tiling.pixels(bar.update)

    def _touch(self, content: np.ndarray, made: np.ndarray) -> np.ndarray:
        if self._interpolates:
            made = color.interpolate(content, made, self._request.strength)
        return color.keep_colors(content, made) if self._request.keep_colors else made

    def _finished(self, content: np.ndarray, made: np.ndarray) -> np.ndarray:
        """``made`` with --strength and --keep-colors applied; in bands where it is too large to be floats."""
        if not (self._interpolates or self._request.keep_colors):
            return made
        if made.dtype != np.uint8:
            return self._touch(content, made)
        for top in range(0, made.shape[0], BAND):
            rows = slice(top, top + BAND)
            made[rows] = images.to_uint8(self._touch(content[:, :, rows], images.from_uint8(made[rows])))
        return made
