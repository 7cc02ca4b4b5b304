"""Checks of what steps are made of: losses, penalties, schedules, optimizers, augmentations; and of trackers.

Each takes a part, returns nothing, and raises AssertionError with a sentence that names the part and the promise.
"""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from gflow_core.errors import did_you_mean
from gflow_core.machine.streams import seeded
from gflow_core.parts.contracts import Adaptive, Judged, at
from gflow_core.parts.nouns import Batch, DataShape
from gflow_core.parts.plugins import plugins
from gflow_core.testing.promises import Promises, Untried, batch_of
from gflow_core.testing.tiny import TINY

__all__ = [
    "check_augmentation",
    "check_loss",
    "check_optimizer",
    "check_part",
    "check_penalty",
    "check_schedule",
    "check_tracker",
]

_STEPS = (0, 1, 2, 10, 1_000, 1_000_000)


def check_schedule(part: Any) -> None:
    """Ask the schedule for its value early and late: finite numbers that depend on the step alone."""
    promises = Promises("schedule", part)
    promises.common()
    values = [part.at(done) for done in _STEPS]
    for done, value in zip(_STEPS, values, strict=True):
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        promises.require(number, f"at({done}) is {value!r}, no finite number")
    promises.require([part.at(done) for done in _STEPS] == values, "at gives different values for the same step")


def check_optimizer(part: Any) -> None:
    """Build the optimizer over a small network and step: its weights move, its state can be saved and put back."""
    promises = Promises("optimizer", part)
    promises.common()
    now = part.at(0)
    promises.require("lr" in now, "at leaves out the learning rate, lr")
    twins = []
    for _ in range(2):
        with seeded(0):
            module = nn.Linear(3, 2)
        twins.append((module, part.build(module)))
    (module, optimizer), (twin, resumed) = twins
    known = set(optimizer.param_groups[0])
    promises.require(now.keys() <= known, f"at gives {sorted(now)}; what it builds knows {sorted(known)}")
    before = module.weight.detach().clone()
    _step(module, optimizer)
    promises.require(not torch.equal(before, module.weight), "a step leaves the weights where they are")
    twin.load_state_dict(module.state_dict())
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    _step(module, optimizer)
    _step(twin, resumed)
    promises.require(
        torch.equal(module.weight, twin.weight), "it does not go on from its saved state as if it had not stopped"
    )


def _step(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    module(torch.ones(4, 3)).square().sum().backward()
    optimizer.step()


def check_part(kind: str, part: Any) -> None:
    """What any part promises, of a kind that a plugin owns, too: a frozen, documented attrs class with its members."""
    if kind not in plugins().kinds:
        raise Untried(f'there is no kind "{kind}"{did_you_mean(kind, plugins().kinds)}')
    Promises(kind, part).common()


def check_loss(part: Any) -> None:
    """Both halves on random logits: a mean over the last axis, of each replica by itself, with finite gradients.

    The sampler's half is given the real logits only where the loss says that it reads them. What it says of its
    equilibrium is what it gives where all logits are equal and the discriminator's half is smallest.
    """
    promises = Promises("loss", part)
    promises.common()
    promises.require(isinstance(part.reads_real, bool), "reads_real is True or False")
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(2, 8, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))

    def halves(d_real: Tensor, d_fake: Tensor) -> dict[str, Tensor]:
        with promises.calling("a half on logits [..., B]"):
            return {
                "discriminator": part.discriminator(d_real, d_fake),
                "sampler": part.sampler(d_fake, d_real.detach() if part.reads_real else None),
            }

    both = halves(real, fake)
    for name, value in both.items():
        promises.require(
            value.shape == (2,), f"{name} of logits [2, 8] is a loss a replica [2], got {list(value.shape)}"
        )
        alone = torch.stack([halves(real[i], fake[i])[name] for i in range(2)])
        promises.require(torch.allclose(alone, value), f"{name} mixes replicas, the leading axes")
        order = torch.randperm(8, generator=generator)
        mixed = halves(real[:, order], fake[:, order])[name]
        promises.require(torch.allclose(mixed, value), f"{name} depends on the order of pairs")
    gradients = torch.autograd.grad(both["discriminator"].sum(), [real, fake], retain_graph=True)
    gradients += torch.autograd.grad(both["sampler"].sum(), [fake])
    promises.require(
        all(bool(g.isfinite().all() and g.any()) for g in gradients), "its gradients are finite, and not 0"
    )
    if not hasattr(part, "equilibrium"):
        return
    d = torch.linspace(-3, 3, 1201, dtype=torch.float64).unsqueeze(-1)
    found = halves(d, d)
    at_best = found["discriminator"].argmin()
    for name, stated in zip(("discriminator", "sampler"), part.equilibrium(), strict=True):
        near = stated is None or abs(float(found[name][at_best]) - stated) < 1e-4
        promises.require(
            near, f"equilibrium says {stated} of the {name}'s half, which comes to {found[name][at_best]:g}"
        )


