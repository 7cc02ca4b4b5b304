"""The objective's part; networks, figures and theory have theirs in modules of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from gflow_core.builtin.adversarial import Adversarial, Penalty
from gflow_core.contracts import Experiment
from gflow_core.options import option

if TYPE_CHECKING:
    from gflow_core.spec import Spec
    from gflow_far.fake_as_real import FakeAsRealObjective

__all__ = ["FakeAsReal"]


@attrs.frozen(kw_only=True)
class FakeAsReal(Adversarial):
    """FAR (eq. 12): of each "real" batch, `fake_as_real` items are generated ones.

    They are those with the lowest logits of `candidates` fresh samples, where fakes crowd round a real point. The
    default penalty is zero-centred on that mixed batch. `fake_as_real = 0` is plain GAN training.
    """

    fake_as_real: int = option(
        16, doc="M0: generated items counted as real (the paper: 16 of 64 in the plane, 32 of 64 on images).", ge=0
    )
    candidates: int = option(256, doc="M1: fresh samples that they are chosen from, lowest logits first.", ge=1)
    penalty: Penalty = option(
        factory=lambda: Penalty(kind="mixed", weight=10.0),
        doc="Gradient penalty on the discriminator (the paper: mixed, weight 10).",
    )

    def check(self, spec: Spec) -> Iterable[str]:
        yield from super().check(spec)
        if self.fake_as_real > self.candidates:
            yield f"fake_as_real = {self.fake_as_real} cannot be chosen from candidates = {self.candidates}"
        if spec.train is not None and self.fake_as_real >= spec.train.batch_size:
            yield (
                f"fake_as_real = {self.fake_as_real} leaves no real item in train.batch_size = {spec.train.batch_size}"
            )

    def build(self, experiment: Experiment) -> FakeAsRealObjective:
        from gflow_far.fake_as_real import FakeAsRealObjective

        return FakeAsRealObjective(self, experiment)
