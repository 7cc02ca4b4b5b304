"""The core's data sets: their options and checks. The work is in the modules that `load` imports."""

from gflow_core.data.parts.array import Array
from gflow_core.data.parts.celeba import CelebA
from gflow_core.data.parts.cifar import Cifar10, Cifar100
from gflow_core.data.parts.digits import CaptionedDigits, FashionMnist, Mnist, Mnist5k, StackedMnist
from gflow_core.data.parts.image_folder import ImageFolder
from gflow_core.data.parts.imagenet import ImageNet32, ImageNet64
from gflow_core.data.parts.lsun import Lsun
from gflow_core.data.parts.planar import Checkerboard, Circles, Gaussian, Grid, Mixture, Ring, Swissroll
from gflow_core.data.parts.stl10 import Stl10
from gflow_core.data.parts.svhn import Svhn

__all__ = [
    "Array",
    "CaptionedDigits",
    "CelebA",
    "Checkerboard",
    "Cifar10",
    "Cifar100",
    "Circles",
    "FashionMnist",
    "Gaussian",
    "Grid",
    "ImageFolder",
    "ImageNet32",
    "ImageNet64",
    "Lsun",
    "Mixture",
    "Mnist",
    "Mnist5k",
    "Ring",
    "StackedMnist",
    "Stl10",
    "Svhn",
    "Swissroll",
]
