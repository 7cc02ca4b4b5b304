"""RMT's claims (after arXiv 2001.08370), with the published sizes: K = 10, N = 200, m = 150, 500 simulations.

    python benchmarks/claims/rmt.py --data DATA --rows simulations    # hours; start again to go on
    python benchmarks/claims/rmt.py --record

BigGAN's and ResNet's weights are not to be had here, so that the experiments of Section 6 are made with the digits of
Section 7, and with other kinds of samplers: a DCGAN and VGrow's, whose samples `mnist_cnn` sorts into classes, and
drifting's.
"""

from __future__ import annotations

from functools import cache
from statistics import mean

import numpy as np
from drawing import plain
from ledger import LEVEL, Claim, Finding, Recorded, spread
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rows import Row, main
from scipy import stats

PAPER = "rmt"
TITLE = "RMT: Gram spectra of GAN features"
PICTURE = "Distance of Gram spectra under other laws of z, and from normal features, beside chance's"
SIZES = 'encoder = { use = "mnist_cnn" }, K = 10, N = 200, m = 150'
SORTED = f'{SIZES}, classifier = {{ use = "mnist_cnn" }}'
REPEATS = 500


def analyses(sizes: str) -> str:
    return f'analyze=[{{ use = "rmt.spectrum", {sizes} }}, {{ use = "rmt.simulations", {sizes}, S = {REPEATS} }}]'


SPECTRUM = tuple(f"rmt.spectrum:{name}{kind}" for name in ("ks", "normal_ks") for kind in ("", "_chance", "_p"))
SIMULATIONS = tuple(
    f"rmt.simulations:{name}_{of}"
    for of in ("gan", "rotated")
    for name in (
        *(f"{test}_rejects" for test in ("shapiro", "anderson", "ks", "welch")),
        *(f"{effect}_largest" for effect in ("skewness", "excess_kurtosis", "smd")),
        "sd_ratio_furthest",
    )
)
ROTATION = ("rmt.simulations:rotation_rejects", "rmt.simulations:rotation_smd_largest")
TAIL, NORMAL, HEAVY, TAIL_P = (f"rmt.concentration:q_projections{of}" for of in ("", "_normal", "_student", "_p"))
CONCENTRATION = (TAIL, NORMAL, HEAVY, TAIL_P, "rmt.concentration:lipschitz_empirical_max")
LAWS = {
    "student_t(nu=5)": "Student's t, scaled",
    "equicorrelated(rho=0.5)": "correlated, rho = .5",
    "uniform(low=-1, high=1)": "uniform on (-1, 1)",
    "bernoulli(p=0.5)": "Bernoulli",
    "uniform(low=0, high=1)": "uniform on (0, 1)",
    "equicorrelated(rho=1)": "correlated, rho = 1",
}
WEIGHTS = {"weights_one_layer": "the middle layer", "weights_all_layers": "all layers"}
KINDS = {
    "mlp": ("rmt_mnist", "dataset.root=DATA", SIZES, 30_000),
    "dcgan": ("dcgan_mnist5k", "keep_best", SORTED, 2_000),
    "vgrow": ("vgrow_mnist5k", "", SORTED, 250),
    "drift": ("drift_mnist5k", "", SIZES, 1_500),
}


def simulations(kind: str) -> Row:
    recipe, word, sizes, steps = KINDS[kind]
    words = (*(["~train.keep_best"] if word == "keep_best" else [word] if word else []), analyses(sizes))
    return Row(
        recipe=recipe,
        words=words,
        steps=steps,
        seeds=3,
        scores=(*SPECTRUM, *SIMULATIONS, *ROTATION),
    )


