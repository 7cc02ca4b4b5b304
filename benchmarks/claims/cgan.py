"""CGAN's claims (Mirza and Osindero 2014): digits as asked for, and their log-likelihood.

    python benchmarks/claims/cgan.py --rows published --data DATA     # three hours a seed; start again to go on
    python benchmarks/claims/cgan.py --record

Rows `published` are the networks and optimizer of Section 4.1 on all 60,000 digits; `gan` the same networks without
labels; rows `convolutions` a small conditional DCGAN with Adam on 4,500 digits.
"""

from __future__ import annotations

from drawing import over_steps, plain
from ledger import Claim, Finding, Judge, Recorded, Verdict, against, difference, judged, spread
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from rows import Row, main

PAPER = "cgan"
TITLE = "CGAN: conditional generative adversarial nets"
PICTURE = "The share of digits that are as asked for, and the Parzen log-likelihood, over training"
PARZEN, REAL = "cgan.parzen:log_likelihood", "cgan.parzen:log_likelihood_real"
FD = "frechet:FD(mnist_cnn.hidden)"
ASKED = "cgan.label_accuracy:label_accuracy(mnist_cnn)"
WORST = f"{ASKED}_worst"
STEPS, EVERY = 300_000, 30_000
NEAR, RIGHT = 10.0, 0.9
"""Nats within which a log-likelihood is called the published one; share of samples that must be as asked for."""
PUBLISHED = {"cgan": (132.0, 1.8), "gan": (225.0, 2.0)}
LOOK = 'encoder = { use = "mnist_cnn" }'
ANALYSES = (
    '{ use = "cgan.parzen" }, { use = "frechet", encoder = { use = "mnist_cnn", layer = "hidden" } }',
    f'{{ use = "cgan.label_accuracy", {LOOK} }}',
)

ROWS = {
    "published/cgan": Row(
        recipe="cgan_mnist",
        words=("dataset.root=DATA", f"analyze=[{', '.join(ANALYSES)}]"),
        steps=STEPS,
        every=EVERY,
        seeds=3,
        scores=(PARZEN, REAL, FD, ASKED, WORST),
    ),
    "published/gan": Row(
        recipe="cgan_mnist",
        words=(
            "dataset.root=DATA",
            *(f"{who}.conditional=false" for who in ("sampler", "discriminator")),
            f"analyze=[{ANALYSES[0]}]",
        ),
        steps=STEPS,
        every=EVERY,
        seeds=3,
        scores=(PARZEN, REAL, FD),
    ),
    "without_max_norm": Row(
        recipe="cgan_mnist",
        words=("dataset.root=DATA", "~discriminator.max_norm", f"analyze=[{', '.join(ANALYSES)}]"),
        steps=6_000,
        every=100,
        scores=(PARZEN, FD, ASKED),
    ),
    "convolutions": Row(recipe="cgan_mnist5k", steps=3_000, every=1_000, seeds=3, scores=(FD, ASKED, WORST)),
}
TABLES = [
    (
        "Log-likelihood by Parzen windows, in nats (beside it, of training digits in the samples' place), "
        "FD(mnist_cnn.hidden), and the share of samples in which `mnist_cnn` sees what was asked for, of all classes "
        "and of the worst.",
        "*",
        {
            "log-likelihood": (PARZEN, 1, 1.0),
            "of digits": (REAL, 1, 1.0),
            "FD": (FD, 1, 1.0),
            "asked for, %": (ASKED, 1, 100.0),
            "worst class, %": (WORST, 1, 100.0),
        },
    ),
]


def likelihood(recorded: Recorded) -> Finding:
    """Confirmed where it is surely within 10 nats of the published number, refuted where surely further away."""
    found = recorded["published/cgan"](PARZEN)
    there, error = PUBLISHED["cgan"]
    sides = against(found, there - NEAR), against(found, there + NEAR)
    text = f"{spread(found, 1)} nats, published {there:.0f} ± {error}"
    within, beyond = sides == (1, -1), -1 in sides[:1] or 1 in sides[1:]
    return Finding(text, "confirmed" if within else "refuted" if beyond else "open")


def apart(recorded: Recorded) -> Finding:
    """Confirmed where the network without labels surely has the larger one, refuted where surely the smaller."""
    cgan, gan = recorded["published/cgan"](PARZEN), recorded["published/gan"](PARZEN)
    found = difference(gan, cgan)
    text = (
        f"with labels {spread(cgan, 1)}, without {spread(gan, 1)}: {found.told(1)} (published, of another network: +93)"
    )
    return Finding(text, judged(found, 1))


