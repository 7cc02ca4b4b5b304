"""FAR in the plane: Section 6.1's Gaussian and ring, Appendix D's grid and spiral, with its four methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from statistics import mean, stdev

import attrs
from ledger import (
    LEVEL,
    Claim,
    Difference,
    Finding,
    Found,
    Judge,
    Recorded,
    TooFew,
    Values,
    Verdict,
    against,
    beyond,
    change,
    changes,
    judged,
    spread,
    trend,
)
from rows import Row
from scipy import stats

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
ADAM = tuple(
    f'optimizer.{who}={{ use = "adam", lr = 0.0003, betas = [0.5, 0.999] }}' for who in ("sampler", "discriminator")
)
"""At the paper's 0.003 all discriminators without a penalty die with Adam, too, and most with momentum."""
HELD_OUT = {"gaussian": ("dataset.test_n=20000",)}
"""Of the 1,000 points that are trained on, as many held-out ones are too few to see what these are over-fitted to."""
FIGURE_1 = {"none": "a, e", "r1": "b, f", "interpolation": "c, g"}
ON_OTHERS = ("ring8", "grid25", "swissroll")
BY_RMSPROP = ("gaussian", "ring8")
NAMES = {"none": "no penalty", "r1": "R1", "interpolation": "the penalty on interpolations"}
IN_THE_END = ("plane/*/r1", "plane/*/far")

MUCH = 0.1
"""What is called much, as a share: of a distance, or of the memorization ratio."""
MODES = ("mode_coverage:modes_covered", "mode_coverage:high_quality_share")
W2, MEMORY, COPIES = "two_sample:sliced_w2", "memorization:distance_ratio", "memorization:close_share"
PULL = "far.gradient_explosion:close_gradient_median"
RATIO = "far.gradient_explosion:close_far_ratio"
OTHERS = ("two_sample:sliced_w2_real", RATIO)
POINTS = ("far.gradient_explosion:effective_points", "far.gradient_explosion:effective_points_real")
CROWDING = "far.gradient_explosion:crowding"
LOWEST = {what: f"far.gradient_explosion:lowest_{what}" for what in ("distance", "crowd", "gradient")}
LOSSES = ("losses:discriminator_loss", "losses:sampler_loss")

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
        scores=(*modes, W2, MEMORY, COPIES, PULL, *OTHERS, *POINTS, CROWDING, *LOWEST.values(), *LOSSES),
        ends=tuple(LOWEST.values()),
    )


def counted(count: int, candidates: int) -> Row:
    """The ring with so many of so many counted as real; with none it is R1. Fewer looks, and none that only draws."""
    words = (f"objective.fake_as_real={count}", f"objective.candidates={candidates}") if count else ()
    names = ("mode_coverage", "two_sample", "memorization", "far.gradient_explosion", "losses")
    looks = ", ".join(f'{{ use = "{name}" }}' for name in names)
    return plane("ring8", "far" if count else "r1", 50_000, 10_000, *words, f"analyze=[{looks}]")


