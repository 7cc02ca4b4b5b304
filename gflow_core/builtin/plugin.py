"""What the core itself registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow_core.builtin import latents
from gflow_core.builtin.adversarial import Adversarial
from gflow_core.builtin.analyzers import feature_scores
from gflow_core.builtin.analyzers.interpolation import Interpolation
from gflow_core.builtin.analyzers.losses import Losses
from gflow_core.builtin.analyzers.mode_coverage import ModeCoverage
from gflow_core.builtin.analyzers.sample_grid import SampleGrid
from gflow_core.builtin.analyzers.two_sample import TwoSample
from gflow_core.builtin.datasets import parts as datasets
from gflow_core.builtin.encoders import parts as encoders
from gflow_core.hookspecs import hookimpl

Add = Callable[[str, type[Any]], None]


@hookimpl
def register_latents(add: Add) -> None:
    add("normal", latents.Normal)
    add("uniform", latents.Uniform)
    add("truncated_normal", latents.TruncatedNormal)
    add("bernoulli", latents.Bernoulli)
    add("equicorrelated", latents.Equicorrelated)
    add("student_t", latents.StudentT)


@hookimpl
def register_datasets(add: Add) -> None:
    add("mnist5k", datasets.Mnist5k)
    add("mnist", datasets.Mnist)
    add("fashion_mnist", datasets.FashionMnist)
    add("cifar10", datasets.Cifar10)
    add("cifar100", datasets.Cifar100)
    add("celeba", datasets.CelebA)
    add("image_folder", datasets.ImageFolder)
    add("array", datasets.Array)
    add("gaussian", datasets.Gaussian)
    add("ring", datasets.Ring)
    add("grid", datasets.Grid)
    add("swissroll", datasets.Swissroll)
    add("circles", datasets.Circles)


@hookimpl
def register_objectives(add: Add) -> None:
    add("adversarial", Adversarial)


@hookimpl
def register_analyzers(add: Add) -> None:
    add("mode_coverage", ModeCoverage)
    add("frechet", feature_scores.Frechet)
    add("kernel", feature_scores.Kernel)
    add("inception", feature_scores.Inception)
    add("prdc", feature_scores.Prdc)
    add("memorization", feature_scores.Memorization)
    add("two_sample", TwoSample)
    add("sample_grid", SampleGrid)
    add("interpolation", Interpolation)
    add("losses", Losses)


@hookimpl
def register_encoders(add: Add) -> None:
    add("inception", encoders.Inception)
    add("efficientnet_lite0", encoders.EfficientnetLite0)
    add("mnist_cnn", encoders.MnistCnn)
    add("resnet50", encoders.ResNet50)
    add("vgg16", encoders.Vgg16)
    add("densenet201", encoders.DenseNet201)
