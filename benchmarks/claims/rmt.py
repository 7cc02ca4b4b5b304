"""RMT's claims (after arXiv 2001.08370), with the published sizes: K = 10, N = 200, m = 150, 500 simulations.

    python benchmarks/claims/rmt.py --rows digits
    python benchmarks/claims/rmt.py --rows published --data DATA    # hours; start again to go on
    python benchmarks/claims/rmt.py --record

BigGAN's and ResNet's weights are not to be had here, so that the experiments of Sections 6 and 8 are made with the
digits of Section 7. Rows `published` are its GAN on all of MNIST for 50 epochs; rows `digits` that GAN, narrower, and
other kinds of samplers on 4,500 digits: a DCGAN, VGrow's and drifting's. Each of these is asked everything. What those
without labels draw is sorted into classes by `mnist_cnn`, but under other laws of z and with other weights, where some
digits are no longer drawn: there it is one class (K = 1, N = 500, m = 330). Rows `photographs` have Section 6's K = 3,
N = 500 and m = 330, a CGAN on CIFAR-10 in BigGAN's place and EfficientNet-Lite0's features in that of ResNet-50's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatch
from functools import cache
from itertools import product
from statistics import mean

import attrs
import numpy as np
from drawing import plain
from ledger import LEVEL, Claim, Finding, Found, Judge, Recorded, TooFew, Values, Verdict, spread
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from rows import Row, main
from scipy import stats

PAPER = "rmt"
TITLE = "RMT: Gram spectra of GAN features"
PICTURE = "Distances of Gram spectra under other laws of z, with other weights, and from the mixture, over chance's"
ENCODER = 'encoder = { use = "mnist_cnn" }'
BY_CLASS = f"{ENCODER}, K = 10, N = 200, m = 150"
SORTED = f'{BY_CLASS}, classifier = {{ use = "mnist_cnn" }}'
AS_ONE = f"{ENCODER}, K = 1, N = 500, m = 330"
REPEATS = 500

SPECTRUM = tuple(f"rmt.spectrum:{name}{kind}" for name in ("ks", "normal_ks") for kind in ("", "_chance", "_p"))
EXACT = SPECTRUM[2]
"""Whether features are as far from their mixture as normal ones are from theirs, either way."""
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
LIPSCHITZ = "rmt.concentration:lipschitz_empirical_max"
CONCENTRATION = (TAIL, NORMAL, HEAVY, TAIL_P, LIPSCHITZ)
LAWS = {
    "student_t(nu=5)": ("Student's t, scaled", '{ use = "student_t", nu = 5.0 }'),
    "equicorrelated(rho=0.5)": ("correlated, rho = .5", '{ use = "equicorrelated", rho = 0.5 }'),
    "uniform(low=-1, high=1)": ("uniform on (-1, 1)", '{ use = "uniform", low = -1.0, high = 1.0 }'),
    "bernoulli(p=0.5)": ("Bernoulli", '{ use = "bernoulli", p = 0.5 }'),
    "uniform(low=0, high=1)": ("uniform on (0, 1)", '{ use = "uniform", low = 0.0, high = 1.0 }'),
    "equicorrelated(rho=1)": ("correlated, rho = 1", '{ use = "equicorrelated", rho = 1.0 }'),
}
"""Of z: name, words, option. Student's t has the moments of N(0, I), in which the others differ."""
STUDENT, *OTHERS = LAWS
SIGNS = "bernoulli(p=0.5)"
"""The law of t that is ±1 with mean 0 and variance 1, and that of z which is 0 or 1."""
ABOUT = 1.2
"""How many times as far as normal features are is called about as far."""
MIXED = {"normal": "normal", **{law: words for law, (words, _) in LAWS.items()}}
SHOWN = ("normal", "uniform(low=-1, high=1)", "bernoulli(p=0.5)")
"""Laws of z under which Figures 1 to 3 show spectra."""
LAWS_T = '{ use = "normal" }, { use = "bernoulli", p = 0.5 }, { use = "student_t", nu = 5.0 }'
WEIGHTS = {"weights_one_layer": "the middle layer", "weights_all_layers": "all layers"}


