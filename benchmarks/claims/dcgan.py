"""DCGAN's claims (Radford et al. 2015, as notes 004 tell them): features, walks, arithmetic, dropped features.

    python benchmarks/claims/dcgan.py --rows digits
    python benchmarks/claims/dcgan.py --rows features --data DATA     # hours; start again to go on
    python benchmarks/claims/dcgan.py --record

Rows `digits` are recipes/dcgan_mnist5k.toml, with both losses of the notes; `features` the discriminator of the feature
experiment at its published width, trained on CIFAR-10 instead of ImageNet, under an L2-SVM with all 50,000 labels.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

from kit import Claim, Finding, Recorded, Row, difference, main, spread
from matplotlib.figure import Figure

PAPER = "dcgan"
TITLE = "DCGAN: unsupervised representation learning"
PICTURE = "What an L2-SVM makes of the discriminator's features, of an untrained one's, k-means' and pixels"
FD = "frechet:FD(mnist_cnn.hidden)"
WALK, FADE = "dcgan.latent_walk:linear_jump_ratio", "dcgan.latent_walk:cross_fade_neighbour_jump_ratio"
LENGTH = "dcgan.latent_walk:linear_length_ratio"
SEEN, RANDOM = "dcgan.guided_backprop:concentration", "dcgan.guided_backprop:concentration_random"
DROPPED = tuple(f"dcgan.drop_feature:found_{when}" for when in ("before", "after", "random"))
SUMS = tuple(f"dcgan.vector_arithmetic:{score}" for score in ("class", "neighbours_same_class", "pixel_class"))
WANTED = 3.0
"""9 - 4 + 1 in strokes: a nine without what a four has, and a one, is a three, by eye."""
VALUES = ("dcgan.value_function:value", "dcgan.value_function:value_train")
FEATURES = ("discriminator", "random", "kmeans", "raw")

ROWS = {
    "digits/nonsaturating": Row(
        recipe="dcgan_mnist5k",
        words=("~train.keep_best",),
        steps=2_000,
        seeds=3,
        scores=(FD, WALK, FADE, LENGTH, SEEN, RANDOM, *DROPPED, *SUMS, *VALUES),
    ),
    "digits/minimax": Row(
        recipe="dcgan_mnist5k",
        words=(
            "~train.keep_best",
            "objective.loss=minimax",
            'analyze=[{ use = "frechet", encoder = { use = "mnist_cnn", layer = "hidden" } }]',
        ),
        steps=2_000,
        every=500,
        seeds=3,
        scores=(FD,),
    ),
    "features": Row(
        recipe="dcgan_svm_features",
        words=("dataset.root=DATA", "~analyze.0.train_samples"),
        steps=5_000,
        scores=tuple(f"dcgan.svm_features:accuracy_{kind}" for kind in FEATURES),
    ),
}
TABLES = [
    (
        "FD(mnist_cnn.hidden); the largest step of a walk over the mean one; the share of places with a stroke before, "
        "after its maps are dropped, and after as many random ones.",
        "digits/*",
        {
            "FD": (FD, 1, 1.0),
            "largest step": (WALK, 2, 1.0),
            "before, %": (DROPPED[0], 1, 100.0),
            "dropped, %": (DROPPED[1], 1, 100.0),
            "random, %": (DROPPED[2], 1, 100.0),
        },
    ),
    (
        "Test accuracy of an L2-SVM on CIFAR-10, %.",
        "features",
        {kind: (f"dcgan.svm_features:accuracy_{kind}", 1, 100.0) for kind in FEATURES},
    ),
]
DIGITS = "digits/nonsaturating"


def features(recorded: Recorded) -> Finding:
    """Whether the discriminator's are the better features than k-means'."""
    found = {kind: recorded["features"](f"dcgan.svm_features:accuracy_{kind}")[0] for kind in FEATURES}
    text = ", ".join(f"{kind} {100 * value:.1f} %" for kind, value in found.items())
    return Finding(text, "confirmed" if found["discriminator"] > found["kmeans"] else "refuted")


def learned(recorded: Recorded) -> Finding:
    """Whether they are better than those of the same network untrained."""
    trained, untrained = (recorded["features"](f"dcgan.svm_features:accuracy_{kind}")[0] for kind in FEATURES[:2])
    return Finding(
        f"{100 * trained:.1f} %, untrained {100 * untrained:.1f} %", "confirmed" if trained > untrained else "refuted"
    )


def smooth(recorded: Recorded) -> Finding:
    """Whether no step of a walk is twice the mean one; between images that are copied one is nearly all of the way."""
    found = recorded[DIGITS]
    text = (
        f"the largest step is {spread(found(WALK))} times the mean one; of a sampler that copied {spread(found(FADE))}"
    )
    return Finding(text, "confirmed" if max(found(WALK)) < 2 else "refuted")


def beyond_random(recorded: Recorded) -> Finding:
    """Whether trained filters gather more of the gradient than random ones."""
    found = recorded[DIGITS]
    apart = difference(found(SEEN), found(RANDOM))
    text = f"the strongest tenth of the pixels has {spread(found(SEEN), 1, 100)} % of the gradient's energy, of random "
    text += f"weights {spread(found(RANDOM), 1, 100)} %: {apart.told(3)}"
    return Finding(text, {1: "confirmed", -1: "refuted", 0: "open"}[apart.sign])


def dropped(recorded: Recorded) -> Finding:
    """Whether dropping the maps that predict a stroke removes more of it than dropping random ones."""
    before, after, random = (recorded[DIGITS](score) for score in DROPPED)
    apart = difference(after, random)
    text = (
        f"found in {spread(before, 1, 100)} % of the places, then in {spread(after, 1, 100)} %, without random maps in "
    )
    text += f"{spread(random, 1, 100)} %"
    return Finding(text, {1: "refuted", -1: "confirmed", 0: "open"}[apart.sign])


def arithmetic(recorded: Recorded) -> Finding:
    """Whether 9 - 4 + 1 is the same digit in every seed, and most of its noisy neighbours are."""
    classes, same, pixels = (recorded[DIGITS](score) for score in SUMS)
    told = ", ".join(f"{value:.0f}" for value in classes)
    text = f"9 - 4 + 1 makes {told}; {spread(same, 0, 100)} % of its neighbours are that, too; sums of pixels "
    text += ", ".join(f"{value:.0f}" for value in pixels)
    return Finding(text, "confirmed" if set(classes) == {WANTED} and mean(same) > 0.5 else "open")


def saturating(recorded: Recorded) -> Finding:
    """Whether log(1 - D) makes the worse digits after as many steps."""
    other, minimax = recorded[DIGITS](FD), recorded["digits/minimax"](FD)
    apart = difference(minimax, other)
    text = f"FD {spread(minimax, 1)}, with log D {spread(other, 1)}: {apart.told(1)}"
    return Finding(text, {1: "confirmed", -1: "refuted", 0: "open"}[apart.sign])


def picture(recorded: Recorded) -> Figure | None:
    if "features" not in recorded:
        return None
    figure = Figure(figsize=(5, 3), layout="constrained")
    panel = figure.subplots()
    values = [100 * recorded["features"](f"dcgan.svm_features:accuracy_{kind}")[0] for kind in FEATURES]
    bars = panel.barh(FEATURES[::-1], values[::-1], color=["0.7", "0.7", "0.7", "#08519c"])
    panel.bar_label(bars, fmt="%.1f", padding=3)
    panel.axvline(82.8, color="#08519c", linestyle=":")
    panel.set(xlabel="test accuracy, %; dotted: published, learned on ImageNet", xlim=(0, 100))
    panel.spines[["top", "right"]].set_visible(False)
    return figure


ON_DIGITS: dict[str, tuple[str, Callable[[Recorded], Finding]]] = {
    "Walks in the latent space are smooth, so that nothing was memorised": ("Section 6.1", smooth),
    "The discriminator's last features answer to parts of what is seen, unlike random ones": (
        "Section 6.2",
        beyond_random,
    ),
    "Dropping the features that predict an object removes it": ("Section 6.3.1", dropped),
    "Sums of latents are sums of concepts": ("Section 6.3.2", arithmetic),
}
CLAIMS = [
    Claim(
        says="An L2-SVM on them is better than on k-means features",
        where="Section 5.1, Table 1",
        rows=("features",),
        judge=features,
    ),
    Claim(says="The discriminator learns features", where="Section 5.1", rows=("features",), judge=learned),
    Claim(
        says="With 1,000 labels of SVHN it is the best",
        where="Section 5.2, Table 2",
        lack="SVHN's files are not to be had here",
    ),
    *(Claim(says=says, where=where, rows=(DIGITS,), judge=judge) for says, (where, judge) in ON_DIGITS.items()),
    Claim(
        says="Descending log(1 - D) is inefficient, and log D is not",
        where="Notes 004, Section 2.7",
        rows=("digits/*",),
        judge=saturating,
    ),
]
NOTES = ""

if __name__ == "__main__":
    main(PAPER, __doc__ or "", ROWS, TABLES)
