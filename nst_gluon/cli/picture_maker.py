"""The one who makes the pictures: a net that is loaded once, an optimisation, or one after the other.

Starts the engine when the first picture is asked for, so that everything which can be refused is refused before.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from nst_gluon import methods
from nst_gluon.cli import optimise, options
from nst_gluon.pictures import color, images
from nst_gluon.system import runtime

if TYPE_CHECKING:
    from nst_gluon.nets.generator import Generator

# Pictures of more pixels than this are made in tiles of at most TILE_SIDE, unless --tile says otherwise; bytes a pixel
# of a tile, with all its graphs, and of the picture as it is read and written, measured.
WHOLE_PIXELS, TILE_SIDE = 2048**2, 512
TILE_BYTES, PICTURE_BYTES = 2_600, 24
# A picture whose longer side is more times larger or smaller than those of the training: strokes of another scale.
FAR = 2.5
BAND = 256  # rows of a picture that is finished in 8 bits


class Painter:
    """Pictures by one method, as the arguments of ``stylize`` or ``texture`` say.

    Args:
        net: the net's file; None: the method needs none.
        alone: one picture is all there is, so that its own progress and objective are shown.

    Attributes:
        preparation_s: how long it took to start the engine and to load the net.
    """

    def __init__(self, args: argparse.Namespace, method: methods.Method, net: Path | None, alone: bool = True):
        self._args, self._net, self._alone = args, net, alone
        self._descent = optimise.Descent(args, method, alone) if method.kind == "optimises" else None
        self._interpolates = args.strength is not None and method.name != "texture_net"
        self.preparation_s = 0.0
        self._told = False

    @property
    def bytes_per_pixel(self) -> int:
        """About how much memory a picture takes, a pixel."""
        if self._args.tile == "off":
            return options.NET_BYTES
        return PICTURE_BYTES if self._descent is None else self._descent.bytes_per_pixel

    def prepare(self, size: tuple[int, int]) -> None:
        """Check what pictures of ``size`` need, start the engine, load the net and the weights."""
        start = time.perf_counter()
        if self._descent is not None:
            self._descent.prepare(size)
        if self._net is not None:
            _ = self._generator
        self.preparation_s += time.perf_counter() - start

    def picture(self, content: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
        """A picture: float32 (1, 3, H, W) in [0, 1], or uint8 (H, W, 3) if it was made in tiles.

        Args:
            content: (1, 3, H, W) in [0, 1]; None for textures.
        """
        self.prepare(size)
        made = None if self._net is None else self._generate(content, size)
        if self._descent is not None:
            start = images.from_uint8(made) if made is not None and made.dtype == np.uint8 else made
            made = self._descent.picture(start, content, size)
        return made if content is None else self._finished(content, made)

    def pixels(self, content: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The picture as uint8 (H, W, 3)."""
        made = self.picture(content, size)
        return made if made.dtype == np.uint8 else images.to_uint8(made)

    @cached_property
    def _generator(self) -> Generator:
        engine = options.start_engine(self._args)
        from nst_gluon.nets.generator import load_net

        generator = load_net(self._net, engine.context, engine.dtype)
        if generator.meta.get("weights", {}).get("random"):
            print("note: this net was trained with random weights", file=sys.stderr)
        return generator

    def _tile_side(self, size: tuple[int, int]) -> int | None:
        """The side of the tiles that a picture is made in; None makes it in one piece."""
        tile, generator = self._args.tile, self._generator
        if tile == "off" or (tile == "auto" and generator.context.device_type != "cpu"):
            return None
        if tile != "auto":
            return tile
        if size[0] * size[1] <= WHOLE_PIXELS and options.fits_memory(*size, options.NET_BYTES):
            return None
        from nst_gluon.nets.tiles import least_side

        room = (runtime.memory_available_bytes() - options.BASE_BYTES) // 2
        return max(min(TILE_SIDE, math.isqrt(max(room, 0) // TILE_BYTES)), least_side(generator))

    def _tell_scale(self, size: tuple[int, int]) -> None:
        """Once: that a picture is so much larger or smaller than those of the training that strokes look wrong."""
        meta = self._generator.meta
        sides = [meta.get("size", 0), *(meta.get("training") or {}).get("more_sizes", ())]
        if self._told or not all(sides) or meta["task"] != "stylize" or self._args.quiet:
            return
        if min(sides) / FAR <= max(size) <= max(sides) * FAR:
            return
        self._told, trained, side = True, " and ".join(map(str, sides)), max(size)
        how = "large: try a larger --size" if side < min(sides) else f"small: try --net-size {max(sides)}"
        print(f"note: this net learnt at {trained} pixels; at {side} its strokes are {how}", file=sys.stderr)

    def _generate(self, content: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
        """The net's picture, whose noise follows --seed alone: all frames of a video have the same."""
        limit = self._args.net_size
        if content is not None and limit is not None and max(size) > limit:
            small = tuple(max(16, round(side * limit / max(size))) for side in size)
            made = self._generate(images.resize(content, small), small)
            return color.carry_detail(content, images.from_uint8(made) if made.dtype == np.uint8 else made)
        self._tell_scale(size)
        strength = self._args.strength
        noise = 1.0 if strength is None or self._interpolates else strength
        side = self._tile_side(size)
        if side is None:
            return self._generator.generate(content, size, seed=self._args.seed, noise_scale=noise)
        from nst_gluon.nets.tiles import Tiling

        tiling = Tiling(self._generator, content, size, side, self._args.seed, noise)
        with tqdm(
            unit="tile", total=tiling.work, disable=True if self._args.quiet else None, leave=self._alone
        ) as bar:
            return tiling.pixels(bar.update)

    def _touch(self, content: np.ndarray, made: np.ndarray) -> np.ndarray:
        if self._interpolates:
            made = color.interpolate(content, made, self._args.strength)
        return color.keep_colors(content, made) if self._args.keep_colors else made

    def _finished(self, content: np.ndarray, made: np.ndarray) -> np.ndarray:
        """``made`` with --strength and --keep-colors applied; in bands where it is too large to be floats."""
        if not (self._interpolates or self._args.keep_colors):
            return made
        if made.dtype != np.uint8:
            return self._touch(content, made)
        for top in range(0, made.shape[0], BAND):
            rows = slice(top, top + BAND)
            made[rows] = images.to_uint8(self._touch(content[:, :, rows], images.from_uint8(made[rows])))
        return made
