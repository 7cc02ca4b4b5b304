"""FAR's claims (arXiv 1912.12485), at the length they were made where two cores can.

    python benchmarks/claims/far.py --rows plane              # hours; start again to go on
    python benchmarks/claims/far.py --rows plane/gaussian/far --steps 20000 --runs /tmp/again  # beside the record
    python benchmarks/claims/far.py --record

The plane is Section 6.1's: the networks of Tables 3 and 4, batch 64, 16 of it counted as real of 256 candidates, weight
10, rate 0.003. The paper does not name its optimizer there. Rows `plane` take SGD with momentum 0.9, as the recipes do;
rows `rmsprop` the one that the paper and the code it builds on (Mescheder et al. 2018) take for images.

Images are smaller than the paper's in width and length, at two widths for a trend: `digits` are 4,500 of MNIST, `cifar`
CIFAR-10, whose files lie in --data, and `stacked` three digits as channels, 1,000 modes, with five methods on the same
networks. FAR's step costs a third more than R1's: at equal seconds its last look but one is held against R1's last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from statistics import mean, median

from kit import Claim, Difference, Finding, Found, Recorded, Row, Verdict, difference, main, spread
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

PAPER = "far"
TITLE = "FAR: fake can be real in GANs"
LENGTHS = {"gaussian": 200_000, "ring8": 500_000, "grid25": 200_000, "swissroll": 200_000}
METHODS = {
    "none": ("objective.fake_as_real=0", "objective.penalty=[]"),
    "r1": ("objective.fake_as_real=0", "objective.penalty=r1"),
    "interpolation": ("objective.fake_as_real=0", "objective.penalty=interpolation"),
    "far": (),
}
RMSPROP = tuple(f'optimizer.{who}={{ use = "rmsprop", lr = 0.003 }}' for who in ("sampler", "discriminator"))
COLOURS = {"none": "0.3", "r1": "#08519c", "interpolation": "#31a354", "far": "#d62728"}
MODES = ("mode_coverage:modes_covered", "mode_coverage:high_quality_share")
W2, MEMORY = "two_sample:sliced_w2", "memorization:distance_ratio"
PULL = "far.gradient_explosion:close_gradient_median"
LOSSES = ("losses:discriminator_loss", "losses:sampler_loss")
OTHERS = ("two_sample:sliced_w2_real", "far.gradient_explosion:close_far_ratio")
# Width -> steps. Looks are a quarter of the run apart, so that FAR's third is at the time of R1's last.
DIGITS, CIFAR = {8: 1_600, 16: 1_600}, {8: 4_000, 16: 4_000}
STACKED = {
    **{method: METHODS[method] for method in ("none", "r1", "far")},
    "packed": (*METHODS["none"], "objective.pack=2"),
    "relativistic": (
        "objective.fake_as_real=0",
        "objective.loss=relativistic",
        'objective.penalty=[{ use = "r1" }, { use = "r2" }]',
    ),
}
ON_DIGITS = '{ use = "mnist_cnn", layer = "hidden" }'
FD = {"digits": "frechet:FD(mnist_cnn.hidden)", "cifar": "frechet:FD(efficientnet_lite0)"}
SHARES = ("prdc:precision", "prdc:recall")
REACHED = ("mode_coverage:modes_covered", "mode_coverage:kl_uniform")


def images(data: str, channels: int, method: str) -> Row:
    encoder = ON_DIGITS if data == "digits" else '{ use = "efficientnet_lite0" }'
    looks = (
        f'{{ use = "{use}", encoder = {encoder}, samples = {2_000 if data == "cifar" else 4_500} }}'
        for use in ("frechet", "prdc")
    )
    steps = (DIGITS if data == "digits" else CIFAR)[channels]
    return Row(
        recipe="far_mnist5k" if data == "digits" else "far_cifar10",
        words=(
            *(() if data == "digits" else ("dataset.root=DATA",)),
            *METHODS[method],
            *(f"{who}.channels={channels}" for who in ("sampler", "discriminator")),
            f'analyze=[{", ".join(looks)}, {{ use = "losses" }}]',
        ),
        steps=steps,
        every=steps // 4,
        seeds=3,
        scores=(FD[data], *SHARES, *LOSSES),
    )


def stacked(method: str) -> Row:
    count = '{ use = "mode_coverage", encoder = { use = "mnist_cnn" }, samples = 26_000 }'
    return Row(
        recipe="far_mnist5k",
        words=('dataset={ use = "stacked_mnist", image_size = 32 }', *STACKED[method], f"analyze=[{count}]"),
        steps=1_600,
        every=400,
        seeds=3,
        scores=REACHED,
    )


def plane(data: str, method: str, steps: int, every: int, *words: str) -> Row:
    modes = () if data == "swissroll" else MODES
    return Row(
        recipe=f"far_{data}",
        words=(*METHODS[method], *words, "train.compile=true", "train.log_every=500"),
        steps=steps,
        every=every,
        seeds=5,
        replicas=True,
        scores=(*modes, W2, MEMORY, PULL, *OTHERS, *LOSSES),
    )


ROWS = {
    "theory": Row(
        recipe="far_theory",
        steps=0,
        scores=tuple(f"far.equilibrium:{score}" for score in ("comparisons", "violations", "checks", "failures")),
    ),
    **{
        f"plane/{data}/{method}": plane(data, method, LENGTHS[data], LENGTHS[data] // 10)
        for data, method in product(LENGTHS, METHODS)
    },
    **{
        f"rmsprop/{data}/{method}": plane(data, method, 20_000, 5_000, *RMSPROP)
        for data, method in product(("gaussian", "ring8"), METHODS)
    },
    **{
        f"{data}/{channels}/{method}": images(data, channels, method)
        for data, widths in (("digits", DIGITS), ("cifar", CIFAR))
        for channels, method in product(widths, ("r1", "far"))
    },
    **{f"stacked/{method}": stacked(method) for method in STACKED},
}
PICTURE = "Sliced W2 to the law, and the memorization ratio, of the four methods over training"
IN_THE_PLANE = {
    "modes": (MODES[0], 1, 1.0),
    "high quality, %": (MODES[1], 1, 100.0),
    "sliced W2": (W2, 3, 1.0),
    "of real halves": (OTHERS[0], 3, 1.0),
    "memorization": (MEMORY, 2, 1.0),
    "pull, close pairs": (PULL, 4, 1.0),
    "discriminator's loss": (LOSSES[0], 3, 1.0),
    "sampler's": (LOSSES[1], 3, 1.0),
}
TABLES = [
    (
        "Of 2,500 samples one is of high quality within 3 standard deviations of the nearest mode. Sliced W2 is to "
        "10,000 held-out points; copies of the training data have a memorization ratio of 0, the law itself 1.",
        "plane/*",
        IN_THE_PLANE,
    ),
    ("The same with RMSProp at the same rate.", "rmsprop/*", IN_THE_PLANE),
    *(
        (
            f"{name}: FD({'mnist_cnn.hidden' if data == 'digits' else 'efficientnet_lite0'}), precision and recall.",
            f"{data}/*",
            {"FD": (FD[data], 1, 1.0), "precision": (SHARES[0], 3, 1.0), "recall": (SHARES[1], 3, 1.0)}
            | {"discriminator's loss": (LOSSES[0], 3, 1.0), "sampler's": (LOSSES[1], 3, 1.0)},
        )
        for data, name in (("digits", "Digits"), ("cifar", "CIFAR-10"))
    ),
    (
        "Stacked digits: modes that 26,000 samples reach, of 1,000, and KL(samples || uniform).",
        "stacked/*",
        {"modes": (REACHED[0], 0, 1.0), "KL": (REACHED[1], 2, 1.0)},
    ),
]

# ------------------------------------------------------------------ what the rows say of the claims


def by_sign(found: Difference | list[Difference], wanted: int) -> Verdict:
    """Confirmed where every interval lies on the wanted side of 0, refuted where one lies on the other, else open."""
    signs = [one.sign for one in (found if isinstance(found, list) else [found])]
    if all(sign == wanted for sign in signs):
        return "confirmed"
    return "refuted" if -wanted in signs else "open"


def theory(recorded: Recorded) -> Finding:
    found = recorded["theory"]
    violations, failures = found("far.equilibrium:violations")[0], found("far.equilibrium:failures")[0]
    compared, checks = found("far.equilibrium:comparisons")[0], found("far.equilibrium:checks")[0]
    text = (
        f"{violations:.0f} of {compared:,.0f} comparisons against Table 2, {failures:.0f} of {checks:.0f} checks fail"
    )
    return Finding(text, "confirmed" if not violations and not failures else "refuted")


def at(recorded: Recorded, data: str, method: str) -> Found:
    return recorded[f"plane/{data}/{method}"]


def without_a_penalty(recorded: Recorded) -> Finding:
    none, far = (at(recorded, "gaussian", method) for method in ("none", "far"))
    apart = difference(none(W2), far(W2))
    return Finding(f"sliced W2 {spread(none(W2))}, with FAR {spread(far(W2))}: {apart.told()}", by_sign(apart, 1))


def over_fits_later(method: str) -> Callable[[Recorded], Finding]:
    """Whether the Gaussian's samples are nearer to training points, and further from the law, at the end."""

    def judge(recorded: Recorded) -> Finding:
        found = at(recorded, "gaussian", method)
        half = found.looked(W2)[len(found.looked(W2)) // 2 - 1]
        nearer = difference(found(MEMORY), found(MEMORY, half))
        further = difference(found(W2), found(W2, half))
        verdict: Verdict = "confirmed" if nearer.sign < 0 and further.sign > 0 else "open"
        if nearer.low > -0.1 and mean(found(MEMORY)) > 0.9:  # copies would have 0
            verdict = "refuted"
        return Finding(
            f"from {half:,} to {found.steps:,} steps the memorization ratio (copies: 0, the law: 1) goes from "
            f"{spread(found(MEMORY, half))} to {spread(found(MEMORY))}, sliced W2 from {spread(found(W2, half), 3)} to "
            f"{spread(found(W2), 3)}",
            verdict,
        )

    return judge


def better_on_the_gaussian(recorded: Recorded) -> Finding:
    r1, far = (at(recorded, "gaussian", method) for method in ("r1", "far"))
    apart = difference(far(W2), r1(W2))
    return Finding(f"sliced W2 {spread(far(W2), 3)}, R1 {spread(r1(W2), 3)}: {apart.told(3)}", by_sign(apart, -1))


def finds_modes_over_time(recorded: Recorded) -> Finding:
    far = at(recorded, "ring8", "far")
    first = far.looked(MODES[0])[0]
    gained = difference(far(MODES[0]), far(MODES[0], first))
    text = (
        f"{spread(far(MODES[0], first), 1)} modes after {first:,} steps, {spread(far(MODES[0]), 1)} after {far.steps:,}"
    )
    return Finding(text, "confirmed" if gained.sign > 0 and min(far(MODES[0])) == 8 else "open")


def covers_more_modes(recorded: Recorded) -> Finding:
    pairs = {data: [at(recorded, data, method)(MODES[0]) for method in ("far", "r1")] for data in ("ring8", "grid25")}
    apart = [difference(*pair) for pair in pairs.values()]
    text = "; ".join(f"{data} {spread(far, 1)}, R1 {spread(r1, 1)}" for data, (far, r1) in pairs.items())
    return Finding(text, by_sign(apart, 1))


def pulls_less(recorded: Recorded) -> Finding:
    pairs = {data: [at(recorded, data, method)(PULL) for method in ("far", "r1")] for data in LENGTHS}
    apart = [difference(*pair) for pair in pairs.values()]
    text = "; ".join(f"{data} {spread(far, 4)}, R1 {spread(r1, 4)}" for data, (far, r1) in pairs.items())
    return Finding(text, by_sign(apart, -1))


def slower_at_first(recorded: Recorded) -> Finding:
    texts, apart = [], []
    for data in LENGTHS:
        far, r1 = at(recorded, data, "far"), at(recorded, data, "r1")
        first = far.looked(W2)[0]
        apart.append(difference(far(W2, first), r1(W2, first)))
        texts.append(f"{data} {spread(far(W2, first))}, R1 {spread(r1(W2, first))}")
    return Finding("sliced W2 at the first look: " + "; ".join(texts), by_sign(apart, 1))


def losses_at_equilibrium(recorded: Recorded) -> Finding:
    far, r1 = (at(recorded, "ring8", method) for method in ("far", "r1"))
    off = {
        name: [abs(loss - 2 * math.log(2)) for loss in found(LOSSES[0])] for name, found in (("far", far), ("r1", r1))
    }
    apart = difference(off["far"], off["r1"])
    text = (
        f"ring, discriminator {spread(far(LOSSES[0]), 3)} (R1 {spread(r1(LOSSES[0]), 3)}; 2 log 2 = 1.386), sampler "
        f"{spread(far(LOSSES[1]), 3)} (R1 {spread(r1(LOSSES[1]), 3)}; log 2 = 0.693)"
    )
    return Finding(text, by_sign(apart, -1))


def better_images(data: str, *, seconds: bool) -> Callable[[Recorded], Finding]:
    """Whether FAR's FD is the smaller at every width, after as many steps or as many seconds."""

    def judge(recorded: Recorded) -> Finding:
        texts, apart = [], []
        for width in DIGITS if data == "digits" else CIFAR:
            r1, far = (recorded[f"{data}/{width}/{method}"] for method in ("r1", "far"))
            step = far.looked(FD[data])[-2 if seconds else -1]
            apart.append(difference(far(FD[data], step), r1(FD[data])))
            texts.append(
                f"width {width}: {spread(far(FD[data], step), 1)}, R1 {spread(r1(FD[data]), 1)}, {apart[-1].told(1)}"
            )
        return Finding("FD, " + "; ".join(texts), by_sign(apart, -1))

    return judge


def reaches_more_modes(recorded: Recorded) -> Finding:
    found = {method: recorded[f"stacked/{method}"](REACHED[0]) for method in STACKED}
    text = ", ".join(f"{method} {spread(values, 0)}" for method, values in found.items())
    return Finding(f"modes of 1,000: {text}", by_sign(difference(found["far"], found["r1"]), 1))


def picture(recorded: Recorded) -> Figure | None:
    """Two scores over training, a column a data set: medians over seeds, and all of them in a band."""
    sets = [data for data in LENGTHS if any(name.startswith(f"plane/{data}/") for name in recorded)]
    if not sets:
        return None
    figure = Figure(figsize=(3.1 * len(sets) + 0.8, 5.2), layout="constrained")
    panels = figure.subplots(2, len(sets), sharex="col", squeeze=False)
    lines = {}
    for j, data in enumerate(sets):
        for (i, score), (method, colour) in product(enumerate((W2, MEMORY)), COLOURS.items()):
            found = recorded.get(f"plane/{data}/{method}")
            panel = panels[i, j]
            if found is None:
                continue
            steps = [step for step in found.looked(score) if found(score, step)]
            values = [found(score, step) for step in steps]
            panel.fill_between(steps, [*map(min, values)], [*map(max, values)], color=colour, alpha=0.15, linewidth=0)
            (lines[method],) = panel.plot(steps, [*map(median, values)], color=colour, linewidth=1.5)
            if i == 0:
                panel.axhline(mean(found(OTHERS[0])), color="0.45", linestyle=":", linewidth=1.2)
        panels[0, j].set(title=data, yscale="log")
        panels[1, j].axhline(1, color="0.45", linestyle=":", linewidth=1.2)
        panels[1, j].set(yscale="symlog", ylim=(0, None))
    for panel in panels.flat:
        panel.grid(alpha=0.25, linewidth=0.4)
        panel.spines[["top", "right"]].set_visible(False)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panels[0, 0].set_ylabel("sliced $W_2$")
    panels[1, 0].set_ylabel("memorization ratio")
    figure.supxlabel("steps; dotted: real points", fontsize="medium")
    figure.legend(lines.values(), lines, loc="outside right center", frameon=False)
    return figure


GAUSSIAN, RING = ("plane/gaussian/*",), ("plane/ring8/r1", "plane/ring8/far")
PENALISED = ("plane/*/r1", "plane/*/far")
IMAGES = (
    "500,000 steps of the published network take 18 days of a core here, and the Inception network is not to be had"
)
CLAIMS = [
    Claim(
        says="A network of O(2d) weights tells one real and one generated point apart, so the constant is not optimal",
        where="Proposition 1, Appendix A",
        rows=("theory",),
        judge=theory,
    ),
    Claim(
        says="A penalty on differences lowers the pull towards a real point; more fakes at it raise the pull",
        where="Proposition 2, Table 2",
        rows=("theory",),
        judge=theory,
    ),
    Claim(says="Counting fakes as real lowers it", where="Proposition 3, Table 2", rows=("theory",), judge=theory),
    Claim(
        says="Without a penalty samples of the Gaussian are biased",
        where="Section 6.1, Figure 1 (a, e)",
        rows=GAUSSIAN,
        judge=without_a_penalty,
    ),
    Claim(
        says="R1 over-fits to single points as training goes on",
        where="Section 4.2, Figure 1 (b, f)",
        rows=GAUSSIAN,
        judge=over_fits_later("r1"),
    ),
    Claim(
        says="So does the penalty on interpolations",
        where="Section 4.2, Figure 1 (c, g)",
        rows=GAUSSIAN,
        judge=over_fits_later("interpolation"),
    ),
    Claim(
        says="FAR generalises much better there",
        where="Section 6.1, Figure 1 (d, h)",
        rows=GAUSSIAN,
        judge=better_on_the_gaussian,
    ),
    Claim(
        says="On the ring FAR covers 3 modes at first, and all in the end",
        where="Section 6.1, Figure 2",
        rows=RING,
        judge=finds_modes_over_time,
    ),
    Claim(
        says="It covers modes that are missed otherwise",
        where="Sections 1, 6.1",
        rows=(*RING, "plane/grid25/r1", "plane/grid25/far"),
        judge=covers_more_modes,
    ),
    Claim(
        says="It lowers the sampler's gradient at pairs of close points",
        where="Sections 1, 4.3",
        rows=PENALISED,
        judge=pulls_less,
    ),
    Claim(says="It is slower at first", where="Section 5", rows=PENALISED, judge=slower_at_first),
    Claim(
        says="Its losses stay nearer to 2 log 2 and log 2 than R1's",
        where="Section 6.2.1, Figures 5, 7, 8 (on images)",
        rows=RING,
        judge=losses_at_equilibrium,
    ),
    Claim(
        says="It mitigates mode collapse (stacked digits)",
        where="Section 1",
        rows=("stacked/*",),
        judge=reaches_more_modes,
    ),
    *(
        Claim(
            says=f"Images are better than R1's ({name}, narrow and short) after as many {unit}",
            where="Section 6.2.1, Figures 3, 4",
            rows=(f"{data}/*",),
            judge=better_images(data, seconds=unit == "seconds"),
        )
        for data, name in (("digits", "digits"), ("cifar", "CIFAR-10"))
        for unit in ("steps", "seconds")
    ),
    Claim(
        says="Lower FID and higher Inception Score than R1 on CIFAR-10, CIFAR-100 and ImageNet, by a large margin",
        where="Section 6.2, Figures 3, 4, 6",
        lack=IMAGES,
    ),
]

NOTES = ""

if __name__ == "__main__":
    main(PAPER, __doc__ or "", ROWS, TABLES)