@attrs.frozen
class Kind:
    """A kind of GAN: recipe, length, middle layer, further words, whether it reads labels."""

    recipe: str
    steps: int
    layer: str
    words: tuple[str, ...] = ()
    labelled: bool = True

    @property
    def row(self) -> Row:
        by_class, as_one = (BY_CLASS, BY_CLASS) if self.labelled else (SORTED, AS_ONE)
        laws = ", ".join(['{ use = "normal" }', *(option for _, option in LAWS.values())])
        one, all_layers = WEIGHTS
        uses = (
            f'"rmt.spectrum", {by_class}',
            f'"rmt.simulations", {by_class}, S = {REPEATS}',
            f'"rmt.noise_laws", {as_one}, laws_z = [{laws}], laws_t = [{LAWS_T}], reference = 39, repeats = 19',
            f'"rmt.resample_weights", name = "{one}", {as_one}, layers = ["{self.layer}"]',
            f'"rmt.resample_weights", name = "{all_layers}", {as_one}',
            f'"rmt.concentration", {as_one}',
        )
        return Row(
            recipe=self.recipe,
            words=(*self.words, f"analyze=[{', '.join(f'{{ use = {use} }}' for use in uses)}]"),
            steps=self.steps,
            seeds=3,
            scores=(*SPECTRUM, *SIMULATIONS, *ROTATION, *OF_LAWS, *OF_WEIGHTS, *CONCENTRATION),
        )


def ratio_of(law: str) -> str:
    return f"rmt.noise_laws/invariance_z[{law}].ks_ratio"


def mixture_of(z: str, t: str, of: str) -> str:
    return f"rmt.noise_laws/pairs[{z} | {t}].{of}"


OF_LAWS = (
    *(f"rmt.noise_laws/invariance_z[{law}].{of}" for law in LAWS for of in ("ks_ratio", "ks_p")),
    *(mixture_of(law, "normal", of) for law in MIXED for of in ("ks", "ks_chance")),
    *(mixture_of(law, SIGNS, of) for law in ("normal", SIGNS) for of in ("ks", "ks_chance")),
)
OF_WEIGHTS = tuple(f"{name}:{score}" for name in WEIGHTS for score in ("ks", "ks_trained", "ks_p"))
KINDS = {
    "mlp": Kind("rmt_mnist5k", 4_000, "hidden.layers.6"),
    "dcgan": Kind("dcgan_mnist5k", 2_000, "blocks.0.0", ("~train.keep_best",), labelled=False),
    "vgrow": Kind("vgrow_mnist5k", 250, "blocks.1.conv1", labelled=False),
    "drift": Kind("drift_mnist5k", 1_500, "residuals.1.2"),
}
PUBLISHED = Kind("rmt_mnist", 30_000, "hidden.layers.6", ("dataset.root=DATA",))

