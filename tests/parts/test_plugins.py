"""Plugins: each loaded on its own; a broken one is reported and stops nobody."""

from __future__ import annotations

import json
import re
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from gflow_core.cli import main
from gflow_core.errors import UnknownPart
from gflow_core.parts import hookspecs
from gflow_core.parts.plugins import PluginRecord, Plugins, load

HEAD = """
import attrs
from gflow_core.parts.hookspecs import hookimpl

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
    "interrupts itself": ("raise KeyboardInterrupt", "raised KeyboardInterrupt"),
    "raises what is no Exception": ("raise type('Stop', (BaseException,), {})('now')", "raised Stop: now"),
    "cannot say what is wrong": (
        "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
        "raised Mute: (its __str__ raised ValueError)",
    ),
    "raises in __getattr__": (
        "def __getattr__(name): raise RuntimeError(f'no {name} here')",
        "registering its parts raised RuntimeError: no API_VERSION here",
    ),
    "lacks a dependency": ("import nonesuch_package", "No module named 'nonesuch_package'"),
    "is no Python": ("def f(:", "raised SyntaxError"),
    "misspells a hook": ("@hookimpl\ndef register_sampler(add): pass", "register_sampler"),
    "misspells an argument": ("@hookimpl\ndef register_samplers(added): pass", "added"),
    "speaks another API": ("API_VERSION = 99", "written for plugin API 99, this gflow-core speaks 2"),
    "raises in a hook": (
        "@hookimpl\ndef register_samplers(add): raise KeyError('oops')",
        "register_samplers raised KeyError",
    ),
    "exits in a hook": (
        "@hookimpl\ndef register_samplers(add): raise SystemExit('bye')",
        "register_samplers raised SystemExit: bye",
    ),
    "adds what cannot be shown": (
        "class Mute:\n    def __repr__(self): raise SystemExit\n"
        "@hookimpl\ndef register_samplers(add): add('bad.x', Mute())",
        "a part is an attrs class (its options), got a Mute (its __repr__ raised SystemExit)",
    ),
    "adds a kind that is none": (
        "@hookimpl\ndef register_parts(add): add(['sampler'], 'bad.x', Unet)",
        "registering its parts raised TypeError: unhashable type: 'list'",
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


def test_a_broken_plugin_says_where(install, loaded, tmp_path):
    install("bad", "import json\njson.loads('{')\n")
    file = next(tmp_path.glob("plugin_*.py"))
    line = file.read_text().splitlines().index("json.loads('{')") + 1
    assert record(loaded(), "bad").error.endswith(f"(char 1) ({file}, line {line})")


def test_two_plugins_of_one_name_are_both_named(install, loaded):
    install("mine", GOOD.format(name="mine"), dist="gflow_one")
    install("mine", GOOD.format(name="mine").replace("unet", "net"), dist="gflow_two")
    install("core", GOOD.format(name="core"), dist="gflow_three")
    one, two = (r for r in loaded().records if r.name == "mine")
    assert one.error == two.error == "another plugin is called mine, too; uninstall or rename one"
    ours, theirs = (r for r in loaded().records if r.name == "core")
    assert (ours.status, theirs.error) == ("ok", "another plugin is called core, too; uninstall or rename one")


DAMAGED = {
    "empty": ({}, "states no name"),
    "no_name": ({"METADATA": b"Metadata-Version: 2.1\nVersion: 1.0\n"}, "states no name"),
    "no_utf8": (
        {"METADATA": b"Name: no-utf8\n", "entry_points.txt": b"[gflow.plugins]\nx = \xff\n"},
        "UnicodeDecodeError",
    ),
    "malformed": (
        {"METADATA": b"Name: malformed\n", "entry_points.txt": b"[gflow.plugins]\nnonsense\n"},
        "a line of entry_points.txt is no NAME = MODULE",
    ),
    "no_module": (
        {"METADATA": b"Name: no-module\n", "entry_points.txt": b"[gflow.plugins]\nx = 1 2\n"},
        "entry_points.txt: x = 1 2 names no module",
    ),
    "no_metadata": ({"entry_points.txt": b"[gflow.plugins]\nx = nonesuch\n"}, "states no name"),
}


def test_damaged_metadata_is_named_and_stops_nobody(install, tmp_path, monkeypatch):
    install("good", GOOD.format(name="good"))
    for name, (files, _) in DAMAGED.items():
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
    monkeypatch.setenv("GFLOW_LOAD_PLUGINS", "good,x")
    monkeypatch.setattr("gflow_core.parts.plugins._loaded", None)
    result = CliRunner().invoke(main, ["plugins"])
    assert result.exit_code == 0, result.output
    assert "    samplers: good.unet\n" in result.stdout
    told = dict(re.findall(r"^warning: .*/(\w+)-1.0.dist-info: (.*)$", result.stderr, re.MULTILINE))
    assert told.keys() == DAMAGED.keys()
    for name, (_, reason) in DAMAGED.items():
        assert reason in told[name]


def test_what_a_plugin_prints_goes_to_stderr(install, loaded, capfd):
    install(
        "loud",
        "import logging, os, sys\nprint('printed')\nsys.__stdout__.write('written')\nos.write(1, b'low')\n"
        "os.system('echo echoed')\nlog = logging.StreamHandler(sys.stdout)\n"
        "@hookimpl\ndef register_samplers(add): print('hooked')\n",
    )
    print("before")
    assert record(loaded(), "loud").status == "ok"
    print("after")
    out, err = capfd.readouterr()
    assert out == "before\nafter\n"
    assert all(word in err for word in ("printed", "written", "low", "echoed", "hooked"))


ODD = """
from gflow_core import Latent, Normal, option

