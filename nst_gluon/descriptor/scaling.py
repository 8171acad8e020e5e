"""What VGG nets subtract from a picture and divide it by. Numbers only: planning needs them too."""

from __future__ import annotations

Triple = tuple[float, float, float]

#: RGB means and deviations of ImageNet, for pictures in [0, 1] (torchvision's and Gluon's nets).
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
#: The original nets take 0-255 minus these means (RGB order here); expressed for pictures in [0, 1].
CAFFE_MEAN: Triple = (123.68 / 255, 116.779 / 255, 103.939 / 255)
CAFFE_STD: Triple = (1 / 255, 1 / 255, 1 / 255)
