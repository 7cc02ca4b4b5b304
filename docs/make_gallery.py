"""Write docs/gallery.md and its pictures from run folders: the figures that their analyzers drew.

    python docs/make_gallery.py --commands > runs.sh       # makes every run of the gallery, in ./runs
    python docs/make_gallery.py runs/dcgan_mnist5k-s0-001 ...

A run is known by its folder's name, so that the page can name the command that made it. Pictures are made
smaller: at most 1,000 pixels wide, 128 colours.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from gflow_core.parts.plugins import plugins
from gflow_core.recipes.recipe import load

DOCS = Path(__file__).parent
WIDTH, COLOURS = 1000, 128

# What made each run; DATA is where MNIST and CIFAR-10 lie.
CIFAR = "runs/dcgan_cifar10-s0-001"
DIGITS = "runs/rmt_mnist5k-s0-001"
RUNS = {
    "vgrow_ring8-s0-001": ["gflow run recipes/vgrow_ring8.toml"],
    "vgrow_theory-s0-001": ["gflow run recipes/vgrow_theory.toml"],
    "far_ring8-s0-001": ["gflow run recipes/far_ring8.toml"],
    "far_mnist5k-s0-001": ["gflow run recipes/far_mnist5k.toml"],
    "far_theory-s0-001": ["gflow run recipes/far_theory.toml"],
    "dcgan_mnist5k-s0-001": ["gflow run recipes/dcgan_mnist5k.toml"],
    "dcgan_value_function-s0-001": ["gflow run recipes/dcgan_value_function.toml"],
    "dcgan_transposed_conv-s0-001": ["gflow run recipes/dcgan_transposed_conv.toml"],
    "dcgan_cifar10-s0-001": [
        "gflow run recipes/dcgan_cifar10.toml dataset.root=DATA sampler.width=32 discriminator.width=32 "
        "train.steps=1200 train.seed=0",
        f'gflow analyze {CIFAR} dcgan.svm_features \'analyze.3.baselines=["raw", "random", "kmeans"]\' '
        "analyze.3.train_samples=10000 analyze.3.solver=lbfgs analyze.3.tolerance=3e-4 'analyze.3.C=[0.01, 0.1, 1.0]'",
    ],
    "cgan_mnist5k-s0-001": ["gflow run recipes/cgan_mnist5k.toml train.seed=0"],
    "cgan_captions-s0-001": ["gflow run recipes/cgan_captions.toml"],
    "cgan_mnist-s0-001": [
        "gflow run recipes/cgan_mnist.toml dataset.root=DATA train.steps=6000 train.sample_every=1000"
    ],
    "rmt_mnist5k-s0-001": ["gflow run recipes/rmt_mnist5k.toml"],
    "rmt_noise_laws-s0-001": [
        f"gflow run recipes/rmt_noise_laws.toml sampler.from_run={DIGITS} "
        "'~dataset' '~discriminator' '~objective' '~optimizer' '~train'"
    ],
}

# How each figure is read, whichever run drew it.
CAPTIONS = {
    "caption_match/asked": "One z under captions: a row for each way of drawing, a digit a column.",
    "cgan.intra_frechet/classes": "A bar a class: samples in blue, two halves of the class's real items in grey.",
    "cgan.label_accuracy/confusion": "Rows are what was asked for, columns what the classifier saw.",
    "cgan.parzen/bandwidths": "Log-likelihood of validation items by the window's width, on samples and on real items.",
    "dcgan.drop_feature/drop": (
        "The same samples as drawn, after the feature's maps were dropped, and after as many random ones; the "
        "region in question is outlined."
    ),
    "dcgan.drop_feature/samples": "The sheet of numbered samples that boxes are drawn on.",
    "dcgan.guided_backprop/guided_backprop": (
        "A row a map of the last layer: images with the strongest responses over their guided gradients; the "
        "trained discriminator on the left, random weights on the right."
    ),
    "dcgan.latent_walk/cross_fade": (
        "For comparison: real images laid over each other, over their nearest training images."
    ),
    "dcgan.latent_walk/linear": "Straight walks, each over the nearest training images.",
    "dcgan.latent_walk/profile": (
        "Above, the step along each walk over its mean; below, the distance to the nearest training image, which "
        "is 0 at both ends of a cross-fade."
    ),
    "dcgan.latent_walk/spherical": "Walks along great circles between the same latents.",
    "dcgan.sampler_gradient/gradients": (
        "How hard log(1 - D) (red) and log D (blue) pull each layer of the sampler, and where samples lie between "
        "their slopes."
    ),
    "dcgan.svm_features/accuracy": (
        "Accuracy on test items (blue) and on the items learned from (grey), with chance dashed."
    ),
    "dcgan.svm_features/confusion": "Rows are the test items' classes, columns what the classifier said.",
    "dcgan.transposed_conv/arithmetic": (
        "Input, zero-stuffed input, turned kernel and output of DCGAN's first layer; one output pixel and its nine "
        "taps in orange."
    ),
    "dcgan.transposed_conv/checkerboard": (
        "Kernels of 5, 4 and 3: how many taps reach each pixel, and what three layers make of a constant input."
    ),
    "dcgan.transposed_conv/matrix": (
        "The convolution's matrix along one dimension beside its transpose, taps by colour."
    ),
    "dcgan.value_function/histogram": (
        "The discriminator's probability over held-out (blue), training (black line) and generated items (red)."
    ),
    "dcgan.value_function/optimal": (
        "The discriminator, the best one, and their difference; grey where hardly an item comes."
    ),
    "dcgan.vector_arithmetic/arithmetic": (
        "Exemplars, the image of their mean latent and their mean image; on the right the sum of latents in the "
        "centre of its noisy neighbours, and below it the sum of the images."
    ),
    "dcgan.vector_arithmetic/samples": (
        "The numbered samples that exemplars are chosen from, with the classifier's answer."
    ),
    "far.equilibrium/separation": "Proposition 1's network on the unit circle, and how far it beats a constant.",
    "far.equilibrium/table2": "The optimum as each variable grows; the arrows are Table 2's.",
    "far.evolution/evolution": "Real points in blue, generated ones in red, a panel a moment.",
    "far.gradient_explosion/gradient": (
        "The gradient's norm against the distance to the nearest real point; close pairs in orange, eq. 6 in red."
    ),
    "far.gradient_explosion/plane": (
        "Logits, and where the sampler moves its points; on the right the steepest close pair."
    ),
    "flow_field/flow_field": (
        "The first move's velocities, and all moves' paths, over what the field knows: here the log density ratio."
    ),
    "interpolation/interpolation": "Rows are pairs of latents, columns the way from one to the other.",
    "losses/losses": "What was logged thin, its running mean thick, the equilibrium dashed.",
    "memorization/distances": "Distances to the nearest training item: of samples, and of held-out items.",
    "mode_coverage/samples": (
        "Samples in blue over real points in grey; a green cross is a captured mode, a red one is not."
    ),
    "prdc/prdc": "Samples, beside two halves of the data.",
    "rmt.concentration/lipschitz": (
        "Lower bounds of the Lipschitz constant from pairs and Jacobians, beside the product of the layers' norms."
    ),
    "rmt.concentration/tails": "Tails of projections and norms, beside those of normal features and of Student's t.",
    "rmt.eigenvectors/eigenvectors": (
        "Neighbouring eigenvectors by class: the GAN on the left, its mixture on the right; circles and ellipses "
        "are predictions."
    ),
    "rmt.noise_laws/invariance": (
        "Share of eigenvalues below: one curve a law of z on the left, one a law of t on the right."
    ),
    "rmt.noise_laws/samples": "A row for each law of z.",
    "rmt.noise_laws/spectra": "A row a law of z, a column a law of t: the GAN in blue, its mixture in orange.",
    "rmt.real_versus/spectra": "Real images and their mixture, the GAN and its mixture, the GAN and real images.",
    "rmt.simulations/eigenvalues": (
        "Eigenvalues 2 to 6 over the repeats: histograms above, quantiles against the normal law's below."
    ),
    "rmt.simulations/spectrum": "The mean spectrum over the repeats, and the same for rotated features.",
    "rmt.spectrum/spectrum": "The GAN in blue, its mixture in orange, 95 % of normal features in grey.",
    "rmt.theory/theory": "The spectrum, one draw of the mixture, and what theory says of it.",
    "sample_grid/real": "Real items.",
    "sample_grid/samples": "Samples.",
    "vgrow.theory/decay": (
        "The divergence over time with tangents of the predicted slope; measured rates on predicted ones."
    ),
    "vgrow.theory/errors": "The error of each check beside its tolerance.",
}

HEAD = """# Gallery