ROWS = {
    **{f"simulations/{kind}": simulations(kind) for kind in KINDS},
    "laws/mlp": Row(
        recipe="rmt_noise_laws",
        steps=4_000,
        seeds=3,
        scores=(
            *(f"rmt.noise_laws/invariance_z[{law}].{of}" for law in LAWS for of in ("ks_ratio", "ks_p")),
            "rmt.noise_laws:t_ks_ratio_most",
            "rmt.noise_laws:mixture_ks_p_least",
            "rmt.noise_laws:pairs",
        ),
    ),
    "weights/mlp": Row(
        recipe="rmt_weights",
        steps=4_000,
        seeds=3,
        scores=tuple(
            f"{name}:{score}"
            for name in WEIGHTS
            for score in ("ks", "ks_trained", "ks_p", "mixture_resampled_ks", "mixture_resampled_ks_chance")
        ),
    ),
    "concentration/mlp": Row(
        recipe="rmt_mnist5k",
        words=(f'analyze=[{{ use = "rmt.concentration", {SIZES} }}]',),
        steps=4_000,
        seeds=3,
        scores=CONCENTRATION,
    ),
    "biggan/random": Row(recipe="rmt_biggan256", steps=0, scores=SPECTRUM),
}
TABLES = [
    (
        "KS distances of spectra: of the features from their mixture, beside what normal features have, and from "
        "normal features, beside chance; eigenvalues 2 to 6 whose normality Shapiro and Wilk's test rejects in 500 "
        "repeats (Holm, .05); the largest skewness and excess kurtosis (standard errors .11 and .22).",
        "*",
        {
            "KS": (SPECTRUM[0], 3, 1.0),
            "normal": (SPECTRUM[1], 3, 1.0),
            "from normal": (SPECTRUM[3], 3, 1.0),
            "chance": (SPECTRUM[4], 3, 1.0),
            "rejected": (SIMULATIONS[0], 1, 1.0),
            "skewness": (SIMULATIONS[4], 2, 1.0),
            "excess kurtosis": (SIMULATIONS[5], 2, 1.0),
        },
    ),
]


def kinds(recorded: Recorded) -> list[str]:
    return [kind for kind in KINDS if f"simulations/{kind}" in recorded]


def alike(recorded: Recorded) -> Finding:
    """Whether the MLP GAN's features are no further from their mixture than normal ones from theirs, in any seed."""
    told = []
    for kind in kinds(recorded):
        found = recorded[f"simulations/{kind}"]
        told.append(f"{kind} {spread(found(SPECTRUM[0]), 3)} (normal features {spread(found(SPECTRUM[1]), 3)})")
    found = recorded["simulations/mlp"]
    near = [a <= b for a, b in zip(found(SPECTRUM[0]), found(SPECTRUM[1]), strict=True)]
    return Finding("KS " + ", ".join(told), "confirmed" if all(near) else "refuted" if not any(near) else "open")


def exactly_alike(recorded: Recorded) -> Finding:
    """Refuted where the exact test says in every seed of the MLP GAN that features are not normal within a class."""
    told = []
    for kind in kinds(recorded):
        found = recorded[f"simulations/{kind}"]
        told.append(f"{kind} {spread(found(SPECTRUM[3]), 3)} (chance {spread(found(SPECTRUM[4]), 3)})")
    p = recorded["simulations/mlp"](SPECTRUM[5])
    text = f"KS from normal features: {', '.join(told)}; p at most {max(p):.2g} in {len(p)} MLP GANs"
    return Finding(text, "refuted" if max(p) <= 0.05 else "open", "not rejected")


def concentrated(recorded: Recorded) -> Finding:
    """Refuted where random projections have surely heavier tails than normal features' in every GAN."""
    found = recorded["concentration/mlp"]
    text = (
        f"tails exp(-t^q) have q = {spread(found(TAIL))}, of normal features {spread(found(NORMAL))}, of Student's t "
        f"{spread(found(HEAVY))}; p {', '.join(f'{p:.2f}' for p in found(TAIL_P))}; features move at most "
        f"{spread(found(CONCENTRATION[4]), 1)} times as far as z"
    )
    return Finding(text, "refuted" if max(found(TAIL_P)) <= LEVEL else "open", "not rejected in every GAN")


