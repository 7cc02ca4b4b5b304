"""Plugins: each loaded on its own; a broken one is reported and stops nobody."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

import pytest

from gflow_core.errors import UnknownPart
from gflow_core.plugins import PluginRecord, Plugins, load

HEAD = """
import attrs
from gflow_core.hookspecs import hookimpl

@attrs.frozen
class Unet:
    '''A sampler.'''
"""

GOOD = """
@hookimpl
def register_samplers(add):
    add("{name}.unet", Unet)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Write a distribution `gflow-NAME` whose plugin module holds the given code."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, code: str, head: str = HEAD, dist: str = "") -> None:
        module, dist = f"plugin_{tmp_path.name}_{dist or name}".replace("-", "_"), dist or f"gflow_{name}"
        (tmp_path / f"{module}.py").write_text(head + code)
        info = tmp_path / f"{dist}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist.replace('_', '-')}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[gflow.plugins]\n{name} = {module}\n")

    return write


@pytest.fixture
def loaded(tmp_path):
    """Load everything that `install` wrote, and nothing else."""
    return lambda: load([point for dist in distributions(path=[str(tmp_path)]) for point in dist.entry_points])


def record(plugins: Plugins, name: str) -> PluginRecord:
    (found,) = (r for r in plugins.records if r.name == name)
    return found


def test_the_core_is_a_plugin_like_any_other():
    plugins = load([])
    (core,) = plugins.records
    assert (core.name, core.dist, core.status) == ("core", "gflow-core", "ok")
    assert ("latent", "normal") in core.parts
    assert plugins.get("latent", "normal").__name__ == "Normal"


def test_a_good_plugin_is_recorded_with_its_provider_file_and_parts(install, loaded, tmp_path):
    install("mine", GOOD.format(name="mine"))
    plugins = loaded()
    mine = record(plugins, "mine")
    assert (mine.dist, mine.version, mine.status, mine.error) == ("gflow-mine", "1.5", "ok", "")
    assert mine.parts == [("sampler", "mine.unet")]
    assert Path(mine.file).parent == tmp_path
    assert plugins.get("sampler", "mine.unet").__name__ == "Unet"
    assert plugins.registries["sampler"].entry("mine.unet").provider == "gflow-mine 1.5"


BROKEN = {
    "raises at import": ("raise RuntimeError('no licence')", "raised RuntimeError: no licence"),
    "exits at import": ("raise SystemExit(3)", "raised SystemExit: 3"),
    "lacks a dependency": ("import nonesuch_package", "No module named 'nonesuch_package'"),
    "is no Python": ("def f(:", "raised SyntaxError"),
    "misspells a hook": ("@hookimpl\ndef register_sampler(add): pass", "register_sampler"),
    "misspells an argument": ("@hookimpl\ndef register_samplers(added): pass", "added"),
    "speaks another API": ("API_VERSION = 99", "written for plugin API 99, this gflow-core speaks 1"),
    "raises in a hook": (
        "@hookimpl\ndef register_samplers(add): raise KeyError('oops')",
        "register_samplers raised KeyError",
    ),
    "adds no class": ("@hookimpl\ndef register_samplers(add): add('bad.x', 3)", "a part is an attrs class"),
    "adds a bare name": (
        "@hookimpl\ndef register_samplers(add): add('x', Unet)",
        "bare names are the core's own; call it bad.x",
    ),
    "adds a bad name": ("@hookimpl\ndef register_samplers(add): add('Bad X', Unet)", "use lower-case letters"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_plugin_is_reported_and_the_rest_works(install, loaded, what):
    code, reason = BROKEN[what]
    install("bad", code)
    install("good", GOOD.format(name="good"))
    plugins = loaded()
    bad = record(plugins, "bad")
    assert bad.status == "broken"
    assert reason in bad.error
    assert record(plugins, "good").status == record(plugins, "core").status == "ok"
    assert "good.unet" in plugins.registries["sampler"]
    with pytest.raises(UnknownPart) as error:
        plugins.get("sampler", "bad.unet")
    assert 'sampler "bad.unet" belongs to the plugin bad (gflow-bad), which is broken' in str(error.value)
    assert reason in str(error.value)


def test_a_misspelled_hook_lists_the_hooks_there_are(install, loaded):
    install("bad", BROKEN["misspells a hook"][0])
    error = record(loaded(), "bad").error
    assert error.startswith(
        'register_sampler is no hook; did you mean "register_samplers"? (hooks are register_samplers, '
    )


def test_messages_show_no_modules_as_python_would(install, loaded):
    install("bad", BROKEN["misspells an argument"][0])
    assert record(loaded(), "bad").error == "register_samplers takes one argument, add; it has added"


def test_one_bad_part_leaves_the_plugins_others(install, loaded):
    install("half", "@hookimpl\ndef register_samplers(add):\n    add('half.X', Unet)\n    add('half.y', Unet)\n")
    plugins = loaded()
    assert record(plugins, "half").status == "broken"
    assert "half.y" in plugins.registries["sampler"]


def test_two_distributions_that_claim_one_name_are_both_named(install, loaded):
    install("one", GOOD.format(name="shared"), dist="gflow_one")
    install("two", GOOD.format(name="shared") + GOOD.format(name="two").replace("samplers", "discriminators"))
    plugins = loaded()
    for name in ("one", "two"):
        assert record(plugins, name).error == (
            'conflict of one name: sampler "shared.unet" is claimed by gflow-one 1.5 and by gflow-two 1.5; '
            "uninstall or rename one; all other parts work"
        )
    with pytest.raises(UnknownPart, match=r"claimed by gflow-one 1.5 and by gflow-two 1.5; uninstall or rename one"):
        plugins.get("sampler", "shared.unet")
    assert "two.unet" in plugins.registries["discriminator"]


def test_an_entry_point_seen_twice_is_loaded_once(install, tmp_path):
    install("mine", GOOD.format(name="mine"))
    points = [point for dist in distributions(path=[str(tmp_path)]) for point in dist.entry_points]
    assert [r.status for r in load(points * 2).records] == ["ok", "ok"]


OBJECT = """
class Plugin:
    @hookimpl
    def register_samplers(self, add):
        add("mine.unet", Unet)

obj = Plugin()
"""


def test_an_entry_point_may_name_an_object(install, tmp_path):
    install("mine", OBJECT)
    (info,) = tmp_path.glob("*.dist-info")
    points = (info / "entry_points.txt").read_text().strip() + ":obj\n"
    (info / "entry_points.txt").write_text(points)
    plugins = load([point for dist in distributions(path=[str(tmp_path)]) for point in dist.entry_points])
    assert record(plugins, "mine").parts == [("sampler", "mine.unet")]