Pictures that the analyzers draw, from real runs on two processor cores, with how each is read. The plugins' \
pages and
[Evaluation](evaluation.md) tell what the numbers in them mean. A run is that of the recipe of its name, or \
of these commands; DATA is
where MNIST and CIFAR-10 lie:

| run | command |
|---|---|
"""


def small(source: Path, target: Path) -> None:
    picture = Image.open(source).convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The default, median cut, goes by how many pixels a colour has: the blue of a few would turn green, as more are.
    every = Image.Quantize.MAXCOVERAGE
    picture.quantize(COLOURS, method=every, kmeans=3, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="finished runs; of two with one analyzer both are shown")
    parser.add_argument("--commands", action="store_true", help="print what makes the runs, and draw nothing")
    options = parser.parse_args()
    if options.commands:
        print("\n".join(command for commands in RUNS.values() for command in commands))
        return

    registry = plugins().registries["analyzer"]
    found: dict[str, dict[str, dict[str, str]]] = {}  # by analyzer, figure and recipe: the picture
    for run in options.runs:
        for analysis in load(run / "recipe.toml").spec.analyze:
            name = registry.name_of(type(analysis.part))
            for figure in sorted((run / "analysis" / analysis.name).glob("*.png")):
                recipe = run.name.rpartition("-s")[0]
                picture = f"images/gallery/{recipe}-{analysis.name.replace('.', '-')}-{figure.stem}.png"
                small(figure, DOCS / picture)
                found.setdefault(name, {}).setdefault(figure.stem, {})[recipe] = f"![{figure.stem}]({picture})\n"
    shown = {run.name for run in options.runs}
    rows = []
    for run in sorted(shown):
        recipe = run.rpartition("-s")[0]
        if RUNS[run] != [f"gflow run recipes/{recipe}.toml"]:
            rows.append(f"| `{recipe}` | {', then '.join(f'`{one}`' for one in RUNS[run])} |\n")
    page = [HEAD + "".join(rows)]
    for name in sorted(found, key=lambda name: ("." not in name, name)):
        page.append(f"## {name}\n")
        for stem, pictures in found[name].items():
            of = (" and " if len(pictures) < 3 else ", ").join(f"`{recipe}`" for recipe in pictures)
            page += [f"**{stem}**, of {of}: {CAPTIONS[f'{name}/{stem}']}\n", *pictures.values()]
    (DOCS / "gallery.md").write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