@attrs.frozen
class Odd:
    '''A sampler.'''

    latent: Latent = option(factory=Normal, doc="z")

    @property
    def conditional(self):
        raise SystemExit("who knows")

    def build(self, data): ...

@hookimpl
def register_samplers(add):
    add("odd.unet", Odd)
"""


def test_what_a_plugin_raises_anywhere_else_is_its_own_too(install, tmp_path, monkeypatch):
    install("odd", ODD)
    monkeypatch.setenv("GFLOW_LOAD_PLUGINS", "odd")
    monkeypatch.setattr("gflow_core.parts.plugins._loaded", None)
    (tmp_path / "r.toml").write_text('gflow = 1\ndataset = { use = "ring" }\nsampler = { use = "odd.unet" }\n')
    result = CliRunner().invoke(main, ["validate", str(tmp_path / "r.toml")])
    (file,) = tmp_path.glob("plugin_*.py")
    line = file.read_text().splitlines().index('        raise SystemExit("who knows")') + 1
    said = (
        f"error: the plugin odd raised SystemExit: who knows ({file}, line {line}; GFLOW_DEBUG=1 shows the traceback)\n"
    )
    assert (result.exit_code, result.stderr) == (2, said)


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


# ------------------------------------------------------------------ a plugin by itself


def test_a_plugin_without_a_record_goes_by_its_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "alone_plugin.py").write_text(HEAD + GOOD.format(name="alone"))
    import alone_plugin

    plugins = load([])
    found = plugins.register(alone_plugin)
    assert (found.name, found.status, found.parts) == ("alone_plugin", "ok", [("sampler", "alone.unet")])
    assert plugins.records[-1] is found


# ------------------------------------------------------------------ GFLOW_LOAD_PLUGINS


def test_only_named_plugins_are_loaded(install, monkeypatch):
    install("mine", GOOD.format(name="mine"))
    install("bad", "raise RuntimeError('never imported')")
    monkeypatch.setenv("GFLOW_LOAD_PLUGINS", " mine, core,, mien")
    plugins = load()
    assert [(r.name, r.status) for r in plugins.records] == [("core", "ok"), ("mine", "ok")]
    assert "bad" in plugins.left_out
    assert "mine" not in plugins.left_out
    assert plugins.unknown == ("mien",)
    with pytest.raises(UnknownPart) as error:
        plugins.get("sampler", "bad.unet")
    assert str(error.value) == (
        'sampler "bad.unet" belongs to the plugin bad, which GFLOW_LOAD_PLUGINS leaves out; add it there'
    )


def test_an_empty_list_of_plugins_is_none(install, monkeypatch):
    install("mine", GOOD.format(name="mine"))
    monkeypatch.setenv("GFLOW_LOAD_PLUGINS", "")
    plugins = load()
    assert [r.name for r in plugins.records] == ["core"]
    assert "mine" in plugins.left_out


def test_what_is_left_out_is_said(install, monkeypatch):
    install("mine", GOOD.format(name="mine"))
    monkeypatch.setenv("GFLOW_LOAD_PLUGINS", "mien")
    monkeypatch.setattr("gflow_core.parts.plugins._loaded", None)
    result = CliRunner().invoke(main, ["plugins"])
    assert result.exit_code == 0
    assert result.stderr == 'warning: GFLOW_LOAD_PLUGINS names mien, which is not installed; did you mean "mine"?\n'
    assert re.search(r"^left out by GFLOW_LOAD_PLUGINS: .*\bmine\b", result.stdout, re.MULTILINE)
    assert "vgrow.mlp" not in result.stdout


# ------------------------------------------------------------------ deprecated hooks


@pytest.fixture
def later(monkeypatch) -> ModuleType:
    """A version of the hooks in which one, and one argument of another, are going to go."""
    specs = ModuleType("later_hookspecs")
    for name in ("API_VERSION", "ENTRY_POINT_GROUP"):
        setattr(specs, name, getattr(hookspecs, name))
    specs.HOOKS = {"sampler": "register_samplers", "latent": "register_latents"}

    specs.register_kinds, specs.register_parts = hookspecs.register_kinds, hookspecs.register_parts

    @hookspecs.hookspec(warn_on_impl=DeprecationWarning("register_samplers goes in API 2; use register_generators"))
    def register_samplers(add):
        """Going."""

    @hookspecs.hookspec(warn_on_impl_args={"add": DeprecationWarning("add goes in API 2; return a list")})
    def register_latents(add):
        """Its argument is going."""

    specs.register_samplers, specs.register_latents = register_samplers, register_latents
    monkeypatch.setattr("gflow_core.parts.plugins.hookspecs", specs)
    return specs


def test_a_deprecated_hook_works_and_is_noted_beside_the_plugin(later, install, loaded, monkeypatch, recwarn):
    install("old", GOOD.format(name="old"))
    install("older", "@hookimpl\ndef register_latents(add): add('older.z', Unet)")
    install("new", "")
    plugins = loaded()
    assert record(plugins, "old").status == "ok"
    assert "old.unet" in plugins.registries["sampler"], "it goes on working until then"
    assert record(plugins, "old").warnings == ["register_samplers goes in API 2; use register_generators"]
    assert record(plugins, "older").warnings == ["add goes in API 2; return a list"]
    assert record(plugins, "new").warnings == []
    assert [w for w in recwarn if "API 2" in str(w.message)] == [], "no warning of Python's"

    monkeypatch.setattr("gflow_core.parts.plugins._loaded", plugins)
    shown = CliRunner().invoke(main, ["plugins"]).stdout
    assert "    deprecated: register_samplers goes in API 2; use register_generators\n" in shown
    told = {r["name"]: r["warnings"] for r in json.loads(CliRunner().invoke(main, ["plugins", "--json"]).stdout)}
    assert told["older"] == ["add goes in API 2; return a list"]


# ------------------------------------------------------------------ gflow plugins check


CHECKED = """
from typing import ClassVar

