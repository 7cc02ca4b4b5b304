"""Refinement after training: samples flow on along the trained discriminator, in z (DGflow, Ansari et al. 2021).

The flow of D_f(q || p), less `temperature` times the entropy, in the latent space (their Algorithm 1):

    z <- z - eta grad_z f'(exp(-d(G(z)))) + sqrt(2 temperature eta) xi,    xi ~ N(0, I)
       = z + eta s(d(G(z))) grad_z d(G(z)) + sqrt(2 temperature eta) xi,

d the logit of the discriminator, which stands for log p/q, and s = r f''(r) at r = exp(-d). Torch is imported where it
computes: recipes are checked without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from gflow_core.errors import GflowError
from gflow_core.parts.options import option, out_of_bounds
from gflow_core.parts.plugins import name_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gflow_core.machine.runtime import Runtime
    from gflow_core.machine.streams import Streams
    from gflow_core.nn.sampling import Given
    from gflow_core.parts.spec import Spec

__all__ = ["FACTORS", "Refined", "Refinement", "numbered", "refine", "refinement_faults"]

FACTORS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "kl": lambda d: d.new_ones(d.shape),  # f(u) = u log u
        "js": lambda d: d.sigmoid(),  # f(u) = u log u - (u+1) log((u+1)/2)
        "logd": lambda d: (-d).sigmoid(),  # f(u) = (u+1) log(u+1) - 2 log 2
    }
)
"""s(d) of each divergence (Gao et al. 2019), [B] of logits [B]."""

AT_ONCE = 64
"""Items whose gradients are taken at once; bounds the memory, changes nothing else."""


@attrs.frozen(kw_only=True)
class Refinement:
    """How samples are refined; the defaults are the paper's on CIFAR-10."""

    cite: ClassVar[tuple[str, ...]] = ("ansari2021refining",)

    steps: int = option(25, doc="Moves of z.", ge=1)
    eta: float = option(0.1, doc="Length of a move; 0 leaves z where it is.", ge=0)
    temperature: float = option(0.01, doc="Of the noise: its variance in a move is 2 temperature eta.", ge=0)
    divergence: Literal["kl", "js", "logd"] = option("kl", doc="The f-divergence that the flow decreases.")

    @classmethod
    def of(cls, steps: int, eta: float, temperature: float, divergence: Any) -> Refinement:
        """As asked for; GflowError where a number is out of range, or there is no such divergence."""
        given: dict[str, Any] = {"steps": steps, "eta": eta, "temperature": temperature}
        for name, value in given.items():
            if fault := out_of_bounds(attrs.fields_dict(cls)[name], value):
                raise GflowError(f"refine: {name} {fault}")
        if divergence not in FACTORS:
            raise GflowError(f"refine: divergence must be one of {', '.join(FACTORS)}, got {divergence!r}")
        return cls(**given, divergence=divergence)

    def __str__(self) -> str:
        return f"{self.steps} steps, eta {self.eta:g}, temperature {self.temperature:g}, {self.divergence}"


def refinement_faults(spec: Spec) -> Iterator[str]:
    """Why samples of such a run cannot be refined; nothing if they can."""
    if "discriminator" not in getattr(spec.objective, "players", ()):
        yield "follows the gradient of a trained discriminator, and the recipe trains none"
    elif not getattr(spec.objective, "log_ratio", False):
        yield (
            "takes the discriminator's logit for the log ratio of data to samples, and this objective teaches it "
            "another number; the losses nonsaturating and minimax teach it that, of items one by one, as they "
            "are, that are all real"
        )
    latent = getattr(spec.sampler, "latent", None)
    if spec.particles is not None:
        yield "moves z along a gradient, and the run has particles, which z only picks"
    elif latent is not None and not hasattr(latent, "project"):
        law = name_of("latent", latent)
        yield f"moves z along a gradient, and its law {law} is discrete, or does not say where z may be (project)"