def laws_of_z(recorded: Recorded) -> Finding:
    """Refuted where the spectrum differs in every GAN under each of the paper's laws whose first moments differ."""
    found = recorded["laws/mlp"]
    ratio = {law: found(f"rmt.noise_laws/invariance_z[{law}].ks_ratio") for law in LAWS}
    told = ", ".join(f"{words} {spread(ratio[law], 1)}" for law, words in LAWS.items())
    worst = max(max(found(f"rmt.noise_laws/invariance_z[{law}].ks_p")) for law in list(LAWS)[2:])
    text = f"KS from the spectrum under N(0, I), over chance's: {told}; p of the last four at most {worst:.2f}"
    return Finding(text, "refuted" if worst <= 0.05 else "open", "not rejected under every law")


def own_mixtures(recorded: Recorded) -> Finding:
    """The smallest p of all pairs of laws, beside what is expected of so many."""
    found = recorded["laws/mlp"]
    least, pairs = found("rmt.noise_laws:mixture_ks_p_least"), found("rmt.noise_laws:pairs")[0]
    text = f"the smallest two-sided p of {pairs:.0f} pairs of laws is {spread(least)}, where one in twenty is below .05"
    return Finding(text, "refuted" if max(least) * pairs <= 0.05 else "open", "not rejected after correction")


def laws_of_t(recorded: Recorded) -> Finding:
    found = recorded["laws/mlp"]
    most = found("rmt.noise_laws:t_ks_ratio_most")
    text = (
        f"mixtures' spectra with ±1 or Student's t are at most {spread(most)} times as far apart as independent ones "
    )
    text += "with normal t, under any law of z"
    return Finding(text, "confirmed" if max(most) < 1.5 else "open")


@cache
def power(effect: str, repeats: int = REPEATS) -> float:
    """How often Shapiro and Wilk's test finds, at .01 (.05 over five), one effect in so many repeats."""
    draw = np.random.default_rng(0)
    if effect == "skewness .3":
        shape = (2 / 0.3) ** 2  # a gamma law's skewness is 2 / sqrt(shape)
        samples = draw.gamma(shape, size=(300, repeats))
    else:  # Student's t has excess kurtosis 6 / (nu - 4)
        samples = draw.standard_t(4 + 6 / 0.5, size=(300, repeats))
    return float(np.mean([stats.shapiro(sample).pvalue < 0.01 for sample in samples]))


def normal_over_repeats(recorded: Recorded) -> Finding:
    """Confirmed where no test rejects in any MLP GAN; refuted where most are rejected and the control's are not."""
    told = []
    for kind in kinds(recorded):
        found = recorded[f"simulations/{kind}"]
        told.append(f"{kind} {spread(found(SIMULATIONS[0]), 1)} (skewness {spread(found(SIMULATIONS[4]))})")
    found = recorded["simulations/mlp"]
    rejected, control = found(SIMULATIONS[0]), found(SIMULATIONS[8])
    text = (
        f"of 5 eigenvalues Shapiro and Wilk reject: {', '.join(told)}; of normal features {mean(control):.1f}. In 500 "
        f"repeats a skewness of .3 is found {100 * power('skewness .3'):.0f} % of the time, an excess kurtosis of .5 "
        f"{100 * power('kurtosis .5'):.0f} %"
    )
    odd = mean(rejected) > 2.5 > mean(control)
    return Finding(text, "refuted" if odd else "open" if any(rejected) else "confirmed")


def weights(recorded: Recorded) -> Finding:
    found = recorded["weights/mlp"]
    told = [
        f"{words} {spread(found(f'{name}:ks'), 3)} (other z alone {spread(found(f'{name}:ks_trained'), 3)})"
        for name, words in WEIGHTS.items()
    ]
    worst = max(value for name in WEIGHTS for value in found(f"{name}:ks_p"))
    text = f"KS of the spectra with trained and with resampled weights: {', '.join(told)}; p at most {worst:.2f}"
    return Finding(text, "refuted" if worst <= 0.05 else "open", "not rejected in every GAN")


