"""Images a second: the features of `dcgan.svm_features` against the bare forward of the same discriminator.

    python benchmarks/dcgan_features.py [--network six_conv|conv|hooks] [--images N] [--repeats N] [--threads N]

Both read the same images from memory and run in the same precision, in inference mode and channels-last. The features
are every convolutional layer max-pooled to 4x4 and written to one array, 28,672 numbers an image for six_conv; the
bare forward is the logit. `hooks` is six_conv without its `conv_features`, as any other network is read. They work in
turns, A B A B, and medians are printed, so that the ratio holds on a machine whose load changes.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from torch import Tensor, nn

from gflow_core import DataShape, Runtime, Source, build_network, no_progress
from gflow_core.machine.runtime import choose_device, computes_bf16, keep_freed_memory
from gflow_dcgan.parts.networks import ConvDiscriminator, SixConvDiscriminator
from gflow_dcgan.svm_features import conv_features, extract


class Hidden(nn.Module):
    """A network whose convolutions are found by hooks."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x)
        return out


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=("six_conv", "conv", "hooks"), default="six_conv")
    parser.add_argument("--width", type=int, default=128, help="feature maps of the first layer")
    parser.add_argument("--images", type=int, default=1024, help="images of 32x32 that are timed")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5, help="timings of each (medians are printed)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="1 is steadier on a busy machine")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    if device.type == "cpu":
        keep_freed_memory()
    runtime = Runtime(device, computes_bf16(device))

    shape = DataShape("image", (3, 32, 32), -1.0, 1.0)
    part = (ConvDiscriminator if options.network == "conv" else SixConvDiscriminator)(width=options.width)
    module = build_network("discriminator", part, shape, 0, runtime).eval()
    if options.network == "hooks":
        module = Hidden(module)
    pixels = torch.randint(0, 256, (options.images, *shape.shape), dtype=torch.uint8)
    data, index = Source(pixels, shape, ""), np.arange(options.images)

    def features() -> int:
        return extract(lambda x: conv_features(module, x, 4), data, index, options.batch, runtime, no_progress).shape[1]

    def forward() -> None:
        logits = []
        with torch.inference_mode(), runtime.autocast():
            for piece in torch.from_numpy(index).split(options.batch):
                logits.append(module(data.batch(piece, device).x))
        torch.cat(logits).cpu()  # waits for the device

    dim = features()
    forward()
    ways = {"forward": forward, "features": features}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    rate = {name: options.images / statistics.median(values) for name, values in seconds.items()}
    print(f"torch {torch.__version__}, {device.type}, {runtime.precision}, {torch.get_num_threads()} threads")
    print(f"{options.network}, width {options.width}: {options.images} images, batches of {options.batch}")
    print(f"forward alone  {rate['forward']:10.1f} images/s")
    print(f"features       {rate['features']:10.1f} images/s, {dim:,} an image")
    print(f"features run at {rate['features'] / rate['forward']:.0%} of the forward's speed")


if __name__ == "__main__":
    main()