ROWS = {
    "published/mlp": PUBLISHED.row,
    **{f"digits/{name}": kind.row for name, kind in KINDS.items()},
    "photographs/cgan": Row(
        recipe="cgan_cifar10",
        words=(
            *("dataset.root=DATA", "sampler.width=32", "discriminator.width=32"),
            'analyze=[{ use = "rmt.spectrum", encoder = { use = "efficientnet_lite0" }, K = 3, N = 500, m = 330 }]',
        ),
        steps=2_000,
        seeds=3,
        scores=SPECTRUM,
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
    (
        "KS of the spectrum under each law of z from that under N(0, I), over what independent samples of that have.",
        "*",
        {words: (f"rmt.noise_laws/invariance_z[{law}].ks_ratio", 1, 1.0) for law, (words, _) in LAWS.items()},
    ),
    (
        "KS of the spectra with trained and with resampled weights, beside what other z alone make.",
        "*",
        {
            f"{words}{more}": (f"{which}:ks{of}", 3, 1.0)
            for which, words in WEIGHTS.items()
            for more, of in (("", ""), (": other z", "_trained"))
        },
    ),
]


PAPERS = "published/mlp"
OTHERWISE = "digits/*"
EVERY = (PAPERS, OTHERWISE)


def gans(recorded: Recorded, *patterns: str) -> dict[str, Found]:
    """The recorded GANs of these rows, each over its seeds; by default all that were asked everything."""
    names = [name for name in ROWS if any(fnmatch(name, pattern) for pattern in patterns or EVERY)]
    return {name: recorded[name] for name in names if name in recorded}


def verdict(yes: bool, no: bool) -> Verdict:
    return "confirmed" if yes else "refuted" if no else "open"


def largest(p: Values) -> float:
    """Of all seeds that were run. TooFew where one of them has none."""
    if not p or len(p) < p.of:
        raise TooFew("a seed has no p value")
    return max(p)


def near(own: Sequence[float], normal: Sequence[float]) -> list[bool]:
    """Whether features are about as far from their mixture as normal ones are from theirs, seed by seed."""
    return [ratio <= ABOUT for ratio in ratios(own, normal)]


def alike(pattern: str) -> Judge:
    """Confirmed where features are at most 1.2 times as far from their mixture as normal ones, in every GAN.

    Refuted where they are further in every GAN.
    """

    def judge(recorded: Recorded) -> Finding:
        told, close = [], []
        for name, found in gans(recorded, pattern).items():
            own, normal = found(SPECTRUM[0]), found(SPECTRUM[1])
            nearer = "; nearer than those, exact p at most" if mean(own) < mean(normal) else "; exact p at most"
            told.append(
                f"{name} {spread(own, 3)} (normal features {spread(normal, 3)}{nearer} {max(found(EXACT)):.2g})"
            )
            close += near(own, normal)
        return Finding("KS " + ", ".join(told), verdict(all(close), not any(close)))

    return judge


def exactly_alike(pattern: str) -> Judge:
    """Refuted where the exact test says in every GAN that features are not normal in a class; no test confirms it."""

    def judge(recorded: Recorded) -> Finding:
        told, worst = [], 0.0
        for name, found in gans(recorded, pattern).items():
            told.append(f"{name} {spread(found(SPECTRUM[3]), 3)} (chance {spread(found(SPECTRUM[4]), 3)})")
            worst = max(worst, largest(found(SPECTRUM[5])))
        text = f"KS from normal features: {', '.join(told)}; p at most {worst:.2g}"
        return Finding(text, verdict(False, worst <= LEVEL), "not rejected in every GAN")

    return judge


def concentrated(recorded: Recorded) -> Finding:
    """Refuted where projections have heavier tails than normal features' in every GAN; no test confirms it."""
    told, worst = [], 0.0
    for name, found in gans(recorded).items():
        others = f"normal features {spread(found(NORMAL))}, Student's t {spread(found(HEAVY))}"
        moves = f"moves at most {spread(found(LIPSCHITZ), 1)} times as far as z"
        told.append(f"{name} {spread(found(TAIL))} ({others}; {moves})")
        worst = max(worst, largest(found(TAIL_P)))
    text = f"tails exp(-t^q) have q = {'; '.join(told)}; p at most {worst:.2g}"
    return Finding(text, verdict(False, worst <= LEVEL), "not rejected in every GAN")


def laws_of_z(recorded: Recorded) -> Finding:
    """Refuted where under one of the paper's laws it differs in every GAN (p = .05 in each); no test confirms it."""
    told, worst = [], dict.fromkeys(OTHERS, 0.0)
    for name, found in gans(recorded).items():
        means = [mean(found(ratio_of(law))) for law in OTHERS]
        student = spread(found(ratio_of(STUDENT)), 1)
        told.append(f"{name} {min(means):.1f} to {max(means):.1f} (Student's t, of the same moments, {student})")
        ps = {law: largest(found(f"rmt.noise_laws/invariance_z[{law}].ks_p")) for law in worst}
        worst = {law: max(p, ps[law]) for law, p in worst.items()}
    differ = [LAWS[law][0] for law, p in worst.items() if p <= LEVEL]
    text = f"KS from the spectrum under N(0, I), over chance's: {'; '.join(told)}; differs under: {', '.join(differ)}"
    return Finding(text, verdict(False, bool(differ)), "not rejected under any one in every GAN")


def own_mixtures(*laws: str) -> Judge:
    """Confirmed where features are at most 1.2 times as far from their mixture as normal ones, in every GAN, each law.

    Refuted where under one law they are further in every GAN.
    """

    def judge(recorded: Recorded) -> Finding:
        told, close = [], {law: list[bool]() for law in laws}
        for name, found in gans(recorded).items():
            pairs = {law: [found(mixture_of(law, "normal", of)) for of in ("ks", "ks_chance")] for law in laws}
            for law, pair in pairs.items():
                close[law] += near(*pair)
            each = ", ".join(f"{MIXED[law]} {spread(ratios(*pair))}" for law, pair in pairs.items())
            told.append(f"{name} {each}")
        text = f"KS to the mixture, over that of normal features: {'; '.join(told)}"
        return Finding(text, verdict(all(map(all, close.values())), not all(map(any, close.values()))))

    return judge


def signs_for_t(recorded: Recorded) -> Finding:
    """Confirmed where features are at most 1.2 times as far from the model with ±1 for t as normal ones, in every GAN.

    Refuted where they are further in every GAN. z is normal (Figure 4) and Bernoulli (Figure 5).
    """
    told, close = [], []
    for name, found in gans(recorded).items():
        pairs = {law: [found(mixture_of(law, SIGNS, of)) for of in ("ks", "ks_chance")] for law in ("normal", SIGNS)}
        told.append(f"{name} {', '.join(f'{MIXED[law]} {spread(ratios(*pair))}' for law, pair in pairs.items())}")
        close += [one for pair in pairs.values() for one in near(*pair)]
    text = f"KS to the model, over that of normal features: {'; '.join(told)}"
    return Finding(text, verdict(all(close), not any(close)))


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


def normal_over_repeats(pattern: str) -> Judge:
    """Confirmed where no test rejects in any GAN; refuted where in more seeds than chance has (p of .05).

    The five tests of a seed are one, at .05 (Holm): so many of the seeds are rejected by chance, and of the control.
    """

    def judge(recorded: Recorded) -> Finding:
        told = []
        seeds: list[bool] = []
        for name, found in gans(recorded, pattern).items():
            own, control = found(SIMULATIONS[0]), found(SIMULATIONS[8])
            shape = f"skewness {spread(found(SIMULATIONS[4]))}; normal features {mean(control):.1f}"
            told.append(f"{name} {spread(own, 1)} ({shape})")
            seeds += [count > 0 for count in own]
        p = float(stats.binomtest(sum(seeds), len(seeds), LEVEL, alternative="greater").pvalue)
        skewed, heavy = (f"{100 * power(effect):.0f} %" for effect in ("skewness .3", "kurtosis .5"))
        text = (
            f"of 5 eigenvalues Shapiro and Wilk reject: {', '.join(told)}; one at least in {sum(seeds)} of "
            f"{len(seeds)} seeds, p {p:.2g}. In {REPEATS} repeats they find a skewness of .3 {skewed} of the time, an "
            f"excess kurtosis of .5 {heavy}"
        )
        return Finding(text, verdict(not any(seeds), p <= LEVEL))

    return judge


def weights(which: str) -> Judge:
    """Refuted where the spectra differ in every GAN (p of .05 in each); no test confirms it."""

    def judge(recorded: Recorded) -> Finding:
        told, worst = [], 0.0
        for name, found in gans(recorded).items():
            other_z = ratios(found(f"{which}:ks"), found(f"{which}:ks_trained"))
            told.append(f"{name} {spread(other_z, 1)}")
            worst = max(worst, largest(found(f"{which}:ks_p")))
        text = f"KS of trained and resampled, over that of other z: {', '.join(told)}; p at most {worst:.2g}"
        return Finding(text, verdict(False, worst <= LEVEL), "not rejected in every GAN")

    return judge


def covariance_of_signs(recorded: Recorded) -> Finding:
    """Refuted where the mean of C^(1/2) t t' C^(1/2) over all t of ±1 is C to rounding."""
    root = np.random.default_rng(0).normal(size=(6, 6))
    signs = np.array([*product((-1.0, 1.0), repeat=6)]) @ root.T
    apart = float(np.abs(signs.T @ signs / len(signs) - root @ root.T).max())
    text = f"largest difference of the two covariances, of 6 dimensions and all 64 t: {apart:.1e}"
    return Finding(text, "refuted" if apart < 1e-12 else "confirmed")


# ------------------------------------------------------------------ the picture


def picture(recorded: Recorded) -> Figure | None:
    """How far spectra are from each other, over what chance makes: a panel a question, a point a GAN."""
    there = gans(recorded)
    if not there:
        return None
    figure = Figure(figsize=(12.5, 3.2), layout="constrained")
    for panel, question in zip(figure.subplots(1, 3), QUESTIONS, strict=True):
        ask(panel, there, question)
        plain(panel)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def glance(panel: Axes, recorded: Recorded) -> bool:
    """Spectra under other laws of z; whether there is anything to draw."""
    there, question = gans(recorded), "under other laws of z"
    if there:
        ask(panel, there, question)
        panel.set(title=f"RMT: spectra {question}")
    return bool(there)


def ask(panel: Axes, gans: Mapping[str, Found], question: str) -> None:
    """A line a setting, a point a GAN, a colour a kind."""
    ticks, values = QUESTIONS[question]
    for i, (name, found) in enumerate(gans.items()):
        shift = 0.14 * (i - (len(gans) - 1) / 2)
        for y, of in enumerate(values(found)):
            points = panel.plot(of, [y + shift] * len(of), "o", color=COLOURS[name], alpha=0.8, markersize=4)
        points[0].set_label(name)
    panel.axvline(1, color="0.45", linestyle=":", linewidth=1.2)
    panel.set(title=question, xscale="log", xlabel="KS, over chance's (dotted)")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set(yticks=range(len(ticks)), yticklabels=ticks, ylim=(len(ticks) - 0.5, -0.5))


def ratios(of: Sequence[float], over: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(of, over, strict=True)]


def other_laws(found: Found) -> Iterable[Sequence[float]]:
    return [found(ratio_of(law)) for law in LAWS]


def other_weights(found: Found) -> Iterable[Sequence[float]]:
    return [ratios(found(f"{which}:ks"), found(f"{which}:ks_trained")) for which in WEIGHTS]


def from_normal(found: Found) -> Iterable[Sequence[float]]:
    return [ratios(found(SPECTRUM[i]), found(SPECTRUM[i + 1])) for i in (0, 3)]


COLOURS = {
    "published/mlp": "#084594",
    "digits/mlp": "#4292c6",
    "digits/dcgan": "#31a354",
    "digits/vgrow": "#f0a30a",
    "digits/drift": "#d62728",
}
QUESTIONS: dict[str, tuple[list[str], Callable[[Found], Iterable[Sequence[float]]]]] = {
    "under other laws of z": ([words for words, _ in LAWS.values()], other_laws),
    "with other weights": ([*WEIGHTS.values()], other_weights),
    "of features": (["from their mixture", "from normal ones"], from_normal),
}

IN_SECTION_7 = {
    "Spectra of {} features and of the mixture of their means and covariances look the same": (
        "Section 7.3, Figure 7 (a)",
        alike,
    ),
    "The two spectra of {} features have the same distribution": ("Section 7.3", exactly_alike),
    "Eigenvalues 2 to 6 of {} features are normal over 500 simulations": (
        "Section 7.4, Figure 7 (b, c)",
        normal_over_repeats,
    ),
}
CLAIMS = [
    *(
        Claim(
            says=says.format("MNIST"),
            where=where,
            rows=(PAPERS,),
            judge=judge(PAPERS),
            hindsight=judge is normal_over_repeats,
        )
        for says, (where, judge) in IN_SECTION_7.items()
    ),
    Claim(
        says="The covariance of the model with ±1 for t differs from that of the mixture",
        where="Section 6.4",
        judge=covariance_of_signs,
    ),
    Claim(
        says="With BigGAN-deep at 256 px and ResNet-50, VGG16 and DenseNet-201 the spectrum is that of the mixture, "
        "and invariant to the law of z, to that of t and to the exact weights",
        where="Sections 6 and 8, Figures 1 to 5, 8",
        lack="the published networks' weights are not to be had",
    ),
    *(
        Claim(
            says=says.format("other digits'"),
            where=f"{where} says so of its own GAN",
            rows=(OTHERWISE,),
            each=False,
            judge=judge(OTHERWISE),
            hindsight=judge is normal_over_repeats,
            ours=True,
        )
        for says, (where, judge) in IN_SECTION_7.items()
    ),
    *(
        Claim(says=says, where=f"{where} of BigGAN", rows=EVERY, each=False, judge=judge, ours=True)
        for says, where, judge in (
            ("The spectrum of digits is invariant to the law of z", "Section 6.3 says so", laws_of_z),
            (
                "Under a normal, uniform and Bernoulli z the spectrum of digits is that of the mixture of their own "
                "moments",
                "Figures 1 to 3 show so",
                own_mixtures(*SHOWN),
            ),
            (
                "Under the other laws of z the spectrum of digits is that of the mixture of their own moments, too",
                "Section 6.3 says so of any law,",
                own_mixtures(*(law for law in MIXED if law not in SHOWN)),
            ),
            (
                "The spectrum of digits is that of the model with ±1 for t",
                "Section 6.4, Figures 4 and 5 show so",
                signs_for_t,
            ),
            (
                "The spectrum of digits is invariant to the exact weights of a middle layer",
                "Section 8, Figure 8 say so",
                weights("weights_one_layer"),
            ),
            (
                "The spectrum of digits is invariant to the exact weights of all layers",
                "Section 8 says so",
                weights("weights_all_layers"),
            ),
        )
    ),
    Claim(
        says="Spectra of features of an untrained BigGAN-deep and of their mixture look the same",
        where="Section 6 says so of the trained one",
        rows=("biggan/random",),
        judge=alike("biggan/random"),
        ours=True,
    ),
    Claim(
        says="Spectra of features of a CGAN's photographs and of their mixture look the same",
        where="Section 6 says so of BigGAN's",
        rows=("photographs/cgan",),
        judge=alike("photographs/cgan"),
        ours=True,
    ),
    Claim(
        says="The spectra of features of a CGAN's photographs and of their mixture have the same distribution",
        where="Section 6 says so of BigGAN's",
        rows=("photographs/cgan",),
        judge=exactly_alike("photographs/cgan"),
        ours=True,
    ),
    Claim(
        says="Random projections of features have tails as light as those of normal features",
        where="Sections 1 and 2 rest on the concentration of z and on Lipschitz networks",
        rows=EVERY,
        each=False,
        judge=concentrated,
        ours=True,
    ),
]
NOTES = """\
Where several kinds of GANs were asked, those that are named were, and a verdict is of all their seeds. The classes of a
DCGAN and of VGrow are what `mnist_cnn` takes them for; under other laws of z and with other weights all they draw is
one class. Student's t is ours. *Normal features* are features turned at random within a class, which makes them normal.
"""

if __name__ == "__main__":
    main(PAPER, __doc__ or "", ROWS, TABLES)
