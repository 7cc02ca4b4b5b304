"""The paper's theory, checked: the analyzer's options. The work is in the module that `build` imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import attrs

from gflow_core.contracts import Result, Subject
from gflow_core.options import option

if TYPE_CHECKING:
    from gflow_core.spec import Spec

__all__ = ["Equilibrium"]


@attrs.frozen(kw_only=True)
class Equilibrium:
    """The optimal discriminator near a real point: Table 2 counted, Propositions 1, 2 and 3 checked numerically.

    Solves the stationarity equations over a grid of k0, m0, p0, n and m, compares neighbours with Table 2's arrows,
    maximises the objective by itself, and builds Proposition 1's network. Needs no data and no training.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    grid: int = option(12, doc="Values of each of k0 (1e-4 to 10), m0 (1 to 16) and p0 (0 to 1), at most.", ge=2)
    counts: tuple[int, ...] = option(
        (16, 64, 256, 1024),
        doc="Values of n and of m, the numbers of real and of fake points; m0 is at most the smallest.",
        ge=1,
        check=lambda counts: None if len(counts) else "needs at least one number",
    )
    maximised: int = option(12, doc="Settings at which the objective is maximised by itself.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        return ()

    def build(self) -> Callable[[Subject], Result]:
        from gflow_far.equilibrium import equilibrium

        return lambda subject: equilibrium(self, subject)
