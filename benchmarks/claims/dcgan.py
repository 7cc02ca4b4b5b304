"""DCGAN's claims (Radford et al. 2015, as notes tell them): features, walks, dropped features, each guideline.

    python benchmarks/claims/dcgan.py --rows digits
    python benchmarks/claims/dcgan.py --rows features --data DATA     # hours; start again to go on
    python benchmarks/claims/dcgan.py --record

Rows `digits` are recipes/dcgan_mnist5k.toml, as the guidelines have it, with the notes' other loss, and against one of
the guidelines; `gradients` how hard both losses pull the sampler on the way; `features` the discriminator of the
feature experiment, trained on CIFAR-10 instead of ImageNet: with 32 maps and 10,000 labels, and at the published 128
with all 50,000.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import mean

from ledger import Claim, Finding, Judge, Recorded, against, change, judged, spread
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rows import Row, main
from scipy import special, stats
from scipy.integrate import quad

PAPER = "dcgan"
TITLE = "DCGAN: unsupervised representation learning"
PICTURE = "What an L2-SVM makes of the discriminator's features, of an untrained one's, k-means' and pixels"
FD = "frechet:FD(mnist_cnn.hidden)"
WALK, FADE = "dcgan.latent_walk:linear_jump_ratio", "dcgan.latent_walk:cross_fade_neighbour_jump_ratio"
LENGTH = "dcgan.latent_walk:linear_length_ratio"
SEEN, RANDOM = "dcgan.guided_backprop:concentration", "dcgan.guided_backprop:concentration_random"
DROPPED = tuple(f"dcgan.drop_feature:found_{when}" for when in ("before", "after", "random"))
CHANGED = tuple(f"dcgan.drop_feature:change_{where}" for where in ("inside_after", "outside_after", "outside_random"))
DISTANCE = "dcgan.value_function:distance_to_optimal"
BEST = "dcgan.value_function:value_optimal"
VALUES = ("dcgan.value_function:value", "dcgan.value_function:value_train")
PULLS = {name: f"dcgan.sampler_gradient:gradient_{name}" for name in ("minimax", "nonsaturating")}
FEATURES = ("discriminator", "random", "kmeans", "raw")
PUBLISHED = 0.828
ACCURACY = tuple(f"dcgan.svm_features:accuracy_{kind}" for kind in FEATURES)
OTHERWISE = {
    "minimax": ("loss log(1 - D)", ("objective.loss=minimax",)),
    "beta1_0.9": (
        "momentum .9",
        tuple(f"optimizer.{who}.betas=[0.9, 0.999]" for who in ("sampler", "discriminator")),
    ),
    "no_batch_norm": (
        "no batch norm",
        tuple(f"{who}.use_batch_norm=false" for who in ("sampler", "discriminator")),
    ),
    "norm_ends": ("batch norm at the ends", tuple(f"{who}.norm_ends=true" for who in ("sampler", "discriminator"))),
    "mean_head": ("mean over pixels", ("discriminator.head=mean",)),
    "relu": ("ReLU in D", ("discriminator.slope=0",)),
    "pooling": ("pooling", ("sampler.upsample=nearest", "discriminator.downsample=max")),
}
"""What is not as the guidelines have it, in words and as overrides."""

ROWS = {
    "digits/nonsaturating": Row(
        recipe="dcgan_mnist5k",
        words=("~train.keep_best",),
        steps=2_000,
        seeds=3,
        scores=(FD, WALK, FADE, LENGTH, SEEN, RANDOM, *DROPPED, *CHANGED, *VALUES),
    ),
    **{
        f"digits/{name}": Row(
            recipe="dcgan_mnist5k",
            words=(
                "~train.keep_best",
                *words,
                'analyze=[{ use = "frechet", encoder = { use = "mnist_cnn", layer = "hidden" } }]',
            ),
            steps=2_000,
            every=500,
            seeds=3,
            scores=(FD,),
        )
        for name, (_, words) in OTHERWISE.items()
    },
    "gradients": Row(
        recipe="dcgan_mnist5k",
        words=("~train.keep_best", 'analyze=[{ use = "dcgan.sampler_gradient" }]'),
        steps=2_000,
        every=100,
        seeds=3,
        scores=(*PULLS.values(), "dcgan.sampler_gradient:probability"),
    ),
    "game": Row(
        recipe="dcgan_value_function",
        steps=4_000,
        every=1_000,
        seeds=3,
        scores=(*VALUES[:1], BEST, DISTANCE, "dcgan.value_function:accuracy"),
    ),
    "features/32": Row(
        recipe="dcgan_svm_features",
        words=("dataset.root=DATA", "sampler.width=32", "discriminator.width=32"),
        steps=1_200,
        seeds=3,
        scores=ACCURACY,
    ),
    "features/128": Row(
        recipe="dcgan_svm_features",
        words=("dataset.root=DATA", "~analyze.0.train_samples"),
        steps=1_200,
        scores=ACCURACY,
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
        "features/*",
        {kind: (score, 1, 100.0) for kind, score in zip(FEATURES, ACCURACY, strict=True)},
    ),
]
DIGITS = "digits/nonsaturating"
Law = Callable[[float], float]
"""A density on the line."""


def features(kind: str) -> Judge:
    """Confirmed where the discriminator's are surely the better, refuted where surely the worse; seed by seed."""

    def judge(recorded: Recorded) -> Finding:
        own, other = (recorded["features/32"](f"dcgan.svm_features:accuracy_{one}") for one in ("discriminator", kind))
        apart = change(own, other)
        text = f"{spread(own, 1, 100)} %, {kind} {spread(other, 1, 100)} %: {apart.told(3)}"
        return Finding(text, judged(apart, 1))

    return judge


