"""Do conditional samplers of digits draw the digit they are asked for? Judged by digits that no sampler has seen.

    python benchmarks/cgan_labels.py RUN... [--root data] [--samples 1000]

A classifier is trained on MNIST's training images without those of mnist5k, which the samplers learnt from, and judges
`--samples` images of each class from every run. Printed: its accuracy on MNIST's test images, the share of images of
each class and of all that it sees as what was asked for, and mean and standard deviation over the runs.

`cgan.label_accuracy` measures the same with an encoder of the registry; its `mnist_cnn` knows the samplers' own digits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gflow_core import Source
from gflow_core.data.parts import Mnist, Mnist5k
from gflow_core.encoders.mnist_cnn import DigitsCnn
from gflow_core.runs.drawing import draw

EPOCHS, BATCH, RATE = 3, 64, 2e-3


def unseen(root: str) -> tuple[Source, Tensor]:
    """MNIST's training set, and the places of its images that are not among mnist5k's."""
    known = {image.numpy().tobytes() for image in Mnist5k().load().x}
    data = Mnist(root=root).load()
    return data, torch.tensor([i for i, image in enumerate(data.x) if image.numpy().tobytes() not in known])


def learn(root: str) -> nn.Module:
    """The classifier: the registry's network for digits, Adam, a learning rate that falls to 0."""
    torch.manual_seed(0)
    data, index = unseen(root)
    print(f"the classifier learns from {len(index):,} of {len(data):,} images: none is in mnist5k")
    network = DigitsCnn().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    batches = [batch for _ in range(EPOCHS) for batch in index[torch.randperm(len(index))].split(BATCH)]
    for i, batch in enumerate(batches):
        items = data.batch(batch)
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - i / len(batches))
        loss = F.cross_entropy(network(items.x), items.y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def seen(network: nn.Module, x: Tensor) -> Tensor:
    """The class [n] of images x [n, 1, side, side]; digits that were padded to 32 px lose their margin."""
    if x.shape[-1] == 32:
        x = x[..., 2:30, 2:30]
    return torch.cat([network(piece).argmax(1) for piece in x.split(1000)])


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of conditional samplers of ten digits")
    parser.add_argument("--root", default="data", help="where MNIST lies")
    parser.add_argument("--samples", type=int, default=1000, help="images of each class from every run")
    options = parser.parse_args()

    network = learn(options.root)
    test = Mnist(root=options.root, split="test").load()
    right = seen(network, test.batch(torch.arange(len(test))).x) == test.y
    print(f"it sees {100 * right.float().mean():.2f} % of MNIST's test images as what they are\n")

    print(f"{'run':40}" + "".join(f"{label:>7}" for label in range(10)) + f"{'all':>8}   % seen as asked")
    overall = []
    for run in options.runs:
        shares = []
        for label in range(10):
            x, _ = draw(run, options.samples, label=str(label))
            shares.append(100 * float((seen(network, x.float()) == label).float().mean()))
        overall.append(sum(shares) / len(shares))
        print(f"{run.name:40}" + "".join(f"{share:7.1f}" for share in shares) + f"{overall[-1]:8.2f}")
    if len(overall) > 1:
        values = torch.tensor(overall)
        print(f"\nmean and standard deviation over {len(overall)} runs: {values.mean():.2f} +- {values.std():.2f} %")


if __name__ == "__main__":
    main()
