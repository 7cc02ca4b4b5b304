"""The alternating game: `adversarial`, built. What counts as the real batch is open to plugins.

With `train.replicas` every tensor has one more leading axis, [R, B, ...]: means are taken over B, and the sum over R
is minimised, so that each replica's gradients are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from gflow_core.machine.streams import Streams
from gflow_core.methods.compiled import Compiled, Loss
from gflow_core.methods.pieces import Pieces, Shared
from gflow_core.methods.rules import GameRules
from gflow_core.nn.sampling import draw_labels
from gflow_core.optim.player import frozen
from gflow_core.parts.contracts import Adaptive, Augmentation, Judged, Penalty, at
from gflow_core.parts.nouns import Batch
from gflow_core.parts.plugins import name_of
from gflow_core.parts.returned import refuse, tensor_fault
from gflow_core.parts.training import Experiment, Metrics, Phase

__all__ = ["AdversarialObjective", "State"]


@attrs.define(eq=False)
class State:
    """What outlives a step."""

    augment: list[Tensor] = attrs.field(factory=list)
    """The state of each augmentation that has one, in their order."""


class AdversarialObjective:
    """`adversarial`, built. A plugin overrides `real_batch`, and has its own method without copying the loop."""

    def __init__(self, experiment: Experiment, rules: GameRules) -> None:
        spec = experiment.spec
        assert spec.train is not None
        assert experiment.feed is not None
        self.experiment = experiment
        self.rules = rules
        self.runtime = experiment.runtime
        self.feed = experiment.feed
        self.sampler = experiment.players["sampler"]
        self.discriminator = experiment.players["discriminator"]
        self.batch_size = spec.train.batch_size
        self.state = State()
        self._shape = experiment.feed.source.shape
        self._latent = spec.sampler.latent
        self._reads_labels = {"sampler": spec.sampler.conditional, "discriminator": spec.discriminator.conditional}
        labels = experiment.data.labels if experiment.data is not None else None
        self._labels = None if labels is None else labels.to(self.runtime.draws_on)
        self._itemwise: bool = getattr(spec.discriminator, "itemwise", False)
        self._adaptive = [(i, one) for i, one in enumerate(rules.augment) if isinstance(one, Adaptive)]
        self._penalties = dict(zip(_names(rules.penalty), rules.penalty, strict=True))
        self._pieces = Pieces(spec.train.accumulate, lead=experiment.lead)
        networks = {name: player.module for name, player in experiment.players.items()}
        self._compiled = Compiled(networks, experiment.streams) if experiment.compiled else None
        self._done = 0  # steps before the one that is made
        self._looked_at: set[tuple[str, int, str]] = set()
        self._last: Batch | None = None  # what counted as real last, where the sampler's loss reads it

    def step(self, step: int) -> Iterator[Phase | Metrics]:
        """The discriminator's updates, then the sampler's."""
        updates = self.rules.discriminator_steps
        self._done = step - 1
        if len(self.state.augment) != len(self._adaptive):  # at first, and where the recipe has changed since
            self.state.augment = [self._begun(one) for _, one in self._adaptive]
        taught = [self._teach((step - 1) * updates + i) for i in range(updates)]
        metrics = taught[0]
        if updates > 1:
            names = dict.fromkeys(name for seen in taught for name in seen)  # a penalty may be due in some only
            metrics = {name: torch.stack([seen[name] for seen in taught if name in seen]).mean(0) for name in names}
        metrics["sampler_loss"] = self._improve()
        if self.runtime.world > 1:  # each process has seen its slice
            metrics = dict(zip(metrics, self.runtime.mean(torch.stack(list(metrics.values()))), strict=True))
        yield metrics

    # ------------------------------------------------------------------ what a plugin may change

    def real_batch(self) -> tuple[Batch, int]:
        """This process's slice of the batch that counts as real, and how many of it, the first, are real."""
        batch = self.feed.next(self.batch_size)
        return batch, self.batch_size // self.runtime.world

    # ------------------------------------------------------------------ the game

    def compute(self, what: str, function: Callable[..., Batch], *given: Batch) -> Batch:
        """function(*given), without gradients, a batch that follows from those given and from the networks alone.

        With `train.compile` it is compiled. `what` tells it from others, and names it where it cannot be.
        """
        if self._compiled is not None:

            def flat(*given: Sequence[Tensor]) -> Sequence[Tensor]:
                return _tensors(function(*(Batch(*one) for one in given)))

            found = self._compiled.call(what, flat, [_tensors(batch) for batch in given])
            if found is not None:
                return Batch(*found)
        with torch.no_grad():
            return function(*given)

    def latents(self, n: int, stream: str = "adversarial") -> Batch:
        """This process's slice of n fresh z, with labels where a network reads them."""
        z = self._here(lambda streams: self._latent.draw(n, streams[f"{stream}.latent"]))
        y = None
        if any(self._reads_labels.values()):
            pool = self._labels
            assert pool is not None
            y = self._here(lambda streams: draw_labels(pool, n, streams[f"{stream}.label"]))
        return Batch(z, y)

    def generate(self, z: Batch) -> Batch:
        """What the sampler makes of latents."""
        with self.runtime.autocast():
            x = self._forward("sampler", z.x, z.y)
        return Batch(x.to(z.x.dtype), z.y)

    def judge(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Logits of items x [..., B, *shape], [..., B], in the loss's precision. With `pack`, a logit a pack."""
        with self.runtime.autocast():
            d = self._forward("discriminator", x, y)
        return d.to(x.dtype)

    def _judge_both(self, a: Batch, b: Batch) -> Sequence[Tensor]:
        """Logits of two batches from one forward: for a discriminator that judges each item by itself."""
        axis = a.x.dim() - len(self._shape.shape) - 1
        y = None if a.y is None or b.y is None else torch.cat([a.y, b.y], axis)
        d = self.judge(torch.cat([a.x, b.x], axis), y)
        both: Sequence[Tensor] = d.split([a.x.shape[axis], b.x.shape[axis]], -1)
        return both

    def _teach(self, number: int) -> dict[str, Tensor]:
        """Discriminator update `number` (from 0). Real and generated items get a forward each, so that their batch
        statistics do not mix; where there are none (`itemwise`) one for both."""
        due = {name: one for name, one in self._penalties.items() if number % one.interval == 0}
        batch, true = self.real_batch()
        if self.rules.loss.reads_real:
            self._last = batch
        # All is cut alike, so that an item meets the same one, and the same draws, in a piece as in the whole.
        reals = [self._packed(piece) for piece in self._pieces.of_batch(batch, true)]
        latents = self._pieces.of_batch(self.latents(self.batch_size), true)
        first = true // self.rules.pack
        drawn_real, drawn_fake = self._drawn(first), self._drawn(first)
        true = first // self._pieces.number
        scales = {name: at(one.weight, self._done) * one.interval for name, one in due.items()}

        def loss(
            real: Sequence[Tensor],
            latents: Sequence[Tensor],
            drawn_real: Sequence[Tensor],
            drawn_fake: Sequence[Tensor],
            scales: Mapping[str, float],
            uniform: Callable[[], Tensor],
        ) -> tuple[Tensor, dict[str, Tensor]]:
            with torch.no_grad():
                fake = self._made(Batch(*latents))
            return self._discriminator_loss(Batch(*real), fake, true, drawn_real, drawn_fake, due, scales, uniform)

        given = [
            [*map(_tensors, pair), *drawn, scales]
            for pair, drawn in zip(
                zip(reals, latents, strict=True), zip(drawn_real, drawn_fake, strict=True), strict=True
            )
        ]
        metrics = self._minimize("discriminator", (true, *due), loss, given, first=first)
        return metrics | self._adapted(metrics["real_sign"]) if self._adaptive else metrics

    def _discriminator_loss(
        self,
        real: Batch,
        fake: Batch,
        true: int,
        drawn_real: Sequence[Tensor],
        drawn_fake: Sequence[Tensor],
        due: Mapping[str, Penalty],
        scales: Mapping[str, float],
        uniform: Callable[[], Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Of a piece of the two batches: what the discriminator minimises, and what is observed."""
        differentiated = frozenset().union(*(penalty.differentiates for penalty in due.values()))
        real.x.requires_grad_("real" in differentiated)
        fake.x.requires_grad_("fake" in differentiated)
        seen_real = Batch(self._augmented(real.x, drawn_real), real.y)
        seen_fake = Batch(self._augmented(fake.x, drawn_fake), fake.y)
        if self._itemwise and not differentiated:
            d_real, d_fake = self._judge_both(seen_real, seen_fake)
        else:
            d_real, d_fake = self.judge(seen_real.x, seen_real.y), self.judge(seen_fake.x, seen_fake.y)
        total = self.rules.loss.discriminator(d_real, d_fake)
        self._look("loss", self.rules.loss, "discriminator", total, d_fake, d_real)
        real_logits, fake_logits = d_real.detach(), d_fake.detach()
        metrics = {
            "discriminator_loss": total,
            "logit_real": real_logits[..., :true].mean(-1),
            "logit_fake": fake_logits.mean(-1),
        }
        if true < d_real.shape[-1]:
            metrics["logit_counted"] = real_logits[..., true:].mean(-1)  # generated, but counted as real
        if self._adaptive:
            metrics["real_sign"] = real_logits[..., :true].sign().mean(-1)
        judged = Judged(real, fake, d_real, d_fake, true, self.judge, uniform)
        for name, penalty in due.items():
            metrics[name] = penalty.value(judged)
            self._look("penalty", penalty, "value", metrics[name], d_fake, d_real)
            total = total + scales[name] * metrics[name]
        return self._pieces.share(total), metrics

    def _improve(self) -> Tensor:
        """One update of the sampler."""
        latents = self._pieces.of_batch(self.latents(self.batch_size))
        drawn = self._drawn()
        reals = self._pieces.of_batch(self._last) if self._last is not None else []
        drawn_real = self._drawn() if reals else [[]] * len(latents)
        given = [
            [_tensors(piece), drawn[i], _tensors(reals[i]) if reals else (), drawn_real[i]]
            for i, piece in enumerate(latents)
        ]
        return self._minimize("sampler", None, self._sampler_loss, given, self.discriminator.module)["sampler_loss"]

    def _sampler_loss(
        self,
        latents: Sequence[Tensor],
        drawn: Sequence[Tensor],
        real: Sequence[Tensor],
        drawn_real: Sequence[Tensor],
        uniform: Callable[[], Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Of a piece of the batch: what the sampler minimises, and what is observed."""
        fake = self._made(Batch(*latents))
        d_real = None
        if real:
            items = self._packed(Batch(*real))
            with torch.no_grad():
                d_real = self.judge(self._augmented(items.x, drawn_real), items.y)
        d_fake = self.judge(self._augmented(fake.x, drawn), fake.y)
        loss = self.rules.loss.sampler(d_fake, d_real)
        self._look("loss", self.rules.loss, "sampler", loss, d_fake)
        return self._pieces.share(loss), {"sampler_loss": loss}

    def _minimize(
        self,
        name: str,
        key: Hashable,
        loss: Loss,
        given: Sequence[Sequence[Any]],
        still: nn.Module | None = None,
        first: int | None = None,
    ) -> dict[str, Tensor]:
        """One update of a network on loss(*given, uniform), a piece of the batch at a time; what was observed.

        Of the network that stands `still` meanwhile nobody needs the gradients. Pieces are cut by the `first` items.
        """
        player = self.experiment.players[name]
        if self._compiled is not None:
            *tensors, last = given[0]
            if isinstance(last, dict):
                last = {one: torch.tensor(value) for one, value in last.items()}  # it may follow the steps
            found = self._compiled.gradients(
                name, key, loss, [*tensors, last], lambda: Shared(self._uniform, self._pieces).of_piece(0)
            )
            if found is not None:
                player.follow(found[0])
                return found[1]
        uniform = Shared(self._uniform, self._pieces, first)
        seen: list[dict[str, Tensor]] = []

        def losses() -> Iterator[Tensor]:
            for i, piece in enumerate(given):
                total, metrics = loss(*piece, uniform.of_piece(i))
                seen.append({name: value.detach() for name, value in metrics.items()})
                yield total

        with nullcontext() if still is None else frozen(still):
            player.minimize(losses())
        return {name: _mean([metrics[name] for metrics in seen]) for name in seen[0]}

    def _look(self, kind: str, part: object, method: str, value: Tensor, *logits: Tensor) -> None:
        """The first that a loss or a penalty returns is to be one real number a replica. Raises PluginError."""
        if (kind, id(part), method) in self._looked_at:
            return
        self._looked_at.add((kind, id(part), method))
        # Of logits that are not finite themselves nothing finite can be asked.
        finite = all(bool(d.isfinite().all()) for d in logits)
        fault = tensor_fault(value, tuple(logits[0].shape[:-1]), " for a batch of logits", finite=finite)
        if fault is None and kind == "loss" and logits[0].requires_grad and not value.requires_grad:
            fault = "a tensor that no gradient goes through"
        refuse(kind, part, method, fault)

    def _made(self, z: Batch) -> Batch:
        return self._packed(self.generate(z))

    def _packed(self, batch: Batch) -> Batch:
        """`pack` items as one: channels, or the dimensions of vectors, behind one another (Lin et al. 2018)."""
        pack = self.rules.pack
        if pack == 1:
            return batch
        shape = self._shape.shape
        lead = batch.x.dim() - len(shape)
        x = batch.x.unflatten(lead - 1, (-1, pack)).flatten(lead, lead + 1)
        return Batch(x, None)

    def _drawn(self, first: int | None = None) -> list[list[Tensor]]:
        """What augmentations draw for one batch: for each piece, cut by the `first` items, a tensor an augmentation."""
        n = self.batch_size // self.rules.pack
        whole = [
            self._here(lambda streams, one=one: self._draw(one, n, streams))  # type: ignore[misc]
            for one in self.rules.augment
        ]
        for (i, one), state in zip(self._adaptive, self.state.augment, strict=True):
            whole[i] = one.decided(whole[i], state)
        pieces = zip(*(self._pieces.of(one, first) for one in whole), strict=True)
        return [list(piece) for piece in pieces] or [[]] * self._pieces.number

    def _draw(self, augmentation: Augmentation, n: int, streams: Streams) -> Tensor:
        return augmentation.draw(n, self._shape, streams["adversarial.augment"], self._done)

    def _begun(self, one: Adaptive) -> Tensor:
        state = self.runtime.to_device(one.begin())
        replicas = len(self.experiment.replicas)
        return state.expand(replicas, -1).clone() if replicas else state

    def _adapted(self, real_sign: Tensor) -> dict[str, Tensor]:
        """Adaptive augmentations after an update of the discriminator; what they have come to."""
        if self.runtime.world > 1:
            real_sign = self.runtime.mean(real_sign)
        pairs = zip(self._adaptive, self.state.augment, strict=True)
        self.state.augment = [one.adapted(state, real_sign, self.batch_size) for (_, one), state in pairs]
        return {"augment_p": self.state.augment[0][..., 0]}

    def _augmented(self, x: Tensor, drawn: Sequence[Tensor]) -> Tensor:
        """Items [..., B, *shape] as the discriminator sees them; gradients reach x."""
        lead = x.dim() - len(self._shape.shape)  # 2 with replicas, else 1
        for augmentation, own in zip(self.rules.augment, drawn, strict=True):
            x = augmentation.apply(x.flatten(0, lead - 1), own.flatten(0, lead - 1)).view(x.shape)
        return x

    def _uniform(self) -> Tensor:
        n = self.batch_size // self.rules.pack
        return self._here(lambda streams: torch.rand(n, generator=streams["adversarial.between"]))

    def _here(self, function: Callable[[Streams], Tensor]) -> Tensor:
        """This process's slice of what `function` draws from the run's streams, on its device."""
        return self.runtime.here(self.experiment.draw(function))

    def _forward(self, name: str, x: Tensor, y: Tensor | None) -> Tensor:
        player = self.sampler if name == "sampler" else self.discriminator
        with player.cast():
            out: Tensor = player.module(x, y) if self._reads_labels[name] and y is not None else player.module(x)
        return out


def _tensors(batch: Batch) -> tuple[Tensor, ...]:
    return (batch.x,) if batch.y is None else (batch.x, batch.y)


def _mean(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).mean(0)


def _names(penalties: Sequence[Penalty]) -> list[str]:
    """What each penalty is called among the metrics: "penalty" where it is the only one, else "penalty_r1"."""
    if len(penalties) == 1:
        return ["penalty"]
    names = [f"penalty_{name_of('penalty', one)}" for one in penalties]
    return [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]