ROWS = {
    **{
        f"plane/{data}/{method}": plane(data, method, LENGTHS[data], LENGTHS[data] // 10, *HELD_OUT.get(data, ()))
        for data, method in product(LENGTHS, METHODS)
    },
    **{f"adam/{method}": plane("gaussian", method, 20_000, 2_000, *ADAM, *HELD_OUT["gaussian"]) for method in METHODS},
    **{
        f"rmsprop/{data}/{method}": plane(data, method, 20_000, 5_000, *RMSPROP)
        for data, method in product(BY_RMSPROP, METHODS)
    },
    **{
        f"counted/{count}_of_{candidates}": counted(count, candidates)
        for count, candidates in dict.fromkeys([*product(COUNTED, [256]), *product([16], CANDIDATES)])
    },
}
IN_THE_PLANE = {
    "modes": (MODES[0], 1, 1.0),
    "high quality, %": (MODES[1], 1, 100.0),
    "sliced W2": (W2, 3, 1.0),
    "of the law": (OTHERS[0], 3, 1.0),
    "memorization": (MEMORY, 2, 1.0),
    "copies, %": (COPIES, 1, 100.0),
    "pull": (PULL, 4, 1.0),
    "points": (POINTS[0], 0, 1.0),
    "law's": (POINTS[1], 0, 1.0),
    "discriminator's loss": (LOSSES[0], 3, 1.0),
    "sampler's": (LOSSES[1], 3, 1.0),
}
TABLES = [
    (
        "Of 2,500 samples one is of high quality within 3 standard deviations of the nearest mode. Sliced W2 is to "
        "held-out points, and beside it that of other held-out points; copies of the training data have a memorization "
        "ratio of 0, the law itself 1.",
        "plane/*",
        IN_THE_PLANE,
    ),
    (
        "The Gaussian with Adam at a tenth of the rate, at which discriminators live without a penalty, too.",
        "adam/*",
        IN_THE_PLANE,
    ),
    ("The same with RMSProp at the same rate.", "rmsprop/*", IN_THE_PLANE),
    ("The ring with so many samples counted as real, of so many candidates.", "counted/*", IN_THE_PLANE),
]

# ------------------------------------------------------------------ what that says of the claims


def at(recorded: Recorded, data: str, method: str) -> Found:
    return recorded[f"plane/{data}/{method}"]


def alive(found: Found) -> list[int]:
    """The seeds whose discriminator has a gradient at the samples in the end: no other goes on with the game.

    TooFew where fewer than two have one.
    """
    pulls = found(PULL)
    there = [seed for seed, pull in pulls.by_seed.items() if pull > 0]
    if len(there) < 2:
        raise TooFew(f"{len(pulls) - len(there)} of {len(pulls)} discriminators have no gradient in {found.name}")
    return there


def pulled(found: Found, score: str) -> Values:
    """The score of the seeds that are `alive`."""
    return found(score).where(alive(found))


def left_out(*rows: Found) -> str:
    """How many discriminators have no gradient at the samples."""
    count = sum(pull == 0 for found in rows for pull in found(PULL))
    return f"; {count} without a gradient at the samples left out" if count else ""


def second_half(found: Found, score: str) -> Values:
    """The mean over the looks of the second half."""
    looks = found.looked(score)
    return found.averaged(score, looks[len(looks) // 2 :])


def half_way_and_late(found: Found, score: str) -> tuple[Values, Values]:
    """Means over the three looks about the middle, and over the last three; of fewer than six the single ones."""
    looks = found.looked(score)
    middle = len(looks) // 2 - 1
    early, late = (looks[middle - 1 : middle + 2], looks[-3:]) if len(looks) >= 6 else ([looks[middle]], looks[-1:])
    return found.averaged(score, early), found.averaged(score, late)


def biased(row: str) -> Judge:
    """Confirmed where sliced W2 is surely more than twice that of two sets of the law, refuted where surely less.

    Of the seeds whose discriminator has a gradient at the samples in the end.
    """

    def judge(recorded: Recorded) -> Finding:
        none = recorded[row]
        found, law = pulled(none, W2), mean(none(OTHERS[0]))
        side = against(found, 2 * law)
        text = f"sliced W2 {spread(found)}, of the law {law:.3f}{left_out(none)}"
        return Finding(text, "confirmed" if side > 0 else "refuted" if side < 0 else "open")

    return judge


def over_fits_later(row: str) -> Judge:
    """Confirmed where samples surely lie at fewer real points later, by more than a tenth, from half-way on.

    Refuted where surely not, and at more than .9 of those that held-out points lie at. The effective number, exp of
    the entropy of which real point is nearest; three looks each; of the seeds whose discriminator has a gradient.
    """

    def judge(recorded: Recorded) -> Finding:
        found = recorded[row]
        law = mean(found(POINTS[1]))
        early, late = (values.where(alive(found)) for values in half_way_and_late(found, POINTS[0]))
        fewer = change(late, early)
        text = f"at {spread(early, 0)} real points, then {spread(late, 0)}, the law at {law:.0f}: {fewer.told(0)}"
        fine = fewer.low > -MUCH * mean(early) and mean(late) > (1 - MUCH) * law
        verdict: Verdict = "confirmed" if fewer.high < -MUCH * mean(early) else "refuted" if fine else "open"
        return Finding(text + left_out(found), verdict)

    return judge


def worse_later(row: str) -> Judge:
    """Confirmed where sliced W2 surely grows from half-way on (three looks each); refuted where surely by < 10 %.

    Of the seeds whose discriminator has a gradient at the samples in the end.
    """

    def judge(recorded: Recorded) -> Finding:
        row_found = recorded[row]
        early, late = (values.where(alive(row_found)) for values in half_way_and_late(row_found, W2))
        further = change(late, early)
        text = f"sliced W2 goes from {spread(early, 3)} to {spread(late, 3)}: {further.told(3)}"
        small = further.high < MUCH * mean(early)
        verdict: Verdict = "confirmed" if further.sign > 0 else "refuted" if small else "open"
        return Finding(text + left_out(row_found), verdict)

    return judge


def stays(row: str) -> Judge:
    """Confirmed where sliced W2 surely grows by < 10 % from half-way on (three looks each), refuted where it grows.

    Of the seeds whose discriminator has a gradient at the samples in the end.
    """

    def judge(recorded: Recorded) -> Finding:
        found = worse_later(row)(recorded)
        other: dict[Verdict, Verdict] = {"confirmed": "refuted", "refuted": "confirmed", "open": "open"}
        return attrs.evolve(found, verdict=other[found.verdict])

    return judge


def much_better(rows: str, method: str, than: str) -> Judge:
    """Confirmed where sliced W2 to the Gaussian is surely smaller by more than a tenth, refuted where surely not.

    Seed by seed, means over the second half of training, of the seeds whose discriminators both have a gradient at the
    samples in the end.
    """

    def judge(recorded: Recorded) -> Finding:
        pair = [recorded[f"{rows}/{which}"] for which in (method, than)]
        ours, other = (second_half(found, W2).where(alive(found)) for found in pair)
        apart, margin = change(ours, other), MUCH * mean(other)
        text = f"sliced W2 {spread(ours, 3)}, {NAMES[than]} {spread(other, 3)}: {apart.told(3)}{left_out(*pair)}"
        return Finding(text, "confirmed" if apart.high < -margin else "refuted" if apart.low > -margin else "open")

    return judge


def side_by_side(pairs: Mapping[str, Sequence[Values]], found: Sequence[Difference], than: str, digits: int) -> str:
    """What both methods have on each data set, and how far that is apart."""
    return "; ".join(
        f"{data} {spread(ours, digits)}, {NAMES[than]} {spread(other, digits)}: {one.told(digits)}"
        for (data, (ours, other)), one in zip(pairs.items(), found, strict=True)
    )


def nearer(rows: str, sets: Sequence[str], method: str, than: str) -> Judge:
    """Confirmed where sliced W2 is surely the smaller on all of them, seed by seed; refuted where larger on one.

    Means over the second half of training, of the seeds whose discriminators both have a gradient in the end.
    """

    def judge(recorded: Recorded) -> Finding:
        found = {data: [recorded[f"{rows}/{data}/{which}"] for which in (method, than)] for data in sets}
        pairs = {data: tuple(second_half(one, W2).where(alive(one)) for one in pair) for data, pair in found.items()}
        apart = changes((ours, other) for ours, other in pairs.values())
        text = side_by_side(pairs, apart, than, 3) + left_out(*(one for pair in found.values() for one in pair))
        return Finding(text, judged(apart, -1))

    return judge


def three_modes_at_first(recorded: Recorded) -> Finding:
    """Confirmed where the number of modes after 100,000 steps is surely below 4, refuted where surely above 3."""
    far = at(recorded, "ring8", "far")
    found = far(MODES[0], 100_000)
    text = f"{spread(found, 1)} modes after 100,000 steps, {spread(far(MODES[0], far.looked(MODES[0])[0]), 1)} after "
    text += f"{far.looked(MODES[0])[0]:,}"
    return Finding(text, "confirmed" if against(found, 4) < 0 else "refuted" if against(found, 3) > 0 else "open")


def all_modes_in_the_end(recorded: Recorded) -> Finding:
    """Confirmed where every seed has all 8, refuted where none has."""
    far = at(recorded, "ring8", "far")
    found = far(MODES[0])
    whole = [modes == 8 for modes in found]
    text = f"{spread(found, 1)} modes; {spread(far(MODES[1]), 1, 100)} % of samples lie at one"
    return Finding(text, "confirmed" if all(whole) else "open" if any(whole) else "refuted")


def draws_the_others(recorded: Recorded) -> Finding:
    """Confirmed where every seed has all 25 modes, and the spiral within five times the distance of two of its sets.

    Refuted where none has the modes, or none the spiral.
    """
    grid, roll = at(recorded, "grid25", "far")(MODES[0]), at(recorded, "swissroll", "far")
    good = at(recorded, "grid25", "far")(MODES[1])
    near = 5 * mean(roll(OTHERS[0]))
    text = f"{spread(grid, 1)} of 25 modes, {spread(good, 1, 100)} % of samples at one; sliced W2 of the spiral "
    text += f"{spread(roll(W2))}, five times the law's {near:.2f}"
    whole, drawn = [modes == 25 for modes in grid], [distance <= near for distance in roll(W2)]
    if all(whole + drawn):
        return Finding(text, "confirmed")
    return Finding(text, "open" if any(whole) and any(drawn) else "refuted")


def covers_more_modes(recorded: Recorded) -> Finding:
    """Confirmed where more runs of FAR than of R1 have all modes of ring or grid (Fisher), refuted where fewer."""
    whole = {"ring8": 8, "grid25": 25}
    found = {method: {data: at(recorded, data, method)(MODES[0]) for data in whole} for method in ("far", "r1")}
    have = {method: [n == whole[data] for data, modes in of.items() for n in modes] for method, of in found.items()}
    text = "; ".join(f"{data} {spread(found['far'][data], 1)}, R1 {spread(found['r1'][data], 1)}" for data in whole)
    text += f"; all in {sum(have['far'])} of {len(have['far'])} runs, of R1 in {sum(have['r1'])} of {len(have['r1'])}"
    p = float(stats.fisher_exact([[sum(of), len(of) - sum(of)] for of in have.values()]).pvalue)
    more = mean(have["far"]) > mean(have["r1"])
    return Finding(f"{text}, p {p:.2g}", "open" if p > LEVEL else "confirmed" if more else "refuted")


def on_all_four(score: str, method: str, than: str, wanted: int) -> Judge:
    """Confirmed where surely so on all four sets in the end, seed by seed; refuted where the other way on one."""
    digits = 4 if score == PULL else 2

    def judge(recorded: Recorded) -> Finding:
        rows = {data: [at(recorded, data, which) for which in (method, than)] for data in LENGTHS}
        pairs = {data: (pulled(ours, score), pulled(other, score)) for data, (ours, other) in rows.items()}
        apart = changes(pairs.values())
        text = side_by_side(pairs, apart, than, digits) + left_out(*(found for pair in rows.values() for found in pair))
        return Finding(text, judged(apart, wanted))

    return judge


def pull_grows(recorded: Recorded) -> Finding:
    """Confirmed where surely larger in the end than at the first look on all four; refuted where smaller on one."""
    rows = {data: at(recorded, data, "r1") for data in LENGTHS}
    pairs = {data: (found(PULL), found(PULL, found.looked(PULL)[0])) for data, found in rows.items()}
    text = "; ".join(f"{data} {spread(early, 4)}, then {spread(late, 4)}" for data, (late, early) in pairs.items())
    return Finding(text, judged(changes(pairs.values()), 1))


def strongest_without_penalty(recorded: Recorded) -> Finding:
    """Confirmed where the median gradient is larger at the closest tenth of samples than elsewhere in surely most runs.

    Refuted where in surely few: a sign test over all runs that have a gradient at the first look.
    """
    found = {data: at(recorded, data, "none") for data in LENGTHS}
    ratios = {data: row(RATIO, row.looked(RATIO)[0]) for data, row in found.items() if row.looked(RATIO)}
    values = [value for of in ratios.values() for value in of]
    above, below = sum(value > 1 for value in values), sum(value < 1 for value in values)
    if above + below < 2:
        raise TooFew("hardly a discriminator has a gradient at the first look")
    p = float(stats.binomtest(above, above + below).pvalue)
    text = f"close over elsewhere: {', '.join(f'{data} {spread(of)}' for data, of in ratios.items())}; "
    text += f"above 1 in {above} of {above + below} runs, p {p:.2g}"
    return Finding(text, "open" if p > LEVEL else "confirmed" if above > below else "refuted")


def strongest_with_penalty(recorded: Recorded) -> Finding:
    """Confirmed where that ratio is surely above 1 with both penalties on all four sets; refuted where below on one."""
    ratios = {
        f"{data} {NAMES[method]}": at(recorded, data, method)(RATIO)
        for data, method in product(LENGTHS, ("r1", "interpolation"))
    }
    text = f"close over elsewhere: {', '.join(f'{name} {spread(values)}' for name, values in ratios.items())}"
    return Finding(text, judged([beyond(values, 1, len(ratios)) for values in ratios.values()], 1))


def with_more(settings: Sequence[int], name: str, score: str, wanted: int, *, first: bool = False) -> Judge:
    """Confirmed where it surely goes that way on the ring, refuted where the other: by ranks, over all seeds."""

    def judge(recorded: Recorded) -> Finding:
        rows = {setting: recorded[name.format(setting)] for setting in settings}
        values = {
            setting: found(score, found.looked(score)[0]) if first else pulled(found, score)
            for setting, found in rows.items()
        }
        found = trend(values)
        digits = 4 if score == PULL else 2
        text = ", ".join(f"{setting}: {spread(seeds, digits)}" for setting, seeds in values.items())
        return Finding(f"{text}; {found.told()}", judged(found, wanted))

    return judge


def beside_r1(recorded: Recorded, look: int) -> tuple[str, list[Difference]]:
    """Sliced W2 of FAR and R1 on all four, in words, and seed by seed: at the first look (0) or the last (-1)."""
    rows = {data: [at(recorded, data, method) for method in ("far", "r1")] for data in LENGTHS}
    pairs = {data: [found(W2, found.looked(W2)[look]) for found in pair] for data, pair in rows.items()}
    found = changes((far, r1) for far, r1 in pairs.values())
    return f"sliced W2 {side_by_side(pairs, found, 'r1', 2)}", found


def slower_at_first(recorded: Recorded) -> Finding:
    """Confirmed where FAR is surely further from one law than R1 at the first look, and surely nearer to none.

    Refuted where it is surely nearer to one, and further from none.
    """
    text, found = beside_r1(recorded, 0)
    signs = {one.sign for one in found}
    slower, faster = 1 in signs, -1 in signs
    return Finding(text, "open" if slower == faster else "confirmed" if slower else "refuted")


def catches_up(recorded: Recorded) -> Finding:
    """Confirmed where it is surely not further by a tenth on any of the four; refuted where surely further on one."""
    text, found = beside_r1(recorded, -1)
    close = [one.high < MUCH * mean(at(recorded, data, "r1")(W2)) for data, one in zip(LENGTHS, found, strict=True)]
    return Finding(text, "refuted" if any(one.sign > 0 for one in found) else "confirmed" if all(close) else "open")


LINES = dict(zip(LOSSES, (("discriminator", 2 * math.log(2)), ("sampler", math.log(2))), strict=True))


def away(line: float, losses: Values) -> Values:
    """How far they are from where they are in equilibrium."""
    return losses.through(lambda loss: abs(loss - line))


def losses_on_the_ring(recorded: Recorded) -> Finding:
    """Confirmed where both losses are surely nearer to their lines than R1's, refuted where one is surely further.

    Seed by seed.
    """
    rows = [at(recorded, "ring8", method) for method in ("far", "r1")]
    off = {who: [away(line, pulled(found, score)) for found in rows] for score, (who, line) in LINES.items()}
    found = changes((far, r1) for far, r1 in off.values())
    told = [
        f"{who} {spread(far, 4)} off, R1 {spread(r1, 4)}: {one.told(4)}"
        for (who, (far, r1)), one in zip(off.items(), found, strict=True)
    ]
    return Finding("; ".join(told) + left_out(*rows), judged(found, -1))


def losses_deviate(recorded: Recorded) -> Finding:
    """Confirmed where both of R1's losses are surely further from their lines at the end than at the first look.

    Refuted where one is surely nearer. By their logarithms, seed by seed.
    """
    found = at(recorded, "ring8", "r1")
    pairs = {
        who: [away(line, found(score, step)) for step in (found.looked(score)[0], found.steps)]
        for score, (who, line) in LINES.items()
    }
    text = "; ".join(f"{who} {spread(early, 4)} off, then {spread(late, 4)}" for who, (early, late) in pairs.items())
    logs = [(late.through(math.log), early.through(math.log)) for early, late in pairs.values()]
    return Finding(text, judged(changes(logs), 1))


def steadier(recorded: Recorded) -> Finding:
    """Confirmed where both losses surely vary less than R1's over the looks of the second half; refuted where one more.

    By their standard deviations, seed by seed.
    """
    rows = [at(recorded, "ring8", method) for method in ("far", "r1")]
    told: list[str] = []
    pairs: list[tuple[Values, Values]] = []
    for score, (who, _) in LINES.items():
        over = [[found(score, look) for look in found.looked(score)[len(found.looked(score)) // 2 :]] for found in rows]
        far, r1 = (Values([stdev(look.by_seed[seed] for look in looks) for seed in looks[0].seeds]) for looks in over)
        told.append(f"{who} {spread(far, 4)}, R1 {spread(r1, 4)}")
        pairs.append((far, r1))
    return Finding("; ".join(told), judged(changes(pairs), -1))


def crowded(method: str) -> dict[str, str]:
    """Names of the rows, by data set: of the ring those at which few are counted, with R1 none, after 50,000 steps."""
    count = {"far": 16, "r1": 0}[method]
    return {
        "gaussian": f"plane/gaussian/{method}",
        "ring8": f"counted/{count}_of_256",
        "grid25": f"plane/grid25/{method}",
    }


def lowest_are(what: str, wanted: int) -> Judge:
    """Confirmed where the mean over the 16 lowest of 256 is surely so on all three sets, over that of the others.

    Refuted where surely the other way on one.
    """

    def judge(recorded: Recorded) -> Finding:
        ratios = {data: pulled(recorded[name], LOWEST[what]) for data, name in crowded("far").items()}
        text = ", ".join(f"{data} {spread(values)}" for data, values in ratios.items())
        apart = [beyond(values, 1, len(ratios)) for values in ratios.values()]
        return Finding(f"lowest over others: {text}", judged(apart, wanted))

    return judge


def crowds_are_pulled(recorded: Recorded) -> Finding:
    """Confirmed where the rank correlation of pull and crowd, at equal distance, is surely above 0 on all three sets.

    The crowd: how many samples share the nearest real point. Refuted where surely below on one.
    """
    found = {data: pulled(recorded[name], CROWDING) for data, name in crowded("r1").items()}
    text = f"rank correlation {', '.join(f'{data} {spread(values)}' for data, values in found.items())}"
    return Finding(text, judged([beyond(values, 0, len(found)) for values in found.values()], 1))


BY_ADAM = {"plane/gaussian": "", "adam": ", with Adam for 20,000 steps"}
"""Rows of the Gaussian, and how they are told: no penalty leaves no discriminator alive by momentum."""

CLAIMS = [
    *(
        Claim(
            says=f"Without a penalty samples of the Gaussian are biased{how}",
            where="Section 6.1, Figure 1 (a, e)",
            rows=(f"{rows}/none",),
            judge=biased(f"{rows}/none"),
            hindsight=True,
            ours=bool(how),
        )
        for rows, how in BY_ADAM.items()
    ),
    *(
        Claim(
            says=f"With {NAMES[method]} samples of the Gaussian over-fit to single points as training goes on{how}",
            where=f"Section 4.2, Figure 1 ({figure})",
            rows=(f"{rows}/{method}",),
            judge=over_fits_later(f"{rows}/{method}"),
            ours=bool(how),
        )
        for rows, how in BY_ADAM.items()
        for method, figure in FIGURE_1.items()
    ),
    *(
        Claim(
            says=f"With {NAMES[method]} samples of the Gaussian generalise worse as training goes on{how}",
            where=f"Section 4.2, Figure 1 ({figure})",
            rows=(f"{rows}/{method}",),
            judge=worse_later(f"{rows}/{method}"),
            ours=bool(how),
        )
        for rows, how in BY_ADAM.items()
        for method, figure in FIGURE_1.items()
    ),
    *(
        Claim(
            says=f"With FAR samples of the Gaussian do not generalise worse as training goes on{how}",
            where="Section 6.1, Figure 1 (d, h)",
            rows=(f"{rows}/far",),
            judge=stays(f"{rows}/far"),
            ours=bool(how),
        )
        for rows, how in BY_ADAM.items()
    ),
    *(
        Claim(
            says=f"FAR generalises much better than {name} on the Gaussian{how}",
            where="Section 6.1, Figure 1 (d, h)",
            rows=(f"{rows}/{method}", f"{rows}/far"),
            judge=much_better(rows, "far", method),
            hindsight=not how,
            ours=bool(how),
        )
        for rows, how in BY_ADAM.items()
        for method, name in NAMES.items()
    ),
    *(
        Claim(
            says=f"R1 alleviates over-fitting compared with no penalty{how}",
            where="Section 4.2, Figure 1 (b, f)",
            rows=(f"{rows}/none", f"{rows}/r1"),
            judge=much_better(rows, "r1", "none"),
            hindsight=not how,
            ours=bool(how),
        )
        for rows, how in BY_ADAM.items()
    ),
    Claim(
        says="On the ring FAR covers 3 modes at first",
        where="Section 6.1, Figure 2 (b)",
        rows=("plane/ring8/far",),
        judge=three_modes_at_first,
        hindsight=True,
    ),
    Claim(
        says="On the ring FAR covers all modes in the end",
        where="Section 6.1, Figure 2 (d)",
        rows=("plane/ring8/far",),
        judge=all_modes_in_the_end,
        hindsight=True,
    ),
    Claim(
        says="FAR draws the 25 Gaussians and the spiral",
        where="Appendix D, Figure 9",
        rows=("plane/grid25/far", "plane/swissroll/far"),
        judge=draws_the_others,
    ),
    Claim(
        says="Without a penalty the sampler's gradient explodes at generated points close to a real one",
        where="Sections 3 and 4.2, eq. 4 and 6",
        rows=("plane/*/none",),
        judge=strongest_without_penalty,
        to_the_end=False,
    ),
    Claim(
        says="The more generated points lie at a real one, the stronger the sampler's gradient is there, with R1",
        where="Section 4.2, after Proposition 2",
        rows=tuple(crowded("r1").values()),
        judge=crowds_are_pulled,
    ),
    Claim(
        says="The lowest-scored generated points, which FAR counts as real, share their real point with more of them",
        where="Section 5, eq. 11",
        rows=tuple(crowded("far").values()),
        judge=lowest_are("crowd", 1),
    ),
    Claim(
        says="The lowest-scored generated points lie nearer to real ones than the others",
        where="Section 5, eq. 11",
        rows=tuple(crowded("far").values()),
        judge=lowest_are("distance", -1),
    ),
    Claim(
        says="The sampler's gradient is larger at the lowest-scored generated points",
        where="Section 5, of M1",
        rows=tuple(crowded("far").values()),
        judge=lowest_are("gradient", 1),
    ),
    Claim(
        says="With R1 the sampler's gradient at generated points close to a real one grows as training goes on",
        where="Section 4.2 says so of a growing number of them",
        rows=("plane/*/r1",),
        judge=pull_grows,
        ours=True,
    ),
    Claim(
        says="The penalty on interpolations lowers the sampler's gradient at close pairs less than R1 does",
        where="Section 4.2",
        rows=("plane/*/r1", "plane/*/interpolation"),
        judge=on_all_four(PULL, "interpolation", "r1", 1),
    ),
    Claim(
        says="FAR lowers the sampler's gradient at generated points close to a real one",
        where="Sections 1, 4.3",
        rows=IN_THE_END,
        judge=on_all_four(PULL, "far", "r1", -1),
    ),
    Claim(
        says="FAR lowers the sampler's gradient at close pairs more than it lowers that elsewhere",
        where="Section 4.3 speaks of close pairs alone",
        rows=IN_THE_END,
        judge=on_all_four(RATIO, "far", "r1", -1),
        ours=True,
    ),
    Claim(
        says="The more samples are counted as real, the smaller the sampler's gradient at close pairs is",
        where="Section 4.3, of M0 in Section 5",
        rows=tuple(f"counted/{count}_of_256" for count in COUNTED),
        judge=with_more(COUNTED, "counted/{}_of_256", PULL, -1),
    ),
    Claim(
        says="The more candidates they are chosen from, the smaller the sampler's gradient at close pairs is",
        where="Section 5, of M1",
        rows=tuple(f"counted/16_of_{candidates}" for candidates in CANDIDATES),
        judge=with_more(CANDIDATES, "counted/16_of_{}", PULL, -1),
    ),
    Claim(
        says="The more samples are counted as real, the slower real ones are covered at first",
        where="Section 5",
        rows=tuple(f"counted/{count}_of_256" for count in COUNTED),
        judge=with_more(COUNTED, "counted/{}_of_256", W2, 1, first=True),
    ),
    Claim(
        says="FAR may be slower than R1 at first",
        where="Sections 5, 6.2.1",
        rows=IN_THE_END,
        judge=slower_at_first,
    ),
    Claim(
        says="FAR is not behind R1 in the end",
        where="Sections 5, 6.2.1 say so of images",
        rows=IN_THE_END,
        judge=catches_up,
        ours=True,
    ),
    *(
        Claim(
            says=f"FAR is nearer than {name} to the laws of the ring, the grid and the spiral",
            where="the abstract says that it is more faithful",
            rows=tuple(f"plane/{data}/{which}" for data in ON_OTHERS for which in (method, "far")),
            judge=nearer("plane", ON_OTHERS, "far", method),
            ours=True,
        )
        for method, name in NAMES.items()
    ),
    Claim(
        says="FAR is nearer than R1 to the laws of the Gaussian and the ring with RMSProp, after 20,000 steps",
        where="Section 6.2 takes RMSProp for images",
        rows=("rmsprop/*/r1", "rmsprop/*/far"),
        judge=nearer("rmsprop", BY_RMSPROP, "far", "r1"),
        ours=True,
    ),
    Claim(
        says="With either penalty the gradient is still the larger at generated points close to a real one",
        where="Section 4.2",
        rows=("plane/*/r1", "plane/*/interpolation"),
        judge=strongest_with_penalty,
        ours=True,
    ),
    Claim(
        says="R1's losses go away from 2 log 2 and log 2 as training goes on, on the ring",
        where="Section 6.2.1, Figure 5 say so of images",
        rows=("plane/ring8/r1",),
        judge=losses_deviate,
        ours=True,
        hindsight=True,
    ),
    Claim(
        says="FAR's losses vary less than R1's from look to look, on the ring",
        where="Section 6.2.1 calls training on images much more stable",
        rows=("plane/ring8/r1", "plane/ring8/far"),
        judge=steadier,
        ours=True,
        hindsight=True,
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
]