def published(recorded: Recorded) -> Finding:
    """Confirmed where all 50,000 labels give 82.8 % to within a point or better, else refuted: one network."""
    found = recorded["features/128"](ACCURACY[0])
    text = f"{spread(found, 1, 100)} %, published {100 * PUBLISHED:.1f} % of features learned on ImageNet"
    return Finding(text, "confirmed" if mean(found) >= PUBLISHED - 0.01 else "refuted")


def smooth(recorded: Recorded) -> Finding:
    """Confirmed where a walk's largest step is below twice its mean one in each seed, refuted where in none.

    A mean over six walks of 64 points. Between images that are copied one step is nearly all of the way.
    """
    found = recorded[DIGITS]
    text = (
        f"the largest step is {spread(found(WALK))} times the mean one, of a sampler that copied {spread(found(FADE))}"
    )
    return Finding(text, "confirmed" if max(found(WALK)) < 2 else "refuted" if min(found(WALK)) >= 2 else "open")


def beyond_random(recorded: Recorded) -> Finding:
    """Confirmed where they surely gather more of the gradient than random ones, refuted where less; seed by seed."""
    found = recorded[DIGITS]
    apart = change(found(SEEN), found(RANDOM))
    text = f"the strongest tenth of the pixels has {spread(found(SEEN), 1, 100)} % of the gradient's energy, of random "
    text += f"weights {spread(found(RANDOM), 1, 100)} %: {apart.told(3)}"
    return Finding(text, judged(apart, 1))


def dropped(recorded: Recorded) -> Finding:
    """Confirmed where fewer than half remain in every seed, and surely fewer than without as many random maps.

    Refuted where more than half remain in every seed.
    """
    before, after, random = (recorded[DIGITS](score) for score in DROPPED)
    apart = change(after, random)
    text = (
        f"found in {spread(before, 1, 100)} % of the places, then in {spread(after, 1, 100)} %, without as many random "
    )
    text += f"maps in {spread(random, 1, 100)} %: {apart.told(3)}; pixels change by "
    inside, outside, other = (spread(recorded[DIGITS](score)) for score in CHANGED)
    text += f"{inside} there, by {outside} elsewhere, where without random maps by {other}"
    left = [a / b for a, b in zip(after, before, strict=True)]
    removed, kept = max(left) < 0.5 and apart.sign < 0, min(left) > 0.5
    return Finding(text, "confirmed" if removed else "refuted" if kept else "open")


def worse(name: str) -> Judge:
    """Confirmed where the digits of as many steps are surely worse so, refuted where surely better; seed by seed."""

    def judge(recorded: Recorded) -> Finding:
        kept, other = recorded[DIGITS](FD), recorded[f"digits/{name}"](FD)
        apart = change(other, kept)
        text = f"FD {spread(other, 1)}, as the guidelines have it {spread(kept, 1)}: {apart.told(1)}"
        return Finding(text, judged(apart, 1))

    return judge


