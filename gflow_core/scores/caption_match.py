"""caption_match: the share of samples that show what their caption asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

import attrs

from gflow_core.data.parts.digits import CaptionedDigits
from gflow_core.parts.analysis import Result, Subject
from gflow_core.parts.contracts import EncoderPart
from gflow_core.parts.nouns import Progress
from gflow_core.parts.options import option
from gflow_core.scores.feature_scores import encoder_faults

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from torch import Tensor

    from gflow_core.parts.source import Source
    from gflow_core.parts.spec import Spec
    from gflow_core.scores.features import Features

__all__ = ["CaptionMatch", "caption_match"]

ASPECTS = ("digit", "stroke", "lean")


@attrs.frozen(kw_only=True)
class CaptionMatch:
    """The share of samples that show what their caption asked for: the digit, its stroke and its lean, and all three.

    A classifier says which digit, the rule that wrote the captions of `captioned_digits` how it is drawn. Every
    caption is asked for alike. Beside it real digits under their own captions (`_real`: what the classifier misses),
    and samples under the captions of others (`_chance`).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"dataset", "sampler"})

    encoder: EncoderPart = option(doc="Network that classifies digits, such as mnist_cnn.")
    samples: int = option(9000, doc="Samples, dealt to the 90 captions in turn.", ge=1)
    batch_size: int = option(128, doc="Items that pass the encoder at once; bounds the memory.", ge=1)

    def check(self, spec: Spec) -> Iterable[str]:
        if not isinstance(spec.dataset, CaptionedDigits):
            yield "reads what the captions of captioned_digits say; use that data set"
        if not spec.sampler.conditional:
            yield "asks in words, and the sampler reads no labels; choose one that does, such as cgan.conv"
        if not self.encoder.classifies:
            yield "encoder: it does not classify; choose one that does, such as mnist_cnn"
        yield from encoder_faults(self.encoder, spec)

    def prepare(self, spec: Spec, device: torch.device, progress: Progress) -> None:
        """A network that is trained once is trained now."""
        self.encoder.build(spec.dataset.data_shape(), device, progress)

    def build(self) -> Callable[[Subject], Result]:
        return lambda subject: caption_match(
            subject, encoder=self.encoder, samples=self.samples, batch_size=self.batch_size
        )


def caption_match(subject: Subject, *, encoder: EncoderPart, samples: int, batch_size: int) -> Result:
    """Scores `match`, and of each aspect; table `captions`; figure `asked`."""
    import torch

    from gflow_core.data.strokes import asked, every_caption
    from gflow_core.scores.features import Features, real_index

    data = subject.data
    assert data is not None
    assert data.text is not None
    features = Features.of(subject, encoder, batch_size)
    captions = every_caption()
    wanted = torch.tensor([asked(caption) for caption in captions])[torch.arange(samples) % len(captions)]
    classify = features.encoder.classify
    drawn = _samples(features, data.text(captions), samples)
    shown = torch.cat([_shown(features.encode(x, classify), x.add(1).mul(127.5).round()) for x in drawn])
    index = real_index(data, len(data))
    real = _shown(features.real(len(data), apply=classify), data.x[index])
    own = torch.tensor([asked(data.captions[i]) for i in index.tolist()])
    others = wanted[torch.randperm(samples, generator=subject.streams["others"])]

    scores: dict[str, float | int | str | None] = {}
    name = f"match({features.encoder.name})"
    for suffix, found, sought in (("", shown, wanted), ("_real", real, own), ("_chance", shown, others)):
        right = found == sought
        share = float(right.all(1).double().mean())
        scores |= {f"{name}{suffix}": share, f"{name}{suffix}_se": (share * (1 - share) / len(right)) ** 0.5}
        scores |= {
            f"{aspect}{suffix}": float(one.double().mean()) for aspect, one in zip(ASPECTS, right.T, strict=True)
        }
    right = (shown == wanted).double()
    table = []
    for i, caption in enumerate(captions[:samples]):
        mine = right[i :: len(captions)]
        shares = dict(zip(ASPECTS, mine.mean(0).tolist(), strict=True))
        table.append({"caption": caption, "samples": len(mine), "match": float(mine.prod(1).mean()), **shares})
    return Result(
        scores=scores,
        tables={"captions": table},
        figures={"asked": _figure(subject, data)},
        manifest=features.manifest(n_real=len(real), n_fake=samples),
    )


def _samples(features: Features, pool: Tensor, n: int) -> Iterator[Tensor]:
    """n samples in pieces [B, *shape] on the device, images rounded to 8 bits, their labels dealt from the pool."""
    from gflow_core.nn.sampling import draw_chunks
    from gflow_core.scores.features import as_stored

    subject = features.subject
    assert subject.sampler is not None
    assert subject.data is not None
    part, done = subject.spec.sampler, 0
    pieces = draw_chunks(
        subject.sampler,
        part,
        n,
        subject.streams,
        subject.runtime,
        labels=pool,
        in_turn=True,
        chunk=features.batch_size,
        spread=subject.map,
        train=subject.spec.train,
    )
    for x in pieces:
        yield as_stored(x, subject.data.shape)
        done += len(x)
        subject.progress("captions", done, n)


def _shown(logits: Tensor, pixels: Tensor) -> Tensor:
    """What images of 0 to 255 [B, C, H, W] show, as numbers of the aspects [B, 3], on the CPU."""
    import torch

    from gflow_core.data.strokes import seen

    ways = map(torch.from_numpy, seen(pixels[:, :1].to(torch.uint8).cpu().numpy()))
    return torch.stack([logits.argmax(1).cpu(), *ways], 1)


def _figure(subject: Subject, data: Source) -> Figure:
    """A row for each way of drawing, a digit a column, all from one z."""
    import torch

    from gflow_core.data.strokes import DIGITS, LEANS, STROKES, caption
    from gflow_core.nn.sampling import push
    from gflow_core.runs.pictures import image_grid
    from gflow_core.scores.sample_grid import grid_figure

    assert subject.sampler is not None
    assert data.text is not None
    ways = [(stroke, lean) for stroke in range(len(STROKES)) for lean in range(len(LEANS))]
    y = data.text([caption(digit, *way) for way in ways for digit in range(len(DIGITS))])
    z = subject.spec.sampler.latent.draw(1, subject.streams["figure"]).expand(len(y), -1)
    x = torch.cat([x.float().cpu() for x in push(subject.sampler, z, y, subject.runtime)])
    names = [" ".join(filter(None, (STROKES[stroke], LEANS[lean]))) or "(nothing)" for stroke, lean in ways]
    return grid_figure(image_grid(x, data.shape, len(DIGITS)), names)
