"""The statements of VGrow's paper, checked numerically on Gaussians (seed: Gao et al. 2019, supplement, Section 1).

p is the data law, q the model law, r = q/p, d = log p/q the optimal logit, D_f(q || p) = E_p f(r) and
v = -f''(r) grad r = s(d) grad d. Every divergence in PUBLISHED is checked with its own f, f1, f2 and scale, so
that a wrong formula fails here. Integrals are sums over a uniform grid (the trapezoid rule converges faster than
any power of the spacing for these integrands), derivatives in a step s are five-point central differences.

Where the supplement's print slips, what is checked is the corrected statement: Lemma 1.3 has r = exp(-d), so
exp(+d) = p/q in its display; the determinant in Theorem 1.2 is 1 - s div v + o(s).
"""

from __future__ import annotations

from collections.abc import Iterable

from gflow_core import Result, Subject, by_statement
from gflow_vgrow.divergences import PUBLISHED
from gflow_vgrow.theory.checks import OfDivergence
from gflow_vgrow.theory.figures import decay_figure, errors_figure
from gflow_vgrow.theory.in_time import decay, flow_in_time, particles
from gflow_vgrow.theory.laws import Pair, pairs
from gflow_vgrow.theory.statements import (
    closed_forms,
    continuity,
    dissipation,
    first_variation,
    functional_gradient,
    logd,
    logistic,
    svgd,
)

__all__ = ["STATEMENTS", "theory"]


def theory(subject: Subject, *, samples: int, flow_steps: int, horizon: float) -> Result:
    """Check every statement for every divergence in one and two dimensions.

    Expectations without quadrature are means over `samples`, particles flow to time 1 in `flow_steps`, and decay is
    followed to time `horizon` (`decay`). `scores` and `tables["statements"]` hold the worst relative error of each
    statement, `tables["theory"]` each check, `figures` the decay of the divergences and all the errors.
    """
    line, plane = pairs()
    jobs = len(PUBLISHED) + 2
    paths = {}
    for done, (name, divergence) in enumerate(PUBLISHED.items()):
        subject.progress("following flows", done, jobs)
        paths[name] = decay(line, divergence, horizon)
    checks: list[OfDivergence] = []
    for done, pair in enumerate((line, plane), len(PUBLISHED)):
        subject.progress("checking statements", done, jobs)
        checks += _statements(pair, subject, samples, flow_steps)
    for name, path in paths.items():
        checks += flow_in_time(line, name, path)
    subject.progress("checking statements", jobs, jobs)

    order = list(STATEMENTS)
    checks.sort(key=lambda check: order.index(check.statement))
    scores, tables = by_statement(STATEMENTS, checks)
    return Result(
        scores=scores,
        tables=tables,
        figures={"decay": decay_figure(paths), "errors": errors_figure(checks)},
        manifest={
            "divergences": list(PUBLISHED),
            "samples": samples,
            "flow_steps": flow_steps,
            "horizon": horizon,
            "laws": {
                f"{pair.dim}-D": {
                    name: {"mean": law.mean.tolist(), "cov": law.cov.tolist()}
                    for name, law in (("p", pair.p), ("q", pair.q))
                }
                for pair in (line, plane)
            },
        },
    )


STATEMENTS = {
    "Definition": "D_f by quadrature is the divergence it is known as",
    "Lemma 1.1": "the first variation of D_f at q is f'(r)",
    "Lemma 1.2": "dF/dt = -E||v||^2",
    "Lemma 1.3": "logistic regression finds d = -log r",
    "Theorem 1.1": "the functional gradient of D_f is f''(r) grad r",
    "Theorem 1.2": "the density follows dq/dt = -div(q v)",
    "Theorem 1.3": "the logD divergence is 2 KL((p+q)/2 || p)",
    "SVGD": "SVGD's step is the KL velocity projected by the kernel",
    "Flow": "with the exact ratio the divergence and the particles go as predicted",
    "Arrival": "the flow takes q to p",
}
"""What is checked, in the table's order."""


def _statements(pair: Pair, subject: Subject, samples: int, flow_steps: int) -> Iterable[OfDivergence]:
    """Everything that is checked at one moment of time, and the particles' flow."""
    streams = subject.streams
    yield from closed_forms(pair)
    for name, divergence in PUBLISHED.items():
        for statement in (first_variation, dissipation, functional_gradient, continuity):
            yield from statement(pair, name, divergence)
    yield from logistic(pair, samples, streams["theory.logistic"])
    yield from logd(pair, "logd", PUBLISHED["logd"])
    yield from svgd(pair, "kl", PUBLISHED["kl"], samples, streams["theory.svgd"])
    yield from particles(pair, "kl", PUBLISHED["kl"], samples, flow_steps, streams["theory.particles"])