def vanishes(recorded: Recorded) -> Finding:
    """Confirmed where it is surely less than a tenth of that of log D at the first look, refuted where surely more."""
    found = recorded["gradients"]
    first = found.looked(PULLS["minimax"])[0]
    minimax, other = (found(score, first) for score in PULLS.values())
    ratio = [minimax.by_seed[seed] / other.by_seed[seed] for seed in minimax.seeds]
    text = f"after {first} steps {spread(minimax)}, of log D {spread(other)}: {spread(ratio, 3)} of it"
    side = against(ratio, 0.1)
    return Finding(text, "confirmed" if side < 0 else "refuted" if side > 0 else "open")


def towards(name: str, sign: int) -> Judge:
    """Confirmed where it is surely so at the last look against the first, refuted where surely the other way."""

    def judge(recorded: Recorded) -> Finding:
        found = recorded["gradients"]
        first = found.looked(PULLS[name])[0]
        before, after = found(PULLS[name], first), found(PULLS[name])
        apart = change(after, before)
        text = f"from {spread(before)} after {first} steps to {spread(after)}: {apart.told()}"
        return Finding(text, judged(apart, sign))

    return judge


def best_discriminator(recorded: Recorded) -> Finding:
    """Confirmed where mean |D - p / (p + q)| is surely below a tenth over the second half of training; else refuted.

    p is known and q estimated.
    """
    found = recorded["game"]
    looks = found.looked(DISTANCE)
    away = found.averaged(DISTANCE, looks[len(looks) // 2 - 1 :])
    side = against(away, 0.1)
    text = f"mean |D - p / (p + q)| is {spread(away, 3)}; V of D {spread(found(VALUES[0]), 3)}, of the best "
    text += spread(found(BEST), 3)
    return Finding(text, "confirmed" if side < 0 else "refuted" if side > 0 else "open")


def coin(recorded: Recorded) -> Finding:
    """Where the sampler has all modes: confirmed where each tells real from generated to within .05 as a coin does.

    Refuted where none does.
    """
    found = recorded["game"]
    right = found("dcgan.value_function:accuracy")
    text = f"{spread(right, 1, 100)} % told right; the best discriminator's value is {spread(found(BEST))}, where a "
    text += "sampler of all 8 modes leaves -1.39, and one of two -.63"
    if max(found(BEST)) > -1.3:
        return Finding(text, "open", "the sampler does not draw what the data is")
    near = [abs(one - 0.5) < 0.05 for one in right]
    return Finding(text, "confirmed" if all(near) else "open" if any(near) else "refuted")


# ------------------------------------------------------------------ what the notes say of divergences


def gaussians(mean: float) -> tuple[Law, Law]:
    """Densities of N(mean, 1) and N(0, 1)."""
    return stats.norm(mean, 1).pdf, stats.norm(0, 1).pdf


def integral(function: Law) -> float:
    return float(quad(function, -20, 25, limit=400, points=(-5, 0, 3, 5, 12))[0])  # where no density is 0 in float64


def kl(p: Law, q: Law) -> float:
    return integral(lambda x: float(special.rel_entr(p(x), q(x))))


def js(p: Law, q: Law) -> float:
    def middle(x: float) -> float:
        return (p(x) + q(x)) / 2

    return (kl(p, middle) + kl(q, middle)) / 2


def value(p: Law, q: Law, tilt: float = 0.0) -> float:
    """V of the best discriminator, or of one whose logit is `tilt` above it."""

    def at(x: float) -> float:
        u, v = p(x), q(x) * math.exp(-tilt)
        return float(special.xlogy(p(x), u / (u + v)) + special.xlogy(q(x), v / (u + v))) if u + v else 0.0

    return integral(at)


def range_of_kl(recorded: Recorded) -> Finding:
    """Refuted where one of two Gaussians has more."""
    found = kl(*gaussians(3.0))
    return Finding(f"KL(N(3, 1), N(0, 1)) = {found:.3f}", "refuted" if found > 1 else "open")


def range_of_js(recorded: Recorded) -> Finding:
    """Confirmed where it is 0 of equal laws, rises to log 2 as they part, and is the same both ways; else refuted."""
    found = {mean: js(*gaussians(mean)) for mean in (0.0, 1.0, 3.0, 12.0)}
    back = js(*gaussians(3.0)[::-1])
    text = ", ".join(f"{mean:.0f}: {one:.6f}" for mean, one in found.items())
    rising = [*found.values()] == sorted(found.values())
    fine = rising and abs(found[0.0]) < 1e-9 and abs(found[12.0] - math.log(2)) < 1e-6 and abs(back - found[3.0]) < 1e-9
    return Finding(
        f"of N(m, 1) and N(0, 1) at m = {text}; log 2 = {math.log(2):.6f}", "confirmed" if fine else "refuted"
    )


def best_is_the_ratio(recorded: Recorded) -> Finding:
    """Confirmed where V falls as the logit is moved either way from that of p / (p + q); else refuted."""
    laws = gaussians(1.5)
    down, best, up = (value(*laws, tilt) for tilt in (-0.1, 0.0, 0.1))
    text = f"V {best:.6f} there, of N(1.5, 1) and N(0, 1), {down:.6f} and {up:.6f} at logits .1 below and above"
    return Finding(text, "confirmed" if max(down, up) < best else "refuted")


def value_is_js(recorded: Recorded) -> Finding:
    """Refuted where V of the best discriminator is not that to within 1e-6."""
    p, q = gaussians(1.5)
    best, one = value(p, q), js(p, q)
    text = f"V = {best:.6f} of N(1.5, 1) and N(0, 1); -2 log 2 + JS = {one - 2 * math.log(2):.6f}, "
    text += f"-2 log 2 + 2 JS = {2 * one - 2 * math.log(2):.6f}"
    return Finding(text, "confirmed" if abs(best - one + 2 * math.log(2)) < 1e-6 else "refuted")


def picture(recorded: Recorded) -> Figure | None:
    """A bar for each kind of features, a panel a width; a point a seed."""
    rows = {width: recorded[f"features/{width}"] for width in (32, 128) if f"features/{width}" in recorded}
    if not rows:
        return None
    figure = Figure(figsize=(4.5 * len(rows), 2.6), layout="constrained")
    for panel, (width, found) in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows.items(), strict=True):
        values = [[100 * value for value in found(score)] for score in ACCURACY[::-1]]
        bars = panel.barh(FEATURES[::-1], [*map(mean, values)], color=["0.8", "0.8", "0.8", "#9ecae1"])
        panel.bar_label(bars, fmt="%.1f", label_type="center")
        for y, seeds in enumerate(values):
            panel.plot(seeds, [y] * len(seeds), ".", color="#08519c")
        panel.axvline(100 * PUBLISHED, color="#08519c", linestyle=":")
        panel.set(title=f"{width} maps", xlabel="test accuracy, %; dotted: published", xlim=(0, 100))
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def glance(panel: Axes, recorded: Recorded) -> bool:
    """FD of digits by the guidelines, and without one of them; whether there is anything to draw."""
    words = {DIGITS: "by the guidelines", **{f"digits/{name}": said for name, (said, _) in OTHERWISE.items()}}
    rows = {said: recorded[name](FD) for name, said in words.items() if name in recorded}
    if len(rows) < 2:
        return False
    for y, values in enumerate(rows.values()):
        panel.plot(values, [y] * len(values), "o", color="#08519c" if y == 0 else "#d62728", alpha=0.8)
    panel.set(title="DCGAN: digits, equal steps", xlabel="FD", xscale="log")
    panel.set(yticks=range(len(rows)), yticklabels=rows, ylim=(len(rows) - 0.5, -0.5))
    return True


IN_SECTION_3 = "Section 3; notes, Section 3.1"
BY_THE_GUIDELINES = {
    "beta1_0.9": (
        "Training is better with Adam's first momentum at 0.5 than at 0.9",
        "Section 4; notes, Section 3.2",
    ),
    "no_batch_norm": ("Training is better with batch norm in both networks than without", IN_SECTION_3),
    "norm_ends": (
        "Training is better without batch norm on the sampler's output and the discriminator's input than with it",
        f"{IN_SECTION_3}, say that it is unstable",
    ),
    "mean_head": ("A logit of the last maps' means slows training down", IN_SECTION_3),
    "relu": ("Training is better with leaky ReLU in the discriminator than with ReLU", IN_SECTION_3),
    "pooling": (
        "Training is better with strides than with pooling in the discriminator and resizing in the sampler",
        IN_SECTION_3,
    ),
}
"""What goes against one of them: what is claimed of it, and where."""
CLAIMS = [
    Claim(
        says="With 1,000 labels of SVHN an L2-SVM on the discriminator's features is the best",
        where="Section 5.2, Table 2",
        lack="SVHN's files are not to be had",
    ),
    Claim(
        says="An L2-SVM on features of a discriminator that learned ImageNet beats one on k-means', on CIFAR-10",
        where="Section 5.1, Table 1",
        lack="ImageNet is not to be had",
    ),
    Claim(
        says="An Exemplar CNN's features beat those of a discriminator that learned ImageNet, on CIFAR-10",
        where="Section 5.1, Table 1",
        lack="nobody has its weights, and ImageNet is not to be had",
    ),
    Claim(
        says="Without the maps of an object images are blurrier",
        where="Section 6.3.1; notes, Section 3.4.3",
        lack="of digits of 32 pixels nobody can tell",
    ),
    Claim(
        says="Walks in the latent space are smooth",
        where="Section 6.1",
        rows=("digits/nonsaturating",),
        judge=smooth,
    ),
    Claim(
        says="The discriminator's last features answer to parts of what is seen, unlike random ones",
        where="Section 6.2",
        rows=("digits/nonsaturating",),
        judge=beyond_random,
    ),
    Claim(
        says="Dropping the maps that predict an object removes it",
        where="Section 6.3.1",
        rows=("digits/nonsaturating",),
        judge=dropped,
    ),
    Claim(
        says="Sums of latents are sums of concepts",
        where="Section 6.3.2",
        lack="no faces are at hand; of digits, strokes and leans could be added up, and were not yet",
    ),
    Claim(
        says="Descending log(1 - D) is inefficient, ascending log D is not",
        where="Notes, Section 2.7",
        rows=("digits/nonsaturating", "digits/minimax"),
        judge=worse("minimax"),
    ),
    Claim(
        says="At the beginning of training the gradient of log(1 - D) is almost 0",
        where="Notes, Section 2.7",
        rows=("gradients",),
        judge=vanishes,
    ),
    Claim(
        says="The gradient of log(1 - D) grows as samples get better",
        where="Notes, Section 2.7",
        rows=("gradients",),
        judge=towards("minimax", 1),
    ),
    Claim(
        says="The gradient of log D falls as samples get better",
        where="Notes, Section 2.7",
        rows=("gradients",),
        judge=towards("nonsaturating", -1),
    ),
    *(
        Claim(says=says, where=where, rows=(DIGITS, f"digits/{name}"), judge=worse(name))
        for name, (says, where) in BY_THE_GUIDELINES.items()
    ),
    Claim(
        says="A logit of the last maps' means makes training steadier",
        where="Section 3; notes, Section 3.1",
        lack="by the guidelines none of three seeds is unsteady here, so that there is nothing to mend",
    ),
    Claim(says="KL divergence ranges over [0, 1]", where="Notes, Section 2.2.1", judge=range_of_kl),
    Claim(
        says="JS divergence is symmetric and ranges over [0, log 2]", where="Notes, Section 2.2.2", judge=range_of_js
    ),
    Claim(
        says="The discriminator of the largest V is p / (p + q)",
        where="Notes, Section 2.4, eq. 7",
        judge=best_is_the_ratio,
    ),
    Claim(
        says="The largest V is -2 log 2 and the JS divergence of eq. 4",
        where="Notes, Section 2.5, eq. 8",
        judge=value_is_js,
    ),
    Claim(
        says="A trained discriminator comes near to the best one, p / (p + q)",
        where="Notes, Section 2.4",
        rows=("game",),
        judge=best_discriminator,
        hindsight=True,
    ),
    Claim(
        says="Where samples are as the data, a discriminator is right half of the time",
        where="Notes, Section 2.1",
        rows=("game",),
        judge=coin,
        hindsight=True,
    ),
    Claim(
        says="Features of the published 128 maps, learned on CIFAR-10 itself for 1,200 steps, are as good as published",
        where="Section 5.1, Table 1, of ImageNet",
        rows=("features/128",),
        judge=published,
        ours=True,
    ),
    *(
        Claim(
            says=f"Features of 32 maps, learned on CIFAR-10 itself for 1,200 steps, are better than {words}",
            where="Section 5.1 says so of ImageNet",
            rows=("features/32",),
            judge=features(kind),
            ours=True,
        )
        for kind, words in (("kmeans", "k-means'"), ("random", "those of the same network untrained"))
    ),
]
NOTES = """\
Sections are the paper's; *Notes* are reading notes on GANs and DCGAN, which our sources hold in its place. What they
say of divergences is computed by quadrature when this page is written: KL ranges over [0, inf), and eq. 8 needs twice
the JS divergence, as their eq. 4 has it. CIFAR-10's images were re-compressed as JPEG here.
"""

if __name__ == "__main__":
    main(PAPER, __doc__ or "", ROWS, TABLES)