def asked_for(row: str) -> Judge:
    """Confirmed where surely more than nine of ten samples are what was asked for, refuted where surely fewer."""

    def judge(recorded: Recorded) -> Finding:
        found = recorded[row]
        text = f"{spread(found(ASKED), 1, 100)} % of samples are, of the worst class {spread(found(WORST), 1, 100)} %"
        verdicts: dict[int, Verdict] = {1: "confirmed", 0: "open", -1: "refuted"}
        return Finding(text, verdicts[against(found(ASKED), RIGHT)])

    return judge


def goes_on(recorded: Recorded) -> Finding:
    """Confirmed where its numbers stay finite to the end, refuted where they do not: one run."""
    found = recorded["without_max_norm"]
    text = found.diverged or f"finite for {found.steps:,} of {found.row['of']:,} steps"
    return Finding(text, "refuted" if found.diverged else "open" if found.is_cut else "confirmed", "not at its end yet")


def picture(recorded: Recorded) -> Figure | None:
    """Over steps: the share of digits that are as asked for, and the log-likelihood; medians, all seeds in a band."""
    panels = {
        title: {name: recorded[name] for name in COLOURS if name in recorded and recorded[name](score)}
        for title, score in SHOWN.items()
    }
    if not any(panels.values()):
        return None
    panels = {title: rows for title, rows in panels.items() if rows}
    figure = Figure(figsize=(4.5 * len(panels), 3.2), layout="constrained")
    for panel, (title, rows) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name, found in rows.items():
            if line := over_steps(panel, found, SHOWN[title], COLOURS[name], ".-"):
                line.set_label(name)
            if SHOWN[title] == PARZEN:
                panel.axhline(PUBLISHED[name.rpartition("/")[2]][0], color=COLOURS[name], linestyle=":", linewidth=1.2)
        panel.set(title=title, xlabel="steps", xscale="log")
        plain(panel)
        panel.legend(frameon=False)
    return figure


COLOURS = {"published/cgan": "#08519c", "published/gan": "#31a354", "convolutions": "#d62728"}
SHOWN = {"digits that are as asked for": ASKED, "log-likelihood, nats (dotted: published)": PARZEN}


def glance(panel: Axes, recorded: Recorded) -> bool:
    """The share of digits that are as asked for, over training; whether there is anything to draw."""
    lines = {
        name: line
        for name, colour in COLOURS.items()
        if name in recorded and (line := over_steps(panel, recorded[name], ASKED, colour, ".-"))
    }
    panel.legend(lines.values(), lines, frameon=False, fontsize="small")
    panel.set(title="CGAN: digits as asked for", xlabel="steps", ylabel="share", ylim=(0, 1.02))
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    return bool(lines)


CLAIMS = [
    Claim(
        says="Samples are the digits that are asked for",
        where="Section 4.1, Figure 2",
        rows=("published/cgan",),
        judge=asked_for("published/cgan"),
    ),
    Claim(
        says="The log-likelihood of MNIST's test digits is 132 ± 1.8",
        where="Table 1",
        rows=("published/cgan",),
        judge=likelihood,
    ),
    Claim(
        says="A GAN without labels has the larger log-likelihood",
        where="Table 1, which quotes another network's 225 ± 2",
        rows=("published/cgan", "published/gan"),
        judge=apart,
    ),
    Claim(
        says="Tags of photographs by word vectors",
        where="Section 4.2",
        lack="neither the photographs nor the language model is to be had",
    ),
    Claim(
        says="Training goes on for 6,000 steps without keeping weight vectors short, of which the paper says nothing",
        where="Section 4.1",
        rows=("without_max_norm",),
        judge=goes_on,
        to_the_end=False,
        ours=True,
    ),
    Claim(
        says="A small network of convolutions with Adam draws the digits that are asked for, of 4,500",
        where="the method",
        rows=("convolutions",),
        judge=asked_for("convolutions"),
        ours=True,
    ),
]
NOTES = """\
Four things the paper does not print: the loss, how momentum rises, the length and the initial weights; weight vectors
are kept short besides ([why](cgan.md)). What is refuted is refuted of these choices.
"""

if __name__ == "__main__":
    main(PAPER, __doc__ or "", ROWS, TABLES)
