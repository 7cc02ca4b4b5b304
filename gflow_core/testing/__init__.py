"""For the tests of plugins: fixtures, tiny data and networks, and checks of every contract. A pytest plugin.

    from gflow_core import check_sampler

    def test_my_sampler_keeps_its_promises():
        check_sampler(MySampler(width=8))

pytest loads this module wherever gflow-core is installed, so it imports nothing of gflow before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import pytest
except ModuleNotFoundError:  # it has what follows but the fixtures; `gflow plugins check` needs no more
    pytest = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Generator

    from gflow_core.parts.plugins import Plugins
    from gflow_core.testing.analyzers import check_analyzer
    from gflow_core.testing.encoders import check_encoder, check_text_encoder
    from gflow_core.testing.objectives import check_objective
    from gflow_core.testing.parts import (
        Untried,
        check_dataset,
        check_discriminator,
        check_latent,
        check_sampler,
    )
    from gflow_core.testing.rounding import OwnRounding
    from gflow_core.testing.steps import (
        check_augmentation,
        check_loss,
        check_optimizer,
        check_part,
        check_penalty,
        check_schedule,
        check_tracker,
    )
    from gflow_core.testing.tiny import TINY, TinyData, TinyDiscriminator, TinySampler
    from gflow_core.testing.velocities import check_velocity

__all__ = [
    "TINY",
    "OwnRounding",
    "TinyData",
    "TinyDiscriminator",
    "TinySampler",
    "Untried",
    "check_analyzer",
    "check_augmentation",
    "check_dataset",
    "check_discriminator",
    "check_encoder",
    "check_latent",
    "check_loss",
    "check_objective",
    "check_optimizer",
    "check_part",
    "check_penalty",
    "check_sampler",
    "check_schedule",
    "check_text_encoder",
    "check_tracker",
    "check_velocity",
    "isolated_plugins",
    "tiny_data",
]

_IN = {
    "gflow_core.testing.analyzers": ("check_analyzer",),
    "gflow_core.testing.encoders": ("check_encoder", "check_text_encoder"),
    "gflow_core.testing.objectives": ("check_objective",),
    "gflow_core.testing.rounding": ("OwnRounding",),
    "gflow_core.testing.steps": (
        "check_augmentation",
        "check_loss",
        "check_optimizer",
        "check_part",
        "check_penalty",
        "check_schedule",
        "check_tracker",
    ),
    "gflow_core.testing.tiny": ("TINY", "TinyData", "TinyDiscriminator", "TinySampler"),
    "gflow_core.testing.velocities": ("check_velocity",),
}
"""Module -> what it holds; the rest is in gflow_core.testing.parts."""

_TINY = tuple(f"{kind}{labels}" for kind in ("grey", "rgb", "vector") for labels in ("", "-classes", "-conditions"))


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = next((module for module, names in _IN.items() if name in names), "gflow_core.testing.parts")
    return getattr(import_module(module), name)


if pytest is not None:

    def pytest_addoption(parser: pytest.Parser) -> None:
        parser.getgroup("gflow").addoption(
            "--own-rounding",
            action="store_true",
            help="run tests within gflow_core.testing.OwnRounding: what compares products bit for bit fails",
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
        if not item.config.getoption("own_rounding"):
            return (yield)
        from gflow_core.testing.rounding import OwnRounding

        with OwnRounding():
            return (yield)

    @pytest.fixture
    def isolated_plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
        """The core, the data set, sampler and discriminator "tiny", and what the test registers; nothing installed.

        Everything in this process that asks for the plugins of the environment gets these: recipes, `gflow` commands.
        Files that the test loads are forgotten after it.

            isolated_plugins.register(gflow_mine.plugin)
        """
        from gflow_core.parts import plugins
        from gflow_core.testing import tiny

        found = plugins.load([])
        found.registries["dataset"].add("tiny", tiny.TinyData, "gflow_core.testing")
        found.registries["sampler"].add("tiny", tiny.TinySampler, "gflow_core.testing")
        found.registries["discriminator"].add("tiny", tiny.TinyDiscriminator, "gflow_core.testing")
        monkeypatch.setattr(plugins, "_loaded", found)
        monkeypatch.setenv(plugins.LOAD, "")
        monkeypatch.delenv(plugins.LOAD)
        return found

    @pytest.fixture(params=_TINY)
    def tiny_data(request: pytest.FixtureRequest) -> TinyData:
        """Each kind of data in turn: grey or RGB images or vectors, without labels, with classes, with real conditions.

        A data set part: `tiny_data.data_shape()` is its DataShape, `tiny_data.load()` its Source.
        """
        from gflow_core.testing.tiny import TINY

        return TINY[request.param]