def refine(
    z: Tensor,
    judge: Callable[[slice, Tensor], Tensor],
    rule: Refinement,
    project: Callable[[Tensor], Tensor],
    noise: Callable[[], Tensor],
) -> tuple[Tensor, Tensor]:
    """z [B, dim] moved `rule.steps` times, and the logits [steps + 1, B] before each move and after the last.

    `judge(rows, z)` gives d(G(z)) [rows] of z at these rows, each item's its own; `project` puts z back to where its
    law lives; `noise` draws xi [B, dim]. Raises GflowError: no gradient reaches z, or z is no longer finite.
    """
    import torch

    deviation = math.sqrt(2 * rule.temperature * rule.eta)
    logits = []
    for step in range(rule.steps + 1):
        pieces = [
            _differentiated(judge, slice(start, start + AT_ONCE), z, step < rule.steps)
            for start in range(0, len(z), AT_ONCE)
        ]
        d, gradient = (torch.cat(both) for both in zip(*pieces, strict=True))
        logits.append(d)
        if step < rule.steps:
            moved = z + rule.eta * FACTORS[rule.divergence](d)[:, None] * gradient
            z = project(moved + deviation * noise() if deviation else moved)
    if not bool(z.isfinite().all()):
        raise GflowError(
            f"refinement ({rule}): z has become NaN or infinite; lower eta. If the first step does that already, the "
            "networks have diverged"
        )
    return z, torch.stack(logits)


def _differentiated(
    judge: Callable[[slice, Tensor], Tensor], rows: slice, z: Tensor, wanted: bool
) -> tuple[Tensor, Tensor]:
    """d [rows] and, where it is wanted, its gradient [rows, dim] at rows of z."""
    import torch

    with torch.inference_mode(False), torch.set_grad_enabled(wanted):
        z = z[rows].clone().requires_grad_(wanted)
        d = judge(rows, z)
        if not wanted:
            return d, z
        gradient = torch.autograd.grad(d.sum(), z, allow_unused=True)[0] if d.requires_grad else None
    if gradient is None:
        raise GflowError("refinement: no gradient goes from the discriminator's logit through the sampler to z")
    return d.detach(), gradient


@attrs.frozen(eq=False)
class Refined:
    """Numbered pieces of what samples are made of -> refined samples [B, *shape]. Networks are in eval mode.

    z moves in float32 whatever the run's precision; samples are then made as ever.
    """

    sampler: nn.Module
    discriminator: nn.Module
    latent: Any
    reads_labels: bool
    """Whether the discriminator does."""
    rule: Refinement

    @classmethod
    def of(cls, spec: Spec, sampler: nn.Module, discriminator: nn.Module, rule: Refinement) -> Refined:
        """Of a run's networks."""
        return cls(sampler, discriminator, spec.sampler.latent, spec.discriminator.conditional, rule)

    def __call__(self, runtime: Runtime, item: tuple[int, Given]) -> Tensor:
        from gflow_core.nn.sampling import sample

        return sample(self.sampler, runtime, self.moved(runtime, item)[0])

    def moved(self, runtime: Runtime, item: tuple[int, Given]) -> tuple[Given, Tensor]:
        """The piece with z where it comes to, on the CPU, and the logits [steps + 1, B] on the way."""
        import torch

        from gflow_core.nn.sampling import CHUNK

        seed, (z, y) = item
        labels = None if y is None else runtime.to_device(y)
        generator = torch.Generator().manual_seed(seed)

        def judge(rows: slice, z: Tensor) -> Tensor:
            own = () if labels is None else (labels[rows],)
            d: Tensor = self.discriminator(self.sampler(z, *own), *(own if self.reads_labels else ()))
            return d

        def noise() -> Tensor:  # as many as a whole piece takes: a shorter one has the first of them
            drawn = torch.randn(max(CHUNK, len(z)), z.shape[1], generator=generator)[: len(z)]
            return runtime.to_device(drawn.to(z.dtype))

        found, logits = refine(runtime.to_device(z), judge, self.rule, self.latent.project, noise)
        return (found.cpu(), y), logits


def numbered(given: Iterable[Given], streams: Streams, first: int = 0) -> Iterator[tuple[int, Given]]:
    """Each piece, the number of the first one being `first`, with the seed of its noise."""
    from gflow_core.machine.streams import derive

    return ((derive(streams.seed, f"refine.{i}"), piece) for i, piece in enumerate(given, first))
