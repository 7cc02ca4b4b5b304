"""Recipes: read, extended, overridden, traced to their files, and written back resolved."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow_core.errors import RecipeError
from gflow_core.files.reading import MAX_BYTES
from gflow_core.optim.schedules import Cosine, Linear, Warmup
from gflow_core.parts.plugins import plugins
from gflow_core.parts.spec import Train
from gflow_core.recipes.recipe import load
from gflow_core.recipes.structure import structure
from gflow_core.recipes.tables import unstructure
from gflow_core.recipes.writing import dumps
from gflow_core.runs.trackers import Tensorboard

BASE = """
    gflow = 1
    title = "base"

    [dataset]
    use = "ring"

    [sampler]
    use = "vgrow.mlp"
    width = 16
    latent = { use = "normal", dim = 3 }

    [discriminator]
    use = "vgrow.mlp"
    width = 8

    [objective]
    use = "vgrow.flow"
    pool_size = 128

    [optimizer.sampler]
    use = "rmsprop"
    lr = 1e-4
    schedule = { use = "multistep", milestones = [4, 8] }

    [optimizer.discriminator]
    use = "adam"
    lr = 1e-4
    betas = [0.5, 0.9]

    [train]
    steps = 10

    [[analyze]]
    use = "vgrow.theory"

    [[analyze]]
    use = "flow_field"
    every = 5
