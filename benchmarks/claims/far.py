"""FAR's claims (arXiv 1912.12485), at the length they were made where two cores can.

    python benchmarks/claims/far.py --rows theory plane       # hours; start again to go on
    python benchmarks/claims/far.py --rows plane/gaussian/far --steps 20000 --runs /tmp/again  # beside the record
    python benchmarks/claims/far.py --rows digits stacked
    python benchmarks/claims/far.py --rows cifar --data DATA
    python benchmarks/claims/far.py --record
    python benchmarks/claims/far.py --samples docs/images/far_plane.png

The plane is Section 6.1's: the networks of Tables 3 and 4, batch 64, 16 of it counted as real of 256 candidates, weight
10, rate 0.003. The paper does not name its optimizer there. Rows `plane` take SGD with momentum 0.9, as the recipes do;
rows `rmsprop` the one that the paper and the code it builds on (Mescheder et al. 2018) take for images. Rows `counted`
are the ring with other numbers of samples counted as real, of other numbers of candidates.

Images are smaller than the paper's in width and length, at two widths for a trend: `digits` are 4,500 of MNIST, `cifar`
CIFAR-10, and `stacked` three digits as channels, 1,000 modes, with five methods on the same networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from statistics import mean

from drawing import over_steps, plain
from ledger import (
    Claim,
    Finding,
    Found,
    Judge,
    Recorded,
    TooFew,
    Verdict,
    against,
    change,
    difference,
    differences,
    judged,
    spread,
    trend,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from rows import Row, main

PAPER = "far"
TITLE = "FAR: fake can be real in GANs"
LENGTHS = {"gaussian": 200_000, "ring8": 500_000, "grid25": 200_000, "swissroll": 200_000}
METHODS = {
    "none": ("objective.fake_as_real=0", "objective.penalty=[]"),
    "r1": ("objective.fake_as_real=0", "objective.penalty=r1"),
    "interpolation": ("objective.fake_as_real=0", "objective.penalty=interpolation"),
    "far": (),
}
COUNTED = (0, 8, 16, 32)
"""Samples that are counted as real (M0) of 256 candidates: with none it is R1, with 32 the half that images have."""
CANDIDATES = (16, 64, 256, 1_024)
"""Of which 16 are counted (M1)."""
RMSPROP = tuple(f'optimizer.{who}={{ use = "rmsprop", lr = 0.003 }}' for who in ("sampler", "discriminator"))
COLOURS = {"none": "0.3", "r1": "#08519c", "interpolation": "#31a354", "far": "#d62728"}
WIDTHS = {"digits": {8: 1_600, 16: 1_600}, "cifar": {8: 4_000, 16: 4_000}}
"""Of images: width -> steps."""
STACKED = {
    **{method: METHODS[method] for method in ("none", "r1", "far")},
    "packed": (*METHODS["none"], "objective.pack=2"),
    "relativistic": (
        "objective.fake_as_real=0",
        "objective.loss=relativistic",
        'objective.penalty=[{ use = "r1" }, { use = "r2" }]',
    ),
}

MODES = ("mode_coverage:modes_covered", "mode_coverage:high_quality_share")
W2, MEMORY, COPIES = "two_sample:sliced_w2", "memorization:distance_ratio", "memorization:close_share"
PULL = "far.gradient_explosion:close_gradient_median"
LOSSES = ("losses:discriminator_loss", "losses:sampler_loss")
RATIO = "far.gradient_explosion:close_far_ratio"
OTHERS = ("two_sample:sliced_w2_real", RATIO)
FD = {"digits": "frechet:FD(mnist_cnn.hidden)", "cifar": "frechet:FD(efficientnet_lite0)"}
SECOND = {
    "digits": ("frechet_again:FD(digits_encoder)", "FD(digits_encoder)"),
    "cifar": ("sliced_wasserstein:sliced_wasserstein", "sliced Wasserstein distance of patches"),
}
"""A distance of another kind, and its name: by another encoder, or of patches where no other encoder is at hand."""
PRECISION, RECALL = "prdc:precision", "prdc:recall"
REACHED = ("mode_coverage:modes_covered", "mode_coverage:kl_uniform")

# ------------------------------------------------------------------ what is run


def plane(data: str, method: str, steps: int, every: int, *words: str) -> Row:
    modes = () if data == "swissroll" else MODES
    return Row(
        recipe=f"far_{data}",
        words=(*METHODS[method], *words, "train.compile=true", "train.log_every=500"),
        steps=steps,
        every=every,
        seeds=5,
        replicas=True,
        scores=(*modes, W2, MEMORY, COPIES, PULL, *OTHERS, *LOSSES),
    )


def counted(count: int, candidates: int) -> Row:
    """The ring with so many of so many counted as real; with none it is R1. Fewer looks, and none that only draws."""
    words = (f"objective.fake_as_real={count}", f"objective.candidates={candidates}") if count else ()
    names = ("mode_coverage", "two_sample", "memorization", "far.gradient_explosion", "losses")
    looks = ", ".join(f'{{ use = "{name}" }}' for name in names)
    return plane("ring8", "far" if count else "r1", 50_000, 10_000, *words, f"analyze=[{looks}]")


def images(data: str, width: int, method: str) -> Row:
    on_digits = data == "digits"
    encoder = '{ use = "mnist_cnn", layer = "hidden" }' if on_digits else '{ use = "efficientnet_lite0" }'
    look = f"encoder = {encoder}, samples = {4_500 if on_digits else 2_000}"
    again = '"frechet", name = "frechet_again", encoder = { use = "digits_encoder" }, samples = 4_500'
    second = again if on_digits else '"sliced_wasserstein"'
    uses = (f'"frechet", {look}', f'"prdc", {look}', second, '"losses"')
    steps = WIDTHS[data][width]
    return Row(
        recipe="far_mnist5k" if on_digits else "far_cifar10",
        words=(
            *(() if on_digits else ("dataset.root=DATA",)),
            *METHODS[method],
            *(f"{who}.channels={width}" for who in ("sampler", "discriminator")),
            f"analyze=[{', '.join(f'{{ use = {use} }}' for use in uses)}]",
        ),
        steps=steps,
        every=steps // 8,
        seeds=3,
        scores=(FD[data], SECOND[data][0], PRECISION, RECALL, *LOSSES),
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
        f"counted/{count}_of_{candidates}": counted(count, candidates)
        for count, candidates in dict.fromkeys([*product(COUNTED, [256]), *product([16], CANDIDATES)])
    },
    **{
        f"{data}/{width}/{method}": images(data, width, method)
        for data, widths in WIDTHS.items()
        for width, method in product(widths, ("r1", "far"))
    },
    **{f"stacked/{method}": stacked(method) for method in STACKED},
}

IN_THE_PLANE = {
    "modes": (MODES[0], 1, 1.0),
    "high quality, %": (MODES[1], 1, 100.0),
    "sliced W2": (W2, 3, 1.0),
    "of real halves": (OTHERS[0], 3, 1.0),
    "memorization": (MEMORY, 2, 1.0),
    "copies, %": (COPIES, 1, 100.0),
    "pull": (PULL, 4, 1.0),
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
    ("The ring with so many samples counted as real, of so many candidates.", "counted/*", IN_THE_PLANE),
    *(
        (
            f"{name}: {FD[data].partition(':')[2]}, {SECOND[data][1]}, precision and recall.",
            f"{data}/*",
            {
                "FD": (FD[data], 1, 1.0),
                "the second": (SECOND[data][0], 1, 1.0),
                "precision": (PRECISION, 3, 1.0),
                "recall": (RECALL, 3, 1.0),
            }
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

# ------------------------------------------------------------------ what that says of the claims


def theory(recorded: Recorded) -> Finding:
    found = recorded["theory"]
    violations, failures = found("far.equilibrium:violations")[0], found("far.equilibrium:failures")[0]
    compared, checks = found("far.equilibrium:comparisons")[0], found("far.equilibrium:checks")[0]
    text = f"{violations:.0f} of {compared:,.0f} comparisons go against Table 2, "
    text += f"{failures:.0f} of {checks:.0f} checks fail"
    return Finding(text, "refuted" if violations or failures else "confirmed")


def at(recorded: Recorded, data: str, method: str) -> Found:
    return recorded[f"plane/{data}/{method}"]


def alive(found: Found, score: str) -> list[float]:
    """The score of the seeds whose discriminator still has a gradient: at 0 its ReLUs are dead, and it says nothing.

    TooFew where fewer than two have one.
    """
    values = [value for value, pull in zip(found(score), found(PULL), strict=True) if pull > 0]
    if len(values) < 2:
        raise TooFew(f"{len(found(PULL)) - len(values)} of {len(found(PULL))} discriminators are dead in {found.name}")
    return values


def dead(*rows: Found) -> str:
    """How many discriminators are left out."""
    count = sum(pull == 0 for found in rows for pull in found(PULL))
    return f"; {count} dead discriminators left out" if count else ""


def without_a_penalty(recorded: Recorded) -> Finding:
    """Among discriminators that are alive."""
    none, far = (at(recorded, "gaussian", method) for method in ("none", "far"))
    text = f"sliced W2 {spread(none(W2))}, with FAR {spread(far(W2))}"
    try:
        apart = difference(alive(none, W2), alive(far, W2))
    except TooFew as error:
        return Finding(text, "open", str(error))
    return Finding(f"{text}; of those alive {apart.told()}{dead(none, far)}", judged(apart, 1))


def over_fits_later(method: str) -> Judge:
    """Whether samples of the Gaussian are nearer to training points, and further from the law, than half-way.

    Refuted where the ratio surely fell by less than a tenth, the distance did not surely grow, and samples are not
    nearer to training points than the law's.
    """

    def judge(recorded: Recorded) -> Finding:
        found = at(recorded, "gaussian", method)
        half = found.looked(W2)[len(found.looked(W2)) // 2 - 1]
        nearer, further = change(found(MEMORY), found(MEMORY, half)), change(found(W2), found(W2, half))
        worse = nearer.sign < 0 and further.sign > 0
        fine = nearer.low > -0.1 and further.sign <= 0 and mean(found(MEMORY)) > 0.9
        text = (
            f"from {half:,} to {found.steps:,} steps the memorization ratio (copies 0, the law 1) goes from "
            f"{spread(found(MEMORY, half))} to {spread(found(MEMORY))}, sliced W2 from {spread(found(W2, half), 3)} to "
            f"{spread(found(W2), 3)}: {further.told(3)}"
        )
        return Finding(text, "confirmed" if worse else "refuted" if fine else "open")

    return judge


def better_on_the_gaussian(than: str) -> Judge:
    def judge(recorded: Recorded) -> Finding:
        other, far = (at(recorded, "gaussian", method) for method in (than, "far"))
        apart = difference(far(W2), other(W2))
        text = f"sliced W2 {spread(far(W2), 3)}, {NAMES[than]} {spread(other(W2), 3)}: {apart.told(3)}"
        return Finding(text, judged(apart, -1))

    return judge


def finds_modes_over_time(recorded: Recorded) -> Finding:
    """Refuted where no seed has all in the end."""
    far = at(recorded, "ring8", "far")
    first = far.looked(MODES[0])[0]
    gained = change(far(MODES[0]), far(MODES[0], first))
    text = (
        f"{spread(far(MODES[0], first), 1)} modes after {first:,}, {spread(far(MODES[0]), 1)} after {far.steps:,} steps"
    )
    whole = gained.sign > 0 and min(far(MODES[0])) == 8
    return Finding(text, "confirmed" if whole else "refuted" if max(far(MODES[0])) < 8 else "open")


def draws_the_others(recorded: Recorded) -> Finding:
    """All modes of the grid in every seed, and a spiral within five times the distance of two halves of the data."""
    grid, roll = at(recorded, "grid25", "far"), at(recorded, "swissroll", "far")
    near = 5 * mean(roll(OTHERS[0]))
    text = (
        f"{spread(grid(MODES[0]), 1)} of 25 modes; sliced W2 of the spiral {spread(roll(W2))}, five halves {near:.2f}"
    )
    return Finding(text, "confirmed" if min(grid(MODES[0])) == 25 and max(roll(W2)) <= near else "open")


def covers_more_modes(recorded: Recorded) -> Finding:
    pairs = {data: [at(recorded, data, method)(MODES[0]) for method in ("far", "r1")] for data in ("ring8", "grid25")}
    text = "; ".join(f"{data} {spread(far, 1)}, R1 {spread(r1, 1)}" for data, (far, r1) in pairs.items())
    return Finding(text, judged(differences((far, r1) for far, r1 in pairs.values()), 1))


def pulls_less(recorded: Recorded) -> Finding:
    rows = {data: [at(recorded, data, method) for method in ("far", "r1")] for data in LENGTHS}
    pairs = {data: (alive(far, PULL), alive(r1, PULL)) for data, (far, r1) in rows.items()}
    text = "; ".join(f"{data} {spread(far, 4)}, R1 {spread(r1, 4)}" for data, (far, r1) in pairs.items())
    text += dead(*(found for pair in rows.values() for found in pair))
    return Finding(text, judged(differences(pairs.values()), -1))


def strongest_at_close_pairs(recorded: Recorded) -> Finding:
    """Whether the median gradient is larger at the closest tenth of the samples than at others, with each penalty."""
    ratios = {
        f"{data} {NAMES[method]}": at(recorded, data, method)(RATIO)
        for data, method in product(LENGTHS, ("r1", "interpolation"))
    }
    text = "the gradient at close pairs, over that elsewhere: "
    text += ", ".join(f"{name} {spread(values)}" for name, values in ratios.items())
    signs = [against(values, 1) for values in ratios.values()]
    return Finding(text, "confirmed" if all(sign > 0 for sign in signs) else "refuted" if -1 in signs else "open")


def interpolation_pulls_more(recorded: Recorded) -> Finding:
    rows = {data: [at(recorded, data, method) for method in ("interpolation", "r1")] for data in LENGTHS}
    pairs = {data: (alive(ours, PULL), alive(r1, PULL)) for data, (ours, r1) in rows.items()}
    text = "; ".join(f"{data} {spread(ours, 4)}, R1 {spread(r1, 4)}" for data, (ours, r1) in pairs.items())
    text += dead(*(found for pair in rows.values() for found in pair))
    return Finding(text, judged(differences(pairs.values()), 1))


def with_more(settings: Sequence[int], name: str, score: str, wanted: int, *, first: bool = False) -> Judge:
    """Whether a score rises, or falls, with a setting on the ring; at the first look, or the last."""

    def judge(recorded: Recorded) -> Finding:
        rows = {setting: recorded[name.format(setting)] for setting in settings}
        values = {
            setting: found(score, found.looked(score)[0]) if first else alive(found, score)
            for setting, found in rows.items()
        }
        found = trend(values)
        digits = 4 if score == PULL else 2
        text = ", ".join(f"{setting}: {spread(seeds, digits)}" for setting, seeds in values.items())
        return Finding(f"{text}; {found.told()}", judged(found, wanted))

    return judge


def slower_at_first(recorded: Recorded) -> Finding:
    """Further from the law than R1 at the first look, and no further at the end, on every data set."""
    texts, early, late = [], [], []
    for data in LENGTHS:
        far, r1 = at(recorded, data, "far"), at(recorded, data, "r1")
        first = far.looked(W2)[0]
        early.append((far(W2, first), r1(W2, first)))
        late.append((far(W2), r1(W2)))
        told = [f"{spread(a)} (R1 {spread(b)})" for a, b in (early[-1], late[-1])]
        texts.append(f"{data} {told[0]}, then {told[1]}")
    behind = judged(differences(early), 1)
    catches_up = all(one.sign <= 0 for one in differences(late))
    verdict: Verdict = "refuted" if behind == "confirmed" and not catches_up else behind
    return Finding("sliced W2 at the first and the last look: " + "; ".join(texts), verdict)


LINES = dict(zip(LOSSES, (("discriminator", 2 * math.log(2)), ("sampler", math.log(2))), strict=True))


def losses_on_the_ring(recorded: Recorded) -> Finding:
    """Both losses, among discriminators that are alive."""
    rows = [at(recorded, "ring8", method) for method in ("far", "r1")]
    texts, off = [], []
    for score, (who, line) in LINES.items():
        far, r1 = (alive(found, score) for found in rows)
        texts.append(f"{who} {spread(far, 3)} (R1 {spread(r1, 3)}; {line:.3f})")
        off.append(away(line, far, r1))
    return Finding(", ".join(texts) + dead(*rows), judged(differences(off), -1))


def losses_of_images(data: str) -> Judge:
    """Both losses, at both widths."""

    def judge(recorded: Recorded) -> Finding:
        texts, off = [], []
        for width, (score, (who, line)) in product(WIDTHS[data], LINES.items()):
            far, r1 = (recorded[f"{data}/{width}/{method}"](score) for method in ("far", "r1"))
            texts.append(f"width {width} {who} {spread(far, 2)} (R1 {spread(r1, 2)}; {line:.2f})")
            off.append(away(line, far, r1))
        return Finding("; ".join(texts), judged(differences(off), -1))

    return judge


def away(line: float, far: list[float], r1: list[float]) -> tuple[list[float], list[float]]:
    """How far the losses of both are from where they are in equilibrium."""
    return [abs(loss - line) for loss in far], [abs(loss - line) for loss in r1]


def better_images(data: str, score: str, *, seconds: bool = False) -> Judge:
    """Whether FAR's FD is smaller, or its recall larger, than R1's at both widths, at as many steps or seconds."""
    wanted, digits = (1, 3) if score == RECALL else (-1, 1)

    def judge(recorded: Recorded) -> Finding:
        texts, pairs = [], []
        for width in WIDTHS[data]:
            r1, far = (recorded[f"{data}/{width}/{method}"] for method in ("r1", "far"))
            faster = (r1.row["seconds"] / r1.steps) / (far.row["seconds"] / far.steps)
            within = [step for step in far.looked(score) if not seconds or step <= far.steps * faster]
            pairs.append((far(score, within[-1]), r1(score)))
            texts.append(f"width {width} {spread(pairs[-1][0], digits)}, R1 {spread(pairs[-1][1], digits)}")
        found = differences(pairs)
        text = "; ".join(f"{text}: {one.told(digits)}" for text, one in zip(texts, found, strict=True))
        return Finding(text, judged(found, wanted))

    return judge


def reaches_more_modes(recorded: Recorded) -> Finding:
    found = {method: recorded[f"stacked/{method}"](REACHED[0]) for method in STACKED}
    text = ", ".join(f"{method} {spread(values, 0)}" for method, values in found.items())
    return Finding(f"modes of 1,000: {text}", judged(difference(found["far"], found["r1"]), 1))


NAMES = {"none": "no penalty", "r1": "R1", "interpolation": "the penalty on interpolations"}
CLAIMS = [
    Claim(
        says="A network of O(2d) weights tells one real and one generated point apart, so that a constant "
        "discriminator is not optimal, unless generated points are the real ones",
        where="Proposition 1, Appendix A",
        rows=("theory",),
        judge=theory,
    ),
    Claim(
        says="A penalty on differences lowers the pull towards a real point; more generated points at it raise it",
        where="Proposition 2, Table 2",
        rows=("theory",),
        judge=theory,
    ),
    Claim(
        says="Counting generated points as real lowers the pull",
        where="Proposition 3, Table 2",
        rows=("theory",),
        judge=theory,
    ),
    Claim(
        says="Without a penalty samples of the Gaussian are biased",
        where="Section 6.1, Figure 1 (a, e)",
        rows=("plane/gaussian/none", "plane/gaussian/far"),
        judge=without_a_penalty,
    ),
    *(
        Claim(
            says=f"With {NAMES[method]} samples of the Gaussian over-fit to single points as training goes on",
            where=f"Section 4.2, Figure 1 ({figure})",
            rows=(f"plane/gaussian/{method}",),
            judge=over_fits_later(method),
        )
        for method, figure in (("none", "a, e"), ("r1", "b, f"), ("interpolation", "c, g"))
    ),
    *(
        Claim(
            says=f"FAR generalises much better than {name} on the Gaussian",
            where="Section 6.1, Figure 1 (d, h)",
            rows=(f"plane/gaussian/{method}", "plane/gaussian/far"),
            judge=better_on_the_gaussian(method),
        )
        for method, name in NAMES.items()
    ),
    Claim(
        says="On the ring FAR covers 3 modes at first, and all in the end",
        where="Section 6.1, Figure 2",
        rows=("plane/ring8/far",),
        judge=finds_modes_over_time,
    ),
    Claim(
        says="FAR draws the 25 Gaussians and the spiral",
        where="Appendix D, Figure 9",
        rows=("plane/grid25/far", "plane/swissroll/far"),
        judge=draws_the_others,
    ),
    Claim(
        says="The sampler's gradient is the larger at generated points close to a real one, where it explodes",
        where="Sections 3 and 4.2, eq. 4 and 6",
        rows=("plane/*/r1", "plane/*/interpolation"),
        judge=strongest_at_close_pairs,
    ),
    Claim(
        says="It is lowered less by the penalty on interpolations than by R1",
        where="Section 4.2",
        rows=("plane/*/r1", "plane/*/interpolation"),
        judge=interpolation_pulls_more,
    ),
    Claim(
        says="FAR lowers the sampler's gradient at pairs of close points",
        where="Sections 1, 4.3",
        rows=("plane/*/r1", "plane/*/far"),
        judge=pulls_less,
    ),
    Claim(
        says="FAR may be slower at first, and then catches up",
        where="Sections 5, 6.2.1",
        rows=("plane/*/r1", "plane/*/far"),
        judge=slower_at_first,
    ),
    Claim(
        says="The more samples are counted as real, the smaller is the gradient at close points",
        where="Section 4.3, of M0 in Section 5",
        rows=tuple(f"counted/{count}_of_256" for count in COUNTED),
        judge=with_more(COUNTED, "counted/{}_of_256", PULL, -1),
    ),
    Claim(
        says="The more samples are counted as real, the slower real ones are covered at first",
        where="Section 5",
        rows=tuple(f"counted/{count}_of_256" for count in COUNTED),
        judge=with_more(COUNTED, "counted/{}_of_256", W2, 1, first=True),
    ),
    Claim(
        says="The more candidates they are chosen from, the smaller is the gradient at close points",
        where="Section 5, of M1",
        rows=tuple(f"counted/16_of_{candidates}" for candidates in CANDIDATES),
        judge=with_more(CANDIDATES, "counted/16_of_{}", PULL, -1),
    ),
    Claim(
        says="FAR has much lower FID and higher Inception Score than R1 on CIFAR-10, CIFAR-100 and ImageNet",
        where="Section 6.2, Figures 3, 4, 6",
        lack="500,000 steps of the published network take 18 days of a core; the Inception network is not to be had",
    ),
    Claim(
        says="FAR covers modes that R1 misses, in the plane",
        where="Section 6.2.1 says so of images",
        rows=("plane/ring8/r1", "plane/ring8/far", "plane/grid25/r1", "plane/grid25/far"),
        judge=covers_more_modes,
        ours=True,
    ),
    Claim(
        says="FAR's losses are nearer to 2 log 2 and log 2 than R1's, on the ring",
        where="Section 6.2.1, Figures 5, 7, 8 say so of images",
        rows=("plane/ring8/r1", "plane/ring8/far"),
        judge=losses_on_the_ring,
        ours=True,
    ),
    *(
        Claim(
            says=f"FAR's losses are nearer to 2 log 2 and log 2 than R1's, on {name}, narrow and short",
            where="Section 6.2.1, Figures 5, 7, 8, for 500,000 steps",
            rows=(f"{data}/*",),
            judge=losses_of_images(data),
            ours=True,
        )
        for data, name in (("digits", "digits"), ("cifar", "CIFAR-10"))
    ),
    Claim(
        says="FAR reaches more of the 1,000 modes of stacked digits than R1",
        where="Section 1 says that it mitigates mode collapse",
        rows=("stacked/*",),
        judge=reaches_more_modes,
        ours=True,
    ),
    *(
        Claim(
            says=f"{what} than R1's on {name}, narrow and short, after as many {'seconds' if seconds else 'steps'}",
            where="Section 6.2.1, Figures 3 and 4, for 500,000 steps",
            rows=(f"{data}/*",),
            judge=better_images(data, score, seconds=seconds),
            ours=True,
        )
        for data, name in (("digits", "digits"), ("cifar", "CIFAR-10"))
        for what, score, seconds in (
            ("FAR's FD is smaller", FD[data], False),
            (f"FAR's {SECOND[data][1]} is smaller", SECOND[data][0], False),
            ("FAR's FD is smaller", FD[data], True),
            ("FAR's recall is larger", RECALL, False),
        )
    ),
]
NOTES = """\
The propositions hold as stated; equations 34 to 36 of their proofs slip in print, and are checked [as
corrected](far.md#the-theory-checked-farequilibrium). In the plane the 1,000 points of the Gaussian and the optimizer
are ours, where the paper says nothing. The pull is the median gradient at the closest tenth of the samples; where it is
exactly 0 the discriminator's ReLUs are dead, and such seeds are left out where pulls, losses or biases are compared.
FAR's own loss has generated points on both sides, and so lies near 2 log 2 by construction. Where the pull is smaller
at close pairs than elsewhere, that on outliers, far from all real points, is larger; what the discriminator does as a
distance goes to 0 no median tells.
"""

# ------------------------------------------------------------------ at a glance

PICTURE = "Sliced W2 to the law, and the memorization ratio, of the four methods over training"


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
            if line := over_steps(panel, found, score, colour):
                lines[method] = line
            if i == 0:
                panel.axhline(mean(found(OTHERS[0])), color="0.45", linestyle=":", linewidth=1.2)
        panels[0, j].set(title=data, yscale="log")
        panels[1, j].axhline(1, color="0.45", linestyle=":", linewidth=1.2)
        panels[1, j].set(yscale="symlog", ylim=(0, None))
    for panel in panels.flat:
        plain(panel)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panels[0, 0].set_ylabel("sliced $W_2$")
    panels[1, 0].set_ylabel("memorization ratio")
    figure.supxlabel("steps; dotted: real points", fontsize="medium")
    figure.legend(lines.values(), lines, loc="outside right center", frameon=False)
    return figure


def glance(panel: Axes, recorded: Recorded) -> bool:
    """The Gaussian with each method over training; whether there is anything to draw."""
    lines = {
        method: over_steps(panel, found, W2, colour)
        for method, colour in COLOURS.items()
        if (found := recorded.get(f"plane/gaussian/{method}"))
    }
    shown = {method: line for method, line in lines.items() if line}
    panel.legend(shown.values(), shown, frameon=False, fontsize="small")
    panel.set(title="FAR: a Gaussian of 1,000 points", xlabel="steps", ylabel="sliced $W_2$", yscale="log")
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    return bool(shown)


if __name__ == "__main__":
    main(
        PAPER, __doc__ or "", ROWS, TABLES, sheet=[[f"plane/{data}/{method}" for method in METHODS] for data in LENGTHS]
    )
