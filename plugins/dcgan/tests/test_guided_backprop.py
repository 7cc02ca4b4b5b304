"""dcgan.guided_backprop against guided gradients written out by hand, and on discriminators of several plugins."""

import json
from types import SimpleNamespace

import attrs
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional as F

from gflow_core import (
    Batch,
    DataShape,
    Diverged,
    GflowError,
    Runtime,
    Source,
    Spec,
    Streams,
    StridedDiscriminator,
    StridedLabels,
    Subject,
    fingerprint,
    no_progress,
)
from gflow_core.cli import main
from gflow_dcgan.guided_backprop import (
    Guided,
    concentration,
    guided_gradient,
    last_maps,
    selectivity,
)
from gflow_dcgan.parts.maps import GuidedBackprop

CPU = Runtime(torch.device("cpu"))

SLOPE = 0.3

LEAKY = {
    "module": nn.LeakyReLU(SLOPE),
    "module in place": nn.LeakyReLU(SLOPE, inplace=True),
    "function": lambda x: F.leaky_relu(x, SLOPE),
    "function in place": lambda x: F.leaky_relu_(x, negative_slope=SLOPE),
}

PLAIN = {
    "relu": F.relu,
    "relu module in place": nn.ReLU(inplace=True),
    "method": lambda x: x.relu(),
    "method in place, its result unused": lambda x: (x.relu_(), x)[1],
    "torch, by keyword": lambda x: torch.relu(input=x),
}


class Net(nn.Module):
    """Three convolutions with something between, and a linear logit."""

    def __init__(self, between=lambda x: x):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, 2), nn.Conv2d(6, 5, 3)])
        self.between, self.logit = between, nn.Linear(5, 1)

    def forward(self, x, y=None):
        for conv in self.convs:
            x = self.between(conv(x))
        return self.logit(x.mean((2, 3))).squeeze(1)


def images(n=5, seed=0):
    return torch.rand(n, 1, 12, 12, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def by_hand(net, x, channel, slope):
    """The guided gradient, a convolution at a time: forward, then backward."""
    before, h = [], x
    for i, conv in enumerate(net.convs):
        h = conv(h)
        if i < 2:
            before.append(h)
            h = torch.where(h > 0, h, slope * h)
    g = torch.zeros_like(h)
    for b in range(len(x)):
        at = h[b, channel].argmax()
        g[b, channel].view(-1)[at] = 1.0
    for i in (2, 1, 0):
        conv = net.convs[i]
        size = before[i - 1].shape if i else x.shape
        g = torch.nn.grad.conv2d_input(size, conv.weight, g, conv.stride, conv.padding)
        if i:
            g = g * (g > 0) * (before[i - 1] > 0)
    return g


@pytest.mark.parametrize("kind", [*LEAKY, *PLAIN])
def test_the_gradient_is_that_written_out_by_hand(kind):
    torch.manual_seed(1)
    slope = SLOPE if kind in LEAKY else 0.0
    net = Net((LEAKY | PLAIN)[kind]).double().eval()
    x = images().double()
    maps = last_maps(net, Batch(x))
    for channel in (0, 3):
        expected = by_hand(net, x, channel, slope)
        assert expected.abs().amax((1, 2, 3)).min() > 0
        found = guided_gradient(maps, Batch(x), channel, CPU)
        assert torch.allclose(found, expected, atol=1e-12)
        # It is not the ordinary gradient.
        h = x.clone().requires_grad_()
        (plain,) = torch.autograd.grad(maps(Batch(h))[:, channel].flatten(1).amax(1).sum(), h)
        assert not torch.allclose(found, plain, atol=1e-3)


def test_without_relus_it_is_the_ordinary_gradient():
    torch.manual_seed(1)
    net, x = Net(torch.tanh).double().eval(), images().double()
    maps = last_maps(net, Batch(x))
    h = x.clone().requires_grad_()
    (plain,) = torch.autograd.grad(maps(Batch(h))[:, 2].flatten(1).amax(1).sum(), h)
    assert torch.equal(guided_gradient(maps, Batch(x), 2, CPU), plain)


def test_the_forward_pass_stays_as_it_is():
    net, x = StridedDiscriminator(1, 16, width=4).eval(), torch.randn(3, 1, 16, 16)
    plain = net(x)
    with Guided():
        assert torch.equal(net(x), plain)
    x = torch.tensor([-2.0, 3.0])
    with Guided():
        assert torch.equal(F.leaky_relu(x), torch.tensor([-0.02, 3.0]))
        assert torch.equal(x.relu_(), torch.tensor([0.0, 3.0]))
    assert torch.equal(x, torch.tensor([0.0, 3.0]))


def test_the_last_layer_is_found():
    x, y = torch.randn(2, 1, 16, 16), torch.tensor([0, 2])
    net = StridedDiscriminator(1, 16, width=4, labels=StridedLabels(size=3, join="planes")).eval()
    assert torch.equal(last_maps(net, Batch(x, y))(Batch(x, y)), net.conv_features(x, y)[-1])
    # In order of use, not of definition; a nonlinearity in place is not seen; a logit is no map.
    first, last, logit = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 5, 3), nn.Conv2d(5, 1, 1)

    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.logit, self.last, self.first = logit, last, first

        def forward(self, x, y=None):
            return self.logit(F.leaky_relu_(self.last(self.first(x)), 0.1)).mean((1, 2, 3))

    assert torch.equal(last_maps(Backwards(), Batch(x))(Batch(x)), last(first(x)))
    with pytest.raises(GflowError, match="convolutional"):
        last_maps(nn.Sequential(nn.Flatten(), nn.Linear(256, 1)), Batch(x))


