"""FAR on images, smaller than the paper's in width and length, at two widths for a trend."""

from __future__ import annotations

from itertools import product

import numpy as np
from far_in_plane import LINES, LOSSES, METHODS, away
from ledger import Claim, Finding, Found, Judge, Recorded, TooFew, Values, change, changes, judged, spread
from rows import Row

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
FD = {"digits": "frechet:FD(mnist_cnn.hidden)", "cifar": "frechet:FD(efficientnet_lite0)"}
SECOND = {
    "digits": ("frechet_again:FD(digits_encoder)", "FD(digits_encoder)"),
    "cifar": ("sliced_wasserstein:sliced_wasserstein", "sliced Wasserstein distance of patches"),
}
"""A distance of another kind, and its name: by another encoder, or of patches where no other encoder is at hand."""
PRECISION, RECALL = "prdc:precision", "prdc:recall"
REACHED = ("mode_coverage:modes_covered", "mode_coverage:kl_uniform")

# ------------------------------------------------------------------ what is run


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
    **{
        f"{data}/{width}/{method}": images(data, width, method)
        for data, widths in WIDTHS.items()
        for width, method in product(widths, ("r1", "far"))
    },
    **{f"stacked/{method}": stacked(method) for method in STACKED},
}
TABLES = [
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


def losses_of_images(data: str) -> Judge:
    """Confirmed where both are surely nearer to their lines than R1's at both widths; refuted where one is further.

    Seed by seed.
    """

    def judge(recorded: Recorded) -> Finding:
        texts, off = [], []
        for width, (score, (who, line)) in product(WIDTHS[data], LINES.items()):
            far, r1 = (recorded[f"{data}/{width}/{method}"](score) for method in ("far", "r1"))
            texts.append(f"width {width} {who} {spread(far, 2)} (R1 {spread(r1, 2)}; {line:.2f})")
            off.append((away(line, far), away(line, r1)))
        return Finding("; ".join(texts), judged(changes(off), -1))

    return judge


def better_images(data: str, score: str, *, seconds: bool = False) -> Judge:
    """Confirmed where FAR's is surely better than R1's at both widths, refuted where it is surely worse at one.

    Seed by seed, after as many steps, or seconds: there FAR's is read off between two looks, at the step that it has
    come to by then.
    """
    wanted, digits = (1, 3) if score == RECALL else (-1, 1)

    def judge(recorded: Recorded) -> Finding:
        texts, pairs = [], []
        for width in WIDTHS[data]:
            r1, far = (recorded[f"{data}/{width}/{method}"] for method in ("r1", "far"))
            faster = (r1.row["seconds"] / r1.steps) / (far.row["seconds"] / far.steps)
            pairs.append((between(far, score, min(1.0, faster) * far.steps) if seconds else far(score), r1(score)))
            texts.append(f"width {width} {spread(pairs[-1][0], digits)}, R1 {spread(pairs[-1][1], digits)}")
        found = changes(pairs)
        text = "; ".join(f"{text}: {one.told(digits)}" for text, one in zip(texts, found, strict=True))
        return Finding(text, judged(found, wanted))

    return judge


def between(found: Found, score: str, step: float) -> Values:
    """The score of each seed after so many steps, on the line between two looks. TooFew before the first."""
    looks = found.looked(score)
    if step < looks[0]:
        raise TooFew(f"{found.name} was not looked at before step {looks[0]:,}")
    every = [found(score, one) for one in looks]
    seeds = set(every[0].seeds).intersection(*(values.seeds for values in every[1:]))
    there = {seed: float(np.interp(step, looks, [values.by_seed[seed] for values in every])) for seed in seeds}
    return Values.of_seeds(there, every[0].of)


def reaches_more_modes(recorded: Recorded) -> Finding:
    """Confirmed where FAR surely reaches more modes than R1, seed by seed; refuted where surely fewer."""
    found = {method: recorded[f"stacked/{method}"](REACHED[0]) for method in STACKED}
    text = ", ".join(f"{method} {spread(values, 0)}" for method, values in found.items())
    return Finding(f"modes of 1,000: {text}", judged(change(found["far"], found["r1"]), 1))


CLAIMS = [
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