def picture(recorded: Recorded) -> Figure | None:
    """How far spectra are from each other, beside chance: under laws of z, and from normal features; a point a GAN."""
    draw = [name for name, there in ((_laws, "laws/mlp" in recorded), (_kinds, kinds(recorded))) if there]
    if not draw:
        return None
    figure = Figure(figsize=(5.5 * len(draw), 3.2), layout="constrained")
    for panel, paint in zip(figure.subplots(1, len(draw), squeeze=False)[0], draw, strict=True):
        paint(panel, recorded)
        plain(panel)
    return figure


def _laws(panel: Axes, recorded: Recorded) -> None:
    found = recorded["laws/mlp"]
    for y, law in enumerate(reversed(LAWS)):
        ratios = found(f"rmt.noise_laws/invariance_z[{law}].ks_ratio")
        panel.plot(ratios, [y] * len(ratios), "o", color="#08519c", alpha=0.8)
    panel.axvline(1, color="0.45", linestyle=":", linewidth=1.2)
    panel.set(xscale="log", yticks=range(len(LAWS)), yticklabels=[*LAWS.values()][::-1])
    panel.set(xlabel="KS from the spectrum under z ~ N(0, I), over chance's (dotted)")


def _kinds(panel: Axes, recorded: Recorded) -> None:
    there = kinds(recorded)
    for i, kind in enumerate(there):
        found = recorded[f"simulations/{kind}"]
        for score, colour, label, shift in ((3, "#08519c", "features", -0.12), (4, "0.55", "normal features", 0.12)):
            values = found(SPECTRUM[score])
            panel.plot([i + shift] * len(values), values, "o", color=colour, label=label if i == 0 else None, alpha=0.8)
    panel.set(xticks=range(len(there)), xticklabels=there, xlim=(-0.6, len(there) - 0.4), ylim=(0, None))
    panel.set_ylabel("KS from normal features")
    panel.legend(frameon=False)


CLAIMS = [
    Claim(
        says="Spectra of MNIST features and of the mixture of their means and covariances look the same",
        where="Section 7.3, Figure 7 (a)",
        rows=("simulations/mlp",),
        judge=alike,
    ),
    Claim(
        says="They have the same distribution",
        where="Section 7.3",
        rows=("simulations/mlp",),
        judge=exactly_alike,
    ),
    Claim(
        says="Eigenvalues 2 to 6 are normal over 500 simulations",
        where="Section 7.4, Figure 7 (b, c)",
        rows=("simulations/mlp",),
        judge=normal_over_repeats,
    ),
    Claim(
        says="Random projections of features have tails as light as those of normal features",
        where="Sections 1 and 2 rest on the concentration of z and on Lipschitz networks",
        rows=("concentration/mlp",),
        judge=concentrated,
        ours=True,
    ),
    Claim(
        says="The spectrum is invariant to the law of z",
        where="Section 6.3; there of BigGAN",
        rows=("laws/mlp",),
        judge=laws_of_z,
    ),
    Claim(
        says="Under each law of z it is that of the mixture of this law's own moments",
        where="Figures 1 to 3; there of BigGAN",
        rows=("laws/mlp",),
        judge=own_mixtures,
    ),
    Claim(
        says="It is that of a model with ±1 for t, too",
        where="Section 6.4, Figures 4 and 5; there of BigGAN",
        rows=("laws/mlp",),
        judge=laws_of_t,
    ),
    Claim(
        says="It is invariant to the exact weights",
        where="Section 8, Figure 8; there of BigGAN",
        rows=("weights/mlp",),
        judge=weights,
    ),
    Claim(
        says="All of this with BigGAN-deep at 256 px and ResNet-50, VGG16 and DenseNet-201",
        where="Section 6, Figures 1 to 5, 8",
        lack="the published networks' weights are not to be had",
    ),
]
NOTES = """\
Verdicts on MNIST's claims are of the MLP GAN; the other samplers stand beside it for comparison, and the classes of a
DCGAN and of VGrow are what `mnist_cnn` takes them for. Student's t is ours. A t of ±1 has the covariance of a normal
one, although Section 6.4 says that it differs.
"""

if __name__ == "__main__":
    main(PAPER, __doc__ or "", ROWS, TABLES)
