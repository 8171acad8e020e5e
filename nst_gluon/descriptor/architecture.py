"""The convolutions of the VGG nets. Numbers only: planning needs them too."""

from __future__ import annotations

#: Convolutions per block (Simonyan & Zisserman 2014, table 1, configurations D and E), and the channels of each block.
CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)
