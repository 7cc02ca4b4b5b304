"""What the core itself registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gflow_core.data import adaptive, augmentations, text
from gflow_core.data import parts as datasets
from gflow_core.encoders import parts as encoders
from gflow_core.methods import losses, penalties, velocities
from gflow_core.methods.adversarial import Adversarial
from gflow_core.methods.flow import VelocityPart
from gflow_core.nn import latents
from gflow_core.nn.cloud import Cloud
from gflow_core.optim import optimizers, schedules
from gflow_core.parts.hookspecs import hookimpl
from gflow_core.runs import loggers, trackers
from gflow_core.scores import feature_scores, image_scores
from gflow_core.scores.caption_match import CaptionMatch
from gflow_core.scores.flow_field import FlowField
from gflow_core.scores.interpolation import Interpolation
from gflow_core.scores.losses import Losses
from gflow_core.scores.mode_coverage import ModeCoverage
from gflow_core.scores.refine import Refine
from gflow_core.scores.sample_grid import SampleGrid
from gflow_core.scores.two_sample import TwoSample

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
def register_samplers(add: Add) -> None:
    add("cloud", Cloud)


@hookimpl
def register_datasets(add: Add) -> None:
    add("mnist5k", datasets.Mnist5k)
    add("captioned_digits", datasets.CaptionedDigits)
    add("mnist", datasets.Mnist)
    add("fashion_mnist", datasets.FashionMnist)
    add("stacked_mnist", datasets.StackedMnist)
    add("cifar10", datasets.Cifar10)
    add("cifar100", datasets.Cifar100)
    add("svhn", datasets.Svhn)
    add("stl10", datasets.Stl10)
    add("imagenet32", datasets.ImageNet32)
    add("imagenet64", datasets.ImageNet64)
    add("celeba", datasets.CelebA)
    add("lsun", datasets.Lsun)
    add("image_folder", datasets.ImageFolder)
    add("array", datasets.Array)
    add("gaussian", datasets.Gaussian)
    add("ring", datasets.Ring)
    add("grid", datasets.Grid)
    add("swissroll", datasets.Swissroll)
    add("circles", datasets.Circles)
    add("mixture", datasets.Mixture)
    add("checkerboard", datasets.Checkerboard)


@hookimpl
def register_objectives(add: Add) -> None:
    add("adversarial", Adversarial)
    add("flow", velocities.Flow)


@hookimpl
def register_analyzers(add: Add) -> None:
    add("mode_coverage", ModeCoverage)
    add("frechet", feature_scores.Frechet)
    add("kernel", feature_scores.Kernel)
    add("inception", feature_scores.Inception)
    add("prdc", feature_scores.Prdc)
    add("memorization", feature_scores.Memorization)
    add("ppl", feature_scores.PathLength)
    add("cas", image_scores.ClassificationAccuracy)
    add("ms_ssim", image_scores.MsSsim)
    add("sliced_wasserstein", image_scores.SlicedWasserstein)
    add("two_sample", TwoSample)
    add("sample_grid", SampleGrid)
    add("interpolation", Interpolation)
    add("inversion", image_scores.Inversion)
    add("refine", Refine)
    add("flow_field", FlowField)
    add("losses", Losses)
    add("caption_match", CaptionMatch)


@hookimpl
def register_encoders(add: Add) -> None:
    add("inception", encoders.Inception)
    add("efficientnet_lite0", encoders.EfficientnetLite0)
    add("mnist_cnn", encoders.MnistCnn)
    add("digits_encoder", encoders.DigitsEncoder)
    add("resnet50", encoders.ResNet50)
    add("vgg16", encoders.Vgg16)
    add("densenet201", encoders.DenseNet201)
    add("dinov2", encoders.Dinov2)


@hookimpl
def register_text_encoders(add: Add) -> None:
    add("tfidf", text.TfIdf)
    add("sentence_transformers", text.SentenceTransformers)


@hookimpl
def register_optimizers(add: Add) -> None:
    add("sgd", optimizers.SGD)
    add("adam", optimizers.Adam)
    add("adamw", optimizers.AdamW)
    add("rmsprop", optimizers.RMSprop)


@hookimpl
def register_schedules(add: Add) -> None:
    add("constant", schedules.Constant)
    add("multistep", schedules.Multistep)
    add("exponential", schedules.Exponential)
    add("linear", schedules.Linear)
    add("cosine", schedules.Cosine)
    add("warmup", schedules.Warmup)
    add("chain", schedules.Chain)


@hookimpl
def register_losses(add: Add) -> None:
    add("nonsaturating", losses.Nonsaturating)
    add("minimax", losses.Minimax)
    add("monoflow", losses.Monoflow)
    add("hinge", losses.Hinge)
    add("least_squares", losses.LeastSquares)
    add("wasserstein", losses.Wasserstein)
    add("relativistic", losses.Relativistic)


@hookimpl
def register_penalties(add: Add) -> None:
    add("r1", penalties.R1)
    add("r2", penalties.R2)
    add("interpolation", penalties.Interpolation)
    add("mixed", penalties.Mixed)
    add("wgan_gp", penalties.WganGp)


@hookimpl
def register_augmentations(add: Add) -> None:
    add("flip", augmentations.Flip)
    add("dither", augmentations.Dither)
    add("color", augmentations.Color)
    add("translation", augmentations.Translation)
    add("cutout", augmentations.Cutout)
    add("diffaugment", augmentations.DiffAugment)
    add("ada", adaptive.Ada)


@hookimpl
def register_trackers(add: Add) -> None:
    add("jsonl", trackers.Jsonl)
    add("tensorboard", trackers.Tensorboard)
    add("csv", loggers.Csv)
    add("wandb", loggers.Wandb)
    add("mlflow", loggers.Mlflow)


@hookimpl
def register_kinds(add: Callable[[type[Any]], None]) -> None:
    add(VelocityPart)


@hookimpl
def register_parts(add: Callable[[str, str, type[Any]], None]) -> None:
    add("flow.velocity", "mmd", velocities.Mmd)
    add("flow.velocity", "sliced_wasserstein", velocities.SlicedWasserstein)
    add("flow.velocity", "sinkhorn", velocities.Sinkhorn)
    add("flow.velocity", "svgd", velocities.Svgd)
