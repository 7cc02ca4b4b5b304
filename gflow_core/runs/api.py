"""gflow from Python; the command line stands on the same functions.

from gflow_core import Recipe, load_run, run

finished = run(Recipe.load("recipes/vgrow_ring8.toml", "train.steps=200"))
points = load_run(finished.path).sample(64)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gflow_core.errors import GflowError, for_people
from gflow_core.files.run_folder import read_result
from gflow_core.machine.runtime import world_size
from gflow_core.machine.streams import draws_kept
from gflow_core.methods.refinement import Refinement
from gflow_core.parts.source import Source
from gflow_core.parts.spec import Spec
from gflow_core.recipes.recipe import Recipe, load
from gflow_core.runs import around, drawing, reanalyze, session
from gflow_core.runs.build import read_data
from gflow_core.runs.console import RunConsole
from gflow_core.runs.manifest import check_data
from gflow_core.runs.record import RunFolder

__all__ = ["Run", "load_run", "run"]


class Run:
    """A run folder, to be looked at, drawn from and continued. Each file is read when it is asked for.

    It stands for its path where one is asked for. What reads it raises GflowError once the folder is gone.
    """

    @for_people
    def __init__(self, path: Path | str | RunFolder, checkpoint: str | int | None = None) -> None:
        """Open a run folder, at its newest checkpoint or at another. Raises GflowError if it is not one."""
        folder = path if isinstance(path, RunFolder) else RunFolder(Path(path))
        self.path = folder.path.absolute()
        self._given = folder.path
        self.checkpoint = None if checkpoint is None else folder.checkpoint_name(_name(checkpoint))

    def __repr__(self) -> str:
        at = "" if self.checkpoint is None else f", checkpoint={self.checkpoint!r}"
        return f"Run({str(self.path)!r}{at})"

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def _folder(self) -> RunFolder:
        """The folder, if it is still there: called as it was given, as long as that leads there."""
        if not (self.path / "recipe.toml").is_file():
            raise GflowError(f"{self.path}: no run folder any more; load_run takes it where it is now")
        return RunFolder(self._given if self._given.absolute() == self.path else self.path)

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe. Raises RecipeError where it no longer fits the installed plugins."""
        return load(self._folder.recipe, begun=True)

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, device, precision, git state and the data's fingerprint. Raises GflowError where damaged."""
        return self._folder.read_manifest()

    @property
    def checkpoints(self) -> list[str]:
        """The names of those that are kept, oldest first, as `checkpoint` takes them."""
        return self._folder.checkpoints()

    def metrics(self) -> list[dict[str, Any]]:
        """What was logged while training, oldest first: step, the objective's metrics, seconds of training so far."""
        return self._folder.metrics()

    def results(self) -> dict[str, dict[str, Any]]:
        """What each analysis found at the end, by its name: step, scores, files, the manifest that scores depend on.

        Raises GflowError where one is damaged.
        """
        files = sorted((self._folder.path / "analysis").glob("*/result.json"))
        return {file.parent.name: read_result(file) for file in files}

    def history(self) -> dict[str, list[dict[str, Any]]]:
        """What each analysis found at each step that it looked at, oldest first, by its name: results as above.

        While training (`every`), at checkpoints that were analyzed later, and at the end, which counts of two at one
        step. Raises GflowError where one is damaged.
        """
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for file in sorted((self._folder.path / "analysis").glob("*/*/result.json")):
            if file.parent.name.isdecimal():  # and no replica's
                found.setdefault(file.parent.parent.name, {})[int(file.parent.name)] = read_result(file)
        for name, last in self.results().items():
            found.setdefault(name, {})[last.get("step", 0)] = last
        return {name: [found[name][step] for step in sorted(found[name])] for name in sorted(found)}

    def scores(self) -> dict[str, dict[str, float | int | str | None]]:
        """The scores of each analysis, by its name."""
        return {name: result["scores"] for name, result in self.results().items()}

    @cached_property
    @draws_kept()
    def sampler(self) -> nn.Module:
        """The trained sampler, in eval mode on the recipe's device: averaged weights where the run keeps them.

        `sampler(z)` or, of a conditional one, `sampler(z, y)` with z [B, latent.dim] gives x [B, *shape].
        """
        module = drawing.Drawing(self._folder.path, self.checkpoint).experiment.final_sampler
        assert module is not None
        return module.eval()

    @cached_property
    @draws_kept()
    def discriminator(self) -> nn.Module:
        """The trained discriminator, in eval mode on the recipe's device. Raises GflowError where the run has none.

        `discriminator(x)` or, of a conditional one, `discriminator(x, y)` with x [B, *shape] gives logits [B].
        """
        module = drawing.Drawing(self._folder.path, self.checkpoint, with_discriminator=True).experiment.discriminator
        assert module is not None
        return module.eval()

    @cached_property
    def data(self) -> Source:
        """The data that it learned: `len(data)` items, of which `data.batch(index)` gives `x` [B, *shape] and `y`.

        Raises GflowError where the recipe has none, or they are not those any more that the run began with.
        """
        dataset = drawing.anywhere(self.recipe.spec).dataset
        if dataset is None:
            raise GflowError(f"{self.path}: its recipe has no [dataset]")
        found = read_data(dataset)
        check_data(self.manifest, found, self.path)
        return found

    @for_people
    @draws_kept()
    def sample(
        self,
        n: int,
        *,
        label: str | int | None = None,
        text: str | None = None,
        seed: int | None = None,
        checkpoint: str | int | None = None,
        replica: int = 0,
        scheduler: str | None = None,
        batch_norm: str = "eval",
        refine: int | None = None,
        eta: int | float = 0.1,
        temperature: int | float = 0.01,
        divergence: str = "kl",
    ) -> Tensor:
        """n samples [n, *shape] on the CPU, in the data's range ([-1, 1] for images); the same ones at every call.

        `label` is what a conditional sampler is asked for: a class, by name ("cat") or index (3), or numbers such as
        "Smiling=1,Male=-1"; every class in turn without it. `text` asks a sampler of captions in words. `seed` chooses
        other latents, `checkpoint` an earlier one (100, or "best", by `train.keep_best`), `replica` one of
        several, `scheduler` workers to draw them. `batch_norm` goes by the statistics of training ("eval"), or by those
        of samples ("standing"). `refine` is a number of moves along the discriminator, in steps of `eta` with noise of
        a `temperature`, that decrease a `divergence` ("kl", "js" or "logd"; Ansari et al. 2021).
        Raises GflowError for what does not fit the run.
        """
        if n < 1:
            raise GflowError(f"n = {n}: ask for one sample or more")
        if batch_norm not in ("eval", "standing"):
            raise GflowError(f'batch_norm = "{batch_norm}": eval and standing are known')
        refinement = None if refine is None else Refinement.of(refine, eta, temperature, divergence)
        with around.workers(scheduler) as spread:
            return drawing.draw(
                self._folder.path,
                n,
                self.checkpoint if checkpoint is None else _name(checkpoint),
                seed,
                replica,
                label,
                text,
                spread,
                batch_norm=batch_norm,
                refinement=refinement,
            )[0]

    @for_people
    @draws_kept()
    def resume(
        self,
        *,
        checkpoint: str | int | None = None,
        steps: int | None = None,
        overrides: Sequence[str] = (),
        quiet: bool = False,
        scheduler: str | None = None,
        analyze: bool = True,
    ) -> Run:
        """Continue training bit for bit as if it had not stopped, to `steps` instead of the recipe's; returns the run.

        `checkpoint` (100, or "best") goes back to an earlier one and drops what came after it. Overrides
        ("optimizer.sampler.lr=1e-4") change the recipe from here on, which the manifest records. `scheduler` and
        `analyze` as in `run`. Raises as `run` does.
        """
        _check_processes(load(self._folder.recipe, overrides, begun=True).spec)
        with RunConsole(quiet) as console, around.workers(scheduler) as spread:
            folder = session.resume(
                self._folder.path, console, _name(checkpoint), steps, tuple(overrides), spread, analyze
            )
            console.done(folder.path)
        for network in ("sampler", "discriminator"):  # these were of the checkpoint before
            vars(self).pop(network, None)
        return Run(folder.path)

    @for_people
    @draws_kept()
    def analyze(
        self,
        *names: str,
        overrides: Sequence[str] = (),
        checkpoint: str | int | None = None,
        every_checkpoint: bool = False,
        quiet: bool = False,
        scheduler: str | None = None,
    ) -> Run:
        """Run its analyzers again: those named (also ones that the recipe lacks), or all; returns the run.

        Overrides ("frechet.samples=1000") change their options. At an earlier `checkpoint` (100, or "best"), or at
        every one that is kept, what they find is written beside the run's own results, under its step. `scheduler` as
        in `run`. While another process is at work on the run, it waits. Raises GflowError for an analysis that fails,
        once the others are written, and for a checkpoint that is not there.
        """
        with RunConsole(quiet) as console, around.workers(scheduler) as spread:
            folder = reanalyze.reanalyze(
                self._folder.path,
                console,
                names,
                tuple(overrides),
                spread,
                checkpoint=_name(checkpoint),
                every_checkpoint=every_checkpoint,
            )
        return Run(folder.path)