from gflow_core.nn.latents import Normal
from gflow_core.parts.contracts import Latent
from gflow_core.parts.nouns import Moments
from gflow_core.parts.options import option


@attrs.frozen(kw_only=True)
class Loud(Normal):
    '''A law that states too little.'''

    def moments(self):
        return Moments(0.0, 0.5)


@attrs.frozen(kw_only=True)
class File:
    '''Points of a file.'''

    root: str = option(doc="The file.")

    def data_shape(self): ...
    def load(self, progress): ...


@attrs.frozen(kw_only=True)
class Look:
    '''An analyzer.'''

    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self): ...


@hookimpl
def register_latents(add):
    add("sound.normal", type("Normal", (Normal,), {"__doc__": "As the core's."}))
    add("sound.loud", Loud)


@hookimpl
def register_datasets(add):
    add("sound.file", File)


@hookimpl
def register_analyzers(add):
    add("sound.look", Look)
"""


@pytest.fixture
def check(loaded, monkeypatch):
    """`gflow plugins check NAME` among what `install` wrote."""

    def call(*words):
        monkeypatch.setattr("gflow_core.parts.plugins._loaded", loaded())
        return CliRunner().invoke(main, ["plugins", "check", *words])

    return call


def test_check_says_of_each_part_whether_it_keeps_its_promises(install, check):
    install("sound", CHECKED)
    result = check("sound")
    whole, file, look, quiet, loud = result.stdout.splitlines()
    assert whole == "sound (gflow-sound 1.5): ok, plugin API 2"
    assert quiet == "latent sound.normal: ok"
    assert loud.startswith("latent sound.loud: moments() states variance 0.5, 20000 draws have ")
    assert file == "dataset sound.file: declared well; not tried, it has no default for root"
    assert look.startswith("analyzer sound.look: its build returns nothing (None), a function of")
    assert (result.exit_code, result.stderr) == (2, "error: sound: 2 of the above are wrong\n")


ENDLESS = '''
from typing import ClassVar
import attrs
from gflow_core.parts.hookspecs import hookimpl


@attrs.frozen
class Endless:
    """It never comes back, and catches what it can."""

    needs: ClassVar[frozenset[str]] = frozenset()

    def build(self):
        def look(subject):
            while True:
                try:
                    list(range(1000))
                except Exception:
                    pass
        return look


@hookimpl
def register_analyzers(add):
    add("endless.look", Endless)
'''


def test_check_stops_an_analyzer_that_takes_long(install, check, monkeypatch):
    monkeypatch.setattr("gflow_core.testing.report.PATIENCE", 0.1)
    install("endless", ENDLESS)
    result = check("endless")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1] == (
        "analyzer endless.look: ok as far as it was tried; still at work after 0.1 s, --full waits"
    )


def test_a_part_of_a_plugin_that_is_not_installed(install, loaded):
    install("mine", GOOD.format(name="mine"))
    with pytest.raises(UnknownPart) as error:
        loaded().get("sampler", "nowhere.unet")
    assert str(error.value) == (
        'unknown sampler "nowhere.unet": no plugin nowhere is installed, and no file that --load names has it '
        "(gflow plugins)"
    )
    with pytest.raises(UnknownPart, match=r"no plugin vgrow is installed; pip install gflow-vgrow$"):
        loaded().get("sampler", "vgrow.mlp")
    with pytest.raises(UnknownPart, match=r'no plugin mien is installed; did you mean "mine"\? \(gflow plugins\)$'):
        loaded().get("sampler", "mien.unet")
    with pytest.raises(UnknownPart, match=r'unknown sampler "mine\.une".*; did you mean "mine\.unet"\?'):
        loaded().get("sampler", "mine.une")
    with pytest.raises(UnknownPart, match=r"^unknown sampler .*\(known: "):
        loaded().get("sampler", "unet2")


def test_check_of_a_broken_plugin(install, check):
    install("bad", BROKEN["misspells a hook"][0])
    install("empty", "")
    result = check("bad")
    assert (result.exit_code, len(result.stdout.splitlines())) == (2, 1)
    assert "bad (gflow-bad 1.5): register_sampler is no hook" in result.stdout
    assert "registers no part" in check("empty").stdout


def test_check_of_a_plugin_that_is_not_there(install, check):
    install("mine", GOOD.format(name="mine"))
    result = check("mien")
    assert (result.exit_code, result.stderr) == (
        2,
        'error: no plugin "mien" is installed; did you mean "mine"? (installed: core, mine)\n',
    )