def check_penalty(part: Any) -> None:
    """The penalty of a small discriminator: one finite number a replica, which training can lower.

    A one-sided penalty may be 0 of a flat discriminator: one that is a hundred times as steep is tried then.
    """
    promises = Promises("penalty", part)
    promises.common()
    known = {"real", "fake"}
    promises.require(part.differentiates <= known, 'differentiates names batches, of "real" and "fake"')
    promises.require(at(part.weight, 0) >= 0 and part.interval >= 1, "weight >= 0 and interval >= 1")
    with seeded(0):
        module = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        real, fake, between = torch.randn(8, 2).double(), torch.randn(8, 2).double(), torch.rand(8).double()

    def judge(x: Tensor, y: Tensor | None = None) -> Tensor:
        logits: Tensor = module(x).squeeze(-1)
        return logits

    real.requires_grad_("real" in part.differentiates)
    fake.requires_grad_("fake" in part.differentiates)

    def reached() -> bool:
        """Whether a gradient of the penalty reaches the discriminator, as steep as it is."""
        judged = Judged(Batch(real), Batch(fake), judge(real), judge(fake), 6, judge, lambda: between)
        with promises.calling("value"):
            value = part.value(judged)
        promises.require(value.shape == () and bool(value.isfinite()), f"value is one finite number, got {value!r:.60}")
        if not value.requires_grad:
            return False
        gradients = torch.autograd.grad(value, list(module.parameters()), allow_unused=True)
        return any(g is not None and bool(g.any()) for g in gradients)

    if not reached():
        with torch.no_grad():
            module.get_parameter("2.weight").mul_(100)
        promises.require(reached(), "no gradient of it reaches the discriminator")


def check_augmentation(part: Any, data: DataShape | None = None) -> None:
    """Change items of `data`, or of each kind of tiny data that it accepts: shapes stay, draws decide."""
    promises = Promises("augmentation", part)
    promises.common()
    shapes = [data] if data is not None else [one.data_shape() for one in TINY.values()]
    accepted = [shape for shape in shapes if not promises.asked(shape, about=str(shape))]
    if not accepted:
        raise Untried(f"{promises.who}: refuses every kind of tiny data; pass data = the DataShape that it is for")
    for shape in accepted:
        x = batch_of(shape, 4)[0].requires_grad_()
        drawn = [part.draw(4, shape, torch.Generator().manual_seed(seed), 0) for seed in (0, 0)]
        promises.require(torch.equal(*drawn), "draw does not follow from the generator alone")
        promises.require(len(drawn[0]) == 4, f"draw for 4 items gives {list(drawn[0].shape)}, one row an item")
        with promises.calling(f"apply to {shape}"):
            out = part.apply(x, drawn[0])
            pieces = torch.cat([part.apply(x[i : i + 1], drawn[0][i : i + 1]) for i in range(4)])
        promises.require(out.shape == x.shape, f"apply makes {list(out.shape)} of {list(x.shape)}")
        promises.require(torch.allclose(out, pieces, atol=1e-5), "items change one another")
        (gradient,) = torch.autograd.grad(out.sum(), x)
        promises.require(bool(gradient.isfinite().all()), "its gradient is finite")
        if isinstance(part, Adaptive):
            _check_adaptive(promises, part, drawn[0])


def _check_adaptive(promises: Promises, part: Adaptive, drawn: torch.Tensor) -> None:
    """States and what they decide keep their shapes, with replicas as well."""
    with promises.calling("begin, decided and adapted"):
        state = part.begin()
        decided = part.decided(drawn, state)
        later = part.adapted(state, torch.tensor(0.5), 4)
        replicas = part.decided(torch.stack([drawn, drawn]), torch.stack([state, later]))
        both = part.adapted(torch.stack([state, state]), torch.tensor([0.5, -0.5]), 4)
    promises.require(state.dim() == 1 and len(state), f"begin gives numbers [k], not {list(state.shape)}")
    promises.require(decided.shape == drawn.shape, f"decided makes {list(decided.shape)} of {list(drawn.shape)}")
    promises.require(later.shape == state.shape, f"adapted makes {list(later.shape)} of {list(state.shape)}")
    promises.require(torch.equal(replicas[0], decided), "decided looks at another replica's state")
    promises.require(torch.equal(both[0], later), "adapted looks at another replica")


def check_tracker(part: Any) -> None:
    """Follow a short run in a scratch folder: lines, scores, a picture, the end; and go on from the middle of it."""
    from PIL import Image

    promises = Promises("tracker", part)
    promises.common()
    getattr(part, "prepare", lambda: None)()
    with TemporaryDirectory() as folder:
        picture = Path(folder) / "000002.png"
        Image.new("RGB", (4, 4)).save(picture)
        for done in (0, 1):
            with promises.calling("following a run"):
                tracker = part.open(Path(folder), done)
                for step in range(done + 1, 3):
                    tracker.log(step, {"loss": 1.0, "seconds": 0.1, "seeds": {"0": {"loss": 1.0}}})
                tracker.scores(2, "frechet", {"fd": 1.0, "note": "a word", "none": None})
                tracker.picture(2, picture)
                tracker.flush()
                tracker.close()