@for_people
@draws_kept()
def run(
    recipe: Recipe | Path | str,
    *overrides: str,
    runs: Path | str = "runs",
    quiet: bool = False,
    scheduler: str | None = None,
    analyze: bool = True,
    name: str | None = None,
    note: str = "",
) -> Run:
    """Train and analyze a recipe, or the file of one with overrides ("train.steps=200"), in a new folder under `runs`.

    Reports as the command line does, or not at all if `quiet`. Long analyses are spread over the workers of a dask
    `scheduler`, given by its address ("tcp://HOST:8786") or its file. Without `analyze` none is made, now or while
    training; `Run.analyze` makes them later. The folder has the `name` given, or one of recipe, seed and number, and a
    `note` is kept in its manifest. Raises RecipeError with every mistake in the recipe, Interrupted where Ctrl-C
    stopped it (its state is saved), and other GflowErrors for all else that goes wrong.
    """
    if not isinstance(recipe, Recipe):
        recipe = load(recipe, overrides)
    elif overrides:
        raise GflowError("overrides: the recipe is loaded already; give them to Recipe.load")
    _check_processes(recipe.spec)
    with RunConsole(quiet) as console, around.workers(scheduler) as spread:
        folder = session.run(recipe, Path(runs), console, spread, analyze, name, note)
        console.done(folder.path)
    return Run(folder)


@for_people
def load_run(path: Path | str, checkpoint: str | int | None = None) -> Run:
    """A run folder, to be looked at, drawn from and continued; its networks those of its newest checkpoint, or of one.

    Raises GflowError if it is no run, or has no such `checkpoint` (100, "000100", or "best", by `train.keep_best`).
    """
    return Run(path, checkpoint)


def _name(checkpoint: str | int | None) -> str | None:
    """What a checkpoint is asked for by: a number as its name."""
    return None if checkpoint is None else str(checkpoint)


def _check_processes(spec: Spec) -> None:
    """One process cannot be several: the command line and torchrun start them."""
    if spec.objective is not None and spec.train is not None and spec.train.devices > 1 and world_size() == 1:
        raise GflowError(
            f"train.devices = {spec.train.devices}: gflow run, gflow resume and torchrun start several processes; from "
            "Python set it to 1"
        )