def test_the_numbers_are_those_of_known_responses():
    even = torch.ones(1, 3, 10, 10)
    one = torch.zeros(1, 3, 10, 10)
    one[0, 1, 4, 4] = -2.0
    half = torch.zeros(1, 1, 10, 10)
    half.view(-1)[:20] = 1.0
    assert concentration(even).item() == pytest.approx(0.1)
    assert concentration(one).item() == pytest.approx(1.0)
    assert concentration(half).item() == pytest.approx(0.5)
    assert concentration(torch.zeros(1, 1, 10, 10)).isnan().item()
    response = torch.tensor([0.0, 0.0, 0.0, 1.0, 4.0])
    assert selectivity(response, 2) == pytest.approx(2.5 / response.double().std(correction=0).item())
    assert selectivity(3 * response - 7, 2) == pytest.approx(selectivity(response, 2))


# ------------------------------------------------------------------ whole analyses


@attrs.frozen(kw_only=True)
class Pictures:
    """40 images of 16 px with three classes: noise, and in class 1 a bright square."""

    def data_shape(self):
        return DataShape("image", (1, 16, 16), -1.0, 1.0, classes=3)

    def load(self):
        x = torch.randint(0, 60, (40, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        y = torch.arange(40) % 3
        x[y == 1, :, 4:12, 4:12] = 255
        return Source(x, self.data_shape(), fingerprint(x), y=y)


@attrs.frozen(kw_only=True)
class Judge:
    conditional: bool = False
    flat: bool = False

    def build(self, data):
        if self.flat:
            return nn.Sequential(nn.Flatten(), nn.Linear(256, 1), nn.Flatten(0))
        labels = StridedLabels(size=3, join="planes") if self.conditional else None
        return StridedDiscriminator(1, 16, width=4, labels=labels)


class Planted(nn.Module):
    """Map 1 of its last layer is bright where the image is; map 0 answers to the label alone, if it gets one."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[0, 1], self.conv.weight[1, 0] = 1.0, 1.0

    def forward(self, x, y=None):
        plane = (torch.zeros(len(x)) if y is None else (y == 2).float()).view(-1, 1, 1, 1).expand_as(x)
        return self.conv(torch.cat([x, plane], 1)).mean((1, 2, 3))


def subject(discriminator, conditional=False):
    data = Pictures()
    spec = Spec(dataset=data, discriminator=Judge(conditional=conditional))
    module = discriminator or spec.discriminator.build(data.data_shape()).eval()
    return Subject(spec, CPU, Streams(0), step=3, data=data.load(), discriminator=module)


def run(given, **options):
    part = GuidedBackprop(**{"batch_size": 16, "images": 4, **options})
    assert not list(part.check(given.spec))
    return part.build()(given)


def test_images_that_excite_a_map_are_found():
    result = run(subject(Planted(), conditional=True), maps=(1, 0, 2))
    rows = {(row["network"], row["map"]): row for row in result.tables["maps"]}
    assert [m for network, m in rows if network == "trained"] == [1, 0, 2]
    # The brightest pixel is 255; its gradient is one pixel. Class 2 alone excites map 0, which no pixel does.
    assert rows["trained", 1]["strongest"] == pytest.approx(1.0)
    assert rows["trained", 1]["concentration"] == pytest.approx(1.0)
    assert rows["trained", 0]["strongest"] == pytest.approx(1.0)
    assert rows["trained", 0]["concentration"] is None
    assert rows["trained", 2]["selectivity"] is None
    assert result.scores["concentration"] == pytest.approx(1.0)
    assert 0.1 <= result.scores["concentration_random"] <= 1.0
    assert result.manifest["n_real"] == 40


@pytest.mark.parametrize("conditional", [False, True])
def test_it_repeats_and_the_random_network_is_another(conditional):
    first, second = (run(subject(None, conditional), real_samples=20, features=9) for _ in range(2))
    assert first.scores["concentration_random"] == second.scores["concentration_random"]
    rows = first.tables["maps"]
    assert len(rows) == 2 * 8  # all maps there are: width 4, doubled once
    assert [r["strongest"] for r in rows[:8]] != [r["strongest"] for r in rows[8:]]
    assert first.manifest["n_real"] == 20


def test_what_it_cannot_do_is_said():
    reported = []
    given = subject(None)
    given.progress = lambda *what: reported.append(what)
    with pytest.raises(GflowError, match=r"names map 8, and .* 0 to 7"):
        run(given, maps=(8,))
    assert not reported, "before the pass over the data"
    for judge, maps, message in (
        (Judge(), (8,), "names map 8, and .* 0 to 7"),
        (Judge(conditional=True), (8,), "names map 8, and .* 0 to 7"),
        (Judge(flat=True), (), r"\(Sequential\) uses no nn\.Conv2d"),
    ):
        spec = Spec(dataset=Pictures(), discriminator=judge)
        with pytest.raises(GflowError, match=message):
            GuidedBackprop(maps=maps).prepare(spec, CPU.device, no_progress)
    GuidedBackprop(maps=(7,)).prepare(subject(None).spec, CPU.device, no_progress)
    vectors = SimpleNamespace(data_shape=lambda: DataShape("vector", (2,)))
    assert "works on images" in " ".join(GuidedBackprop().check(Spec(dataset=vectors, discriminator=Judge())))


def test_a_diverged_discriminator_is_refused():
    given = subject(None)
    next(given.discriminator.parameters()).data.fill_(float("nan"))
    with pytest.raises(Diverged, match=r"step 3: responses of the trained .* NaN .* earlier checkpoint"):
        run(given)


def test_only_the_chosen_maps_are_kept():
    """Of the 8 maps of a layer the numbers of two are the same, whether or not the others are looked at."""
    given = subject(None)
    some, every = run(given, maps=(5, 2)), run(given, features=8)
    rows = {(row["network"], row["map"]): row for row in every.tables["maps"]}
    assert [row["map"] for row in some.tables["maps"]] == [5, 2, 5, 2]
    assert all(row == rows[row["network"], row["map"]] for row in some.tables["maps"])
    assert some.manifest["maps"] == [5, 2]


RECIPE = """
gflow = 1
dataset = { use = "mnist5k", image_size = 16, fit = "resize" }
discriminator = { use = "far.resnet", channels = 4 }
[[analyze]]
use = "dcgan.guided_backprop"
images = 3
real_samples = 50
"""


def test_a_run_with_another_plugins_discriminator(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.toml").write_text(RECIPE)
    done = CliRunner().invoke(main, ["run", "toy.toml"])
    assert done.exit_code == 0, done.output
    folder = tmp_path / "runs/toy-s0-001/analysis/dcgan.guided_backprop"
    assert json.loads((folder / "result.json").read_text())["scores"]["selectivity"] > 0
    assert (folder / "guided_backprop.png").stat().st_size > 3000
    assert (folder / "maps.csv").read_text().startswith("network,map,strongest,median,selectivity,concentration")