"""

OPTIMIZERS, SCHEDULES = (plugins().registries[kind] for kind in ("optimizer", "schedule"))


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str | bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return name

    return write


@pytest.fixture
def base(write) -> str:
    return write("base.toml", BASE)


def problems(path: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as error:
        load(path, overrides)
    return str(error.value)


# ------------------------------------------------------------------ files


def test_a_recipe(base):
    recipe = load(base)
    assert recipe.path == Path("base.toml")
    assert recipe.table == tomllib.loads(textwrap.dedent(BASE))
    assert recipe.spec.title == "base"
    assert recipe.spec.sampler.latent.dim == 3
    assert set(recipe.origins.values()) == {"base.toml"}
    assert recipe.origins["optimizer", "discriminator", "betas"] == "base.toml"


def test_files_that_are_no_recipes(write, base):
    assert problems("nope.toml") == "nope.toml: no such file"
    assert problems("bas.toml") == 'bas.toml: no such file; did you mean "base.toml"?'
    assert problems("no/where.toml") == "no/where.toml: no such file"
    Path("folder").mkdir()
    assert problems("folder") == "folder: is a folder, not a recipe"
    assert problems("base.toml/x.toml") == "base.toml/x.toml: cannot be read: Not a directory"
    assert "cannot be read" in problems("a\0b")
    assert "cannot be read: File name too long" in problems("x" * 5000)
    assert problems(write("binary.toml", b"gflow = 1\ntitle = '\xff'\n")) == "binary.toml: line 2: not UTF-8 text"
    assert (
        problems(write("empty.toml", ""))
        == "empty.toml: gflow: required: the format version; write gflow = 1 at the top"
    )


def test_a_syntax_error_has_line_and_column(write):
    assert problems(write("x.toml", b"gflow = 1\n[train\nsteps = 3\n")).startswith("x.toml: line 2, column 7: ")
    assert problems(write("y.toml", b"gflow = ")).startswith("y.toml: ")
    assert problems(write("z.toml", b"gflow = 1\ngflow = 1\n")).startswith("z.toml: line 2, column ")


def test_what_tomllib_says_is_put_plainly(write):
    twice = write("x.toml", "gflow = 1\n[train.ema]\n[train.ema]\n")
    assert problems(twice) == "x.toml: line 3, column 11: [train.ema] is there twice"
    assert problems(write("y.toml", "gflow = 1\ngflow = 1\n")).endswith(": this key is there twice")
    digits = "9" * 5000
    assert problems(write("z.toml", f"gflow = {digits}")) == (
        "z.toml: not TOML: a number of more digits than anything takes"
    )


def test_a_byte_order_mark_is_accepted(write):
    assert load(write("bom.toml", b"\xef\xbb\xbfgflow = 1\n")).spec.title == ""


def test_what_is_not_printable_is_escaped(write, base):
    found = problems(write("x.toml", b'gflow = 1\n"\\u001b[31m\\u202e" = 1\ntitle = ["\\n"]\n'))
    assert len(found.splitlines()) == 2
    assert all(line.isprintable() for line in found.splitlines())
    assert r"\u202e" in found
    assert problems(base, "\x1b\u202e=3").startswith(r"override \x1b\u202e=3: ")


ATTACKS = {
    "brackets": b"x = " + b"[" * 100_000,
    "balanced brackets": b"x = " + b"[" * 500 + b"]" * 500,
    "inline tables": b"x = " + b"{a=" * 500 + b"1" + b"}" * 500,
    "dotted key": b"a" + b".a" * 5_000 + b" = 1",
    "dotted table": b"[a" + b".a" * 5_000 + b"]",
    "long number": b"gflow = " + b"9" * 100_000,
    "long hex number": b"gflow = 1\n[train]\nseed = 0x" + b"f" * 100_000,
    "long string": b"gflow = 1\ntitle = 3\n[train]\nsteps = '" + b"x" * 100_000 + b"'",
    "too large": b"#" * (MAX_BYTES + 1),
    "nothing but zeros": bytes(1000),
}


@pytest.mark.parametrize("what", ATTACKS)
def test_attacks_get_a_short_message(write, what):
    assert len(problems(write("attack.toml", ATTACKS[what]))) < 1000


# ------------------------------------------------------------------ extends


def test_tables_merge_and_lists_replace(write, base):
    child = write(
        "sub/child.toml",
        """
        extends = "../base.toml"
        title = "child"
        [sampler]
        depth = 2
        latent = { dim = 5 }
        [optimizer.discriminator]
        betas = [0.0, 0.5]
        [[analyze]]
        use = "vgrow.theory"
        name = "lemmas"
        """,
    )
    recipe = load(child)
    assert recipe.spec.title == "child"
    assert (recipe.spec.sampler.width, recipe.spec.sampler.depth, recipe.spec.sampler.latent.dim) == (16, 2, 5)
    assert recipe.spec.optimizer["discriminator"].betas == (0.0, 0.5)
    assert [analysis.name for analysis in recipe.spec.analyze] == ["lemmas"]
    assert "extends" not in recipe.table
    assert recipe.origins["sampler", "width"] == "base.toml"
    assert recipe.origins["sampler", "latent", "use"] == "base.toml"
    assert recipe.origins["sampler", "latent", "dim"] == "sub/child.toml"


def test_three_generations(write, base):
    write("b.toml", 'extends = "base.toml"\n[train]\nseed = 1\nsteps = 20\n')
    spec = load(write("c.toml", 'extends = "b.toml"\n[train]\nseed = 2\n')).spec
    assert (spec.train.seed, spec.train.steps, spec.sampler.width) == (2, 20, 16)


def test_another_use_drops_what_belonged_to_the_old(write, base):
    child = """
        extends = "base.toml"
        [sampler]
        depth = 5
        use = "vgrow.mlp"
        latent = { use = "uniform" }
        [optimizer.discriminator]
        lr = 0.5
        use = "sgd"
    """
    spec = load(write("child.toml", child)).spec
    assert (spec.sampler.width, spec.sampler.depth) == (16, 5), "the same name drops nothing"
    assert spec.sampler.latent.dim == 128, "dim = 3 belonged to normal"
    assert spec.optimizer["discriminator"].lr == 0.5, "the order within a table does not matter"
    assert spec.optimizer["sampler"].schedule.milestones == (4, 8)


def test_a_parent_may_leave_use_to_its_children(write):
    write("wide.toml", "gflow = 1\n[sampler]\nwidth = 64\n")
    child = 'extends = "wide.toml"\n[dataset]\nuse = "ring"\n[sampler]\nuse = "vgrow.mlp"\n'
    assert load(write("child.toml", child)).spec.sampler.width == 64


def test_extends_that_lead_nowhere(write, base):
    assert problems(write("a.toml", 'extends = "bse.toml"')) == (
        'a.toml: extends: no such file: bse.toml; did you mean "base.toml"?'
    )
    assert "a.toml: extends: expected the path of one recipe" in problems(write("a.toml", 'extends = ["base.toml"]'))
    write("parent.toml", "[train\n")
    assert problems(write("a.toml", 'extends = "parent.toml"')).startswith("parent.toml: line 1, column 7: ")
    Path("folder").mkdir()
    assert problems(write("a.toml", 'extends = "folder"')) == "folder: is a folder, not a recipe"
    write("new.toml", "gflow = 2")
    assert problems(write("a.toml", 'gflow = 1\nextends = "new.toml"')) == (
        "new.toml: gflow: this gflow-core reads format 1, the recipe says the whole number 2"
    )


def test_circles_are_named(write):
    assert problems(write("a.toml", 'extends = "a.toml"')) == (
        "a.toml: extends: goes round in a circle: a.toml -> a.toml"
    )
    write("a.toml", 'extends = "sub/b.toml"')
    write("sub/b.toml", 'extends = "../a.toml"')
    assert "goes round in a circle: a.toml -> sub/b.toml -> a.toml" in problems("a.toml")


def test_a_long_chain_is_refused(write):
    for i in range(40):
        write(f"r{i}.toml", f'extends = "r{i + 1}.toml"')
    assert "recipes extend one another" in problems("r0.toml")


def test_problems_name_the_file_they_come_from(write, base):
    write("p.toml", 'extends = "base.toml"\n[sampler]\nwdth = 3\n[train]\nsteps = "10k"\nkeep = 0\n')
    child = write("c.toml", 'extends = "p.toml"\n[train]\nkeep = "two"\n')
    assert problems(child, "discriminator.depth=x").splitlines() == [
        'p.toml: sampler.wdth: unknown option; did you mean "width"? (gflow show sampler vgrow.mlp)',
        'override discriminator.depth=x: discriminator.depth: expected a whole number, got the string "x"',
        'p.toml: train.steps: expected a whole number, got the string "10k"',
        'c.toml: train.keep: expected a whole number, got the string "two"',
    ]


def test_a_problem_of_a_table_names_the_overrides_in_it(base):
    clamp = problems(base, "objective.clamp=[1, -1]", "train.seed=3")
    assert clamp.startswith("base.toml with override objective.clamp=[1, -1]: objective: clamp")
    both = problems(
        base, "optimizer.discriminator=sgd", "optimizer.discriminator.lr=1", "optimizer.discriminator.nesterov=true"
    )
    assert both.startswith(
        "base.toml with override optimizer.discriminator=sgd and override optimizer.discriminator.lr=1 and override "
    )
    assert problems(base, "optimizer.discriminator.betas.0=7").startswith(
        "base.toml with override optimizer.discriminator.betas.0=7: optimizer.discriminator.betas: must be"
    )


# ------------------------------------------------------------------ overrides


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.steps=20", ("train", "steps"), 20),
        ("train.seed = 3", ("train", "seed"), 3),
        ("optimizer.sampler.lr=1e-3", ("optimizer", "sampler", "lr"), 1e-3),
        ("title=a b", ("title",), "a b"),
        ('title="a b"', ("title",), "a b"),
        ("title=a=b", ("title",), "a=b"),
        ("title=", ("title",), ""),
        ("title='3'", ("title",), "3"),
        ("title=a\nb = 3", ("title",), "a\nb = 3"),
        ("objective.divergence=js", ("objective", "divergence"), {"use": "js"}),
        ("objective.clamp=[-1, 1]", ("objective", "clamp"), [-1, 1]),
        ("train.deterministic=true", ("train", "deterministic"), True),
        ("train.ema={ decay = 0.9 }", ("train", "ema"), {"decay": 0.9}),
        ("train.ema.decay=0.9", ("train", "ema"), {"decay": 0.9}),
        ("analyze.1.every=500", ("analyze", 1, "every"), 500),
        ("analyze.01.every=500", ("analyze", 1, "every"), 500),
        ("optimizer.discriminator.betas.0=0", ("optimizer", "discriminator", "betas"), [0, 0.9]),
        ("sampler.latent.dim=9", ("sampler", "latent"), {"use": "normal", "dim": 9}),
        ("sampler.latent={ dim = 9 }", ("sampler", "latent"), {"use": "normal", "dim": 9}),
        ("sampler.latent=uniform", ("sampler", "latent"), {"use": "uniform"}),
        ("sampler.latent=normal", ("sampler", "latent"), {"use": "normal", "dim": 3}),
        ("dataset=grid", ("dataset",), {"use": "grid"}),
        ("sampler=vgrow.mlp", ("sampler", "width"), 16),
        ("analyze.1=flow_field", ("analyze", 1, "every"), 5),
        ("optimizer.sampler.schedule=constant", ("optimizer", "sampler", "schedule"), {"use": "constant"}),
        ("discriminator={ width = 9 }", ("discriminator",), {"use": "vgrow.mlp", "width": 9}),
    ],
)
def test_overrides(base, override, path, value):
    recipe = load(base, [override])
    at = recipe.table
    for key in path:
        at = at[key]
    assert at == value


def test_overrides_go_left_to_right_and_the_last_wins(base):
    assert load(base, ["train.seed=1", "train.seed=2"]).spec.train.seed == 2
    overrides = [
        "sampler.width=7",
        "optimizer.sampler=sgd",
        "optimizer.sampler.lr=1",
        "~analyze.0",
        "analyze.0.every=9",
    ]
    recipe = load(base, overrides)
    assert recipe.spec.sampler.width == 7
    assert recipe.spec.optimizer["sampler"].lr == 1.0
    assert [(a.name, a.every) for a in recipe.spec.analyze] == [("flow_field", 9)]
    assert recipe.origins["optimizer", "sampler", "use"] == "override optimizer.sampler=sgd"
    assert recipe.origins["analyze", 0, "every"] == "override analyze.0.every=9"
    assert recipe.origins["analyze", 0, "use"] == "base.toml"


def test_removal(base):
    assert load(base, ["~sampler.width"]).spec.sampler.width == 128
    assert load(base, ["~analyze"]).spec.analyze == ()
    assert load(base, ["~sampler.latent"]).spec.sampler.latent.dim == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps", "expected KEY=VALUE, as in train.steps=100, or ~KEY"),
        ("", "expected KEY=VALUE, as in train.steps=100, or ~KEY"),
        ("seeds=0:3", "seeds= is for gflow sweep; here train.seed=N"),
        ("=3", "a key is empty; write it as in train.steps=100"),
        ("train..steps=3", "a key is empty; write it as in train.steps=100"),
        ("train.=3", "a key is empty; write it as in train.steps=100"),
        ("~", "a key is empty; write it as in train.steps=100"),
        ("~train.seed=3", "~ removes and takes no value; write ~train.seed"),
        ("~train.stesp", 'train.stesp is not there to remove; did you mean "steps"?'),
        ("~trian.steps", 'trian is not there to remove; did you mean "train"?'),
        ("analyze.3.every=3", "analyze.3: no such item; it has 2, counted from 0"),
        ("~analyze.2", "analyze.2: no such item; it has 2, counted from 0"),
        ("analyze.-1.every=3", 'analyze is a list: expected a number such as analyze.0, got "-1"'),
        ("analyze.x=3", 'analyze is a list: expected a number such as analyze.0, got "x"'),
        ("analyze.\u0663=3", 'analyze is a list: expected a number such as analyze.0, got "\u0663"'),
        ("train.steps.x=3", "train.steps is no table: nothing can stand under it"),
        ("title.x=3", "title is no table: nothing can stand under it"),
        ("a" + ".a" * 99 + "=3", "more than 16 keys"),
        ("extends=other.toml", "extends cannot be overridden: it is what the file itself stands on"),
        ("x=" + "[" * 30 + "]" * 30, "nested deeper than 16 tables and lists"),
        ("x=" + "[" * 30_000, "nested too deep"),
        ("title=\udcff", "not UTF-8 text"),
    ],
)
def test_malformed_overrides(base, override, message):
    with pytest.raises(RecipeError) as error:
        load(base, [override])
    (problem,) = error.value.problems
    assert problem.message == message
    assert problem.source.startswith("override ")
    assert len(problem.source) < 100


def test_an_override_adds_an_analysis_after_the_last(base, write):
    before = load(base).spec.analyze
    spec = load(
        base, ["analyze.2=losses", "analyze.2.name=curves", "analyze.3={ use = 'sample_grid', columns = 3 }"]
    ).spec
    assert spec.analyze[:2] == before
    assert [analysis.name for analysis in spec.analyze[2:]] == ["curves", "sample_grid"]
    assert spec.analyze[3].part.columns == 3
    path = write("x.toml", "gflow = 1")
    assert "analyze.1: no such item; it is empty" in problems(path, "analyze.1=losses")
    assert "analyze.0.use: required" in problems(path, "analyze.0.every=3")


# ------------------------------------------------------------------ written back


def test_resolved_toml_is_the_same_recipe(base, write):
    spec = load(base, ["train.ema.start=3", "objective.clamp=[-1, 1]", 'title=a "b"\n\\ \x7f\u00e9']).spec
    text = dumps(spec)
    assert load(write("resolved.toml", text.encode())).spec == spec
    assert dumps(load("resolved.toml").spec) == text
    assert 'latent = {use = "normal", dim = 3}' in text
    assert "[optimizer.sampler]" in text
    assert "[[analyze]]" in text
    assert 'schedule = {use = "multistep", start = 1.0, milestones = [4, 8], factor = 0.5}' in text


def test_origins_stand_on_each_line(base, write):
    write("child.toml", 'extends = "base.toml"\n[sampler]\ndepth = 2\nlatent = { dim = 4 }\n')
    recipe = load("child.toml", ["train.seed=5", "title=x\n#"])
    text = dumps(recipe.spec, recipe.origins)
    lines = dict(line.split(" # ", 1) for line in text.splitlines() if " # " in line)
    assert lines["width = 16"] == "base.toml"
    assert lines["depth = 2"] == "child.toml"
    assert lines["seed = 5"] == "override train.seed=5"
    assert lines["batch_size = 64"] == "default"
    assert lines['latent = {use = "normal", dim = 4}'] == "base.toml; child.toml"
    assert load(write("resolved.toml", text.encode())).spec == recipe.spec


def test_an_override_of_the_data_is_named_where_a_network_does_not_suit_it():
    far = Path(__file__).parents[2] / "recipes" / "far_mnist5k.toml"
    assert problems(far, "dataset.image_size=30", "train.seed=1").startswith(
        f"{far} with override dataset.image_size=30: sampler: "
    )


def test_a_list_of_tables_has_a_line_and_an_origin_for_each(write):
    shipped = Path(__file__).parents[2] / "recipes" / "rmt_noise_laws.toml"
    laws = 'laws_z = [{ use = "normal" }, { use = "bernoulli" }]'
    table = f'[[analyze]]\nuse = "rmt.noise_laws"\nencoder = {{ use = "mnist_cnn" }}\n{laws}\n'
    write("laws.toml", f'extends = "{shipped}"\n{table}')
    recipe = load("laws.toml", ["analyze.0.laws_z.1.p=0.4"])
    text = dumps(recipe.spec, recipe.origins)
    assert '    {use = "normal", dim = 128}, # laws.toml\n' in text
    assert "dim = 128, p = 0.4}, # laws.toml; override analyze.0.laws_z.1.p=0.4\n" in text
    assert load(write("resolved.toml", text)).spec == recipe.spec


# ------------------------------------------------------------------ the guide

GUIDE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()


def test_the_recipe_in_the_guide_is_one(write):
    block = GUIDE.partition("    # gflow run mine.toml\n")[2].partition("\n\n`use`")[0]
    assert load(write("mine.toml", block)).spec.analyze[0].every == 50


def test_the_guide_names_every_option_of_the_core():
    for part in (Train, *(registry.get(name) for registry in (OPTIMIZERS, SCHEDULES) for name in registry)):
        for field in attrs.fields(part):
            assert f"`{field.name}`" in GUIDE, f"{part.__name__}.{field.name}"
    for name in (*OPTIMIZERS, *SCHEDULES):
        assert f"`{name}`" in GUIDE


# ------------------------------------------------------------------ a property

# A strategy for recipes that are right: what `load` reads, `dumps` writes and `load` reads again.
rates = st.floats(min_value=1e-12, max_value=1e6)
shares = st.floats(min_value=0, max_value=1, exclude_max=True)
counts = st.integers(min_value=1, max_value=2**63 - 1)


def table(required: dict[str, st.SearchStrategy], **optional: st.SearchStrategy) -> st.SearchStrategy:
    return st.fixed_dictionaries(required, optional=optional)


latents = table({"use": st.just("normal")}, dim=counts) | table(
    {"use": st.just("uniform")}, low=st.floats(-1e9, 0), high=st.floats(1, 1e9)
)
schedules = st.one_of(
    table({"use": st.just("constant")}),
    table(
        {
            "use": st.just("multistep"),
            "milestones": st.lists(st.integers(0, 10**6), max_size=4, unique=True).map(sorted),
        },
        factor=rates,
    ),
    table({"use": st.just("exponential"), "factor": rates}, floor=rates),
    table({"use": st.just("linear"), "steps": counts}, start=rates),
)
optimizers = st.one_of(
    table({"use": st.just("sgd"), "lr": rates}, momentum=shares, schedule=schedules),
    table({"use": st.sampled_from(["adam", "adamw"]), "lr": rates}, betas=st.tuples(shares, shares).map(list)),
    table({"use": st.just("rmsprop"), "lr": rates}, centered=st.booleans(), schedule=schedules),
)
recipes = table(
    {
        "gflow": st.just(1),
        "dataset": st.just({"use": "ring"}),
        "sampler": table({"use": st.just("vgrow.mlp")}, width=counts, latent=latents),
        "discriminator": table({"use": st.just("vgrow.mlp")}, depth=counts),
        "objective": table(
            {"use": st.just("vgrow.flow"), "pool_size": st.integers(64, 10**6)},
            step_size=rates,
            projection_passes=counts | st.sampled_from(["authors", "authors_cifar10"]),
            clamp=st.sampled_from(["data", "none"]) | st.just([-1, 1.5]),
            ratio_clip=st.just([1, 100]),
        ),
        "optimizer": st.fixed_dictionaries({"sampler": optimizers, "discriminator": optimizers}),
        "train": table(
            {"steps": counts},
            seed=st.integers(0, 2**63 - 1),
            ema=table({}, decay=shares, start=st.integers(0, 10**6)),
            deterministic=st.booleans(),
        ),
    },
    title=st.text(st.characters(exclude_categories=["Cs"])),
    analyze=st.lists(
        table({"use": st.just("vgrow.theory"), "name": st.from_regex(r"[a-z][a-z0-9._-]{0,20}", fullmatch=True)}),
        unique_by=lambda row: row["name"],
        max_size=3,
    ),
)


@settings(max_examples=150, deadline=None)
@given(recipes)
def test_writing_and_reading_are_inverse(tmp_path_factory, table):
    found = plugins()
    spec = structure(table, found)
    assert structure(unstructure(spec, found), found) == spec
    path = tmp_path_factory.getbasetemp() / "property.toml"
    path.write_text(dumps(spec), encoding="utf-8", newline="")
    assert load(path).spec == spec


RISING = Warmup(start=0.5, steps=5)


@pytest.mark.parametrize(
    ("words", "place", "value"),
    [
        (["train.clip=warmup", "train.clip.start=0.5", "train.clip.steps=5"], ("train", "clip"), RISING),
        (["train.clip.use=warmup", "train.clip.start=0.5", "train.clip.steps=5"], ("train", "clip"), RISING),
        (
            ["train.ema.half_life=cosine", "train.ema.half_life.start=9.0", "train.ema.half_life.steps=5"],
            ("train", "ema", "half_life"),
            Cosine(start=9.0, steps=5),
        ),
        (
            ["train.clip=3.0", "train.clip.use=linear", "train.clip.end=1.0", "train.clip.steps=5"],
            ("train", "clip"),
            Linear(end=1.0, steps=5),
        ),
        (["train.trackers=tensorboard"], ("train", "trackers"), (Tensorboard(),)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_schedules_by_override(write, words, place, value):
    found = load(write("base.toml", BASE), words).spec
    for name in place:
        found = getattr(found, name)
    assert found == value


def test_what_says_the_same_in_two_ways_is_refused(write):
    with pytest.raises(RecipeError, match=r"train\.ema: decay and half_life say the same"):
        load(write("base.toml", BASE), ["train.ema={ half_life = 500.0, decay = 0.9 }"])
