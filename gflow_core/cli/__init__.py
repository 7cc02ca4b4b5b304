"""The command line: one module a command, imported when that command is called."""

from __future__ import annotations

import importlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import click

from gflow_core.errors import GflowError, RecipeError, did_you_mean, harmless, shortened
from gflow_core.machine.refusals import ended_elsewhere, of_the_machine
from gflow_core.machine.signals import INTERRUPTED, end_at_once, interruptible

__all__ = ["COMMANDS", "main", "reporting"]

COMMANDS = {
    "run": "Train and analyze a recipe.",
    "resume": "Continue a run that was stopped.",
    "sweep": "Run a grid of runs, here or on a cluster.",
    "sample": "Draw from a run's sampler: a picture, an array, many files.",
    "export": "Write a run's sampler for programs without gflow.",
    "analyze": "Run analyzers over a run.",
    "score": "Score files of images, samples of a run or data against others.",
    "compare": "Put the scores of runs side by side.",
    "report": "Write a page about a run, or a comparison of several.",
    "data": "Prepare and look at data sets.",
    "validate": "Check recipes without running them.",
    "resolve": "Print a recipe with parents, overrides and defaults filled in.",
    "cite": "Print BibTeX of what a recipe or a run uses.",
    "cp": "Copy a recipe into a file of your own.",
    "ls": "List parts, recipes and runs.",
    "show": "Show one part: its options, defaults and source.",
    "machine": "Show what gflow computes on, and in which precision.",
    "plugins": "List plugins, and what is wrong with broken ones; check one.",
    "new-plugin": "Write a plugin to begin with.",
}
"""Command -> its line in `gflow --help`, which so imports none of them."""


class _Commands(click.Group):
    """The commands of COMMANDS, and one way to report what goes wrong in them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if find_spec(_module(name))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(_module(cmd_name)).command
        _let_load(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(error.message.rstrip(".") + did_you_mean(args[0], COMMANDS), ctx) from None

    def main(self, *args: Any, **extra: Any) -> Any:
        # Closed streams, and encodings that lack a letter, are no reason not to work.
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:
                setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (for as long as the process lives)
            elif isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        # Of a machine's processes the first one speaks: what is wrong may be wrong on that machine alone.
        others = os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")) != "0"
        lost = GflowError.exit_code if others else None
        with reporting(quiet=others, lost=lost, elsewhere=_say_alone), _files_of_this_command():
            _check_folder()
            try:
                return super().invoke(ctx)
            except click.UsageError as error:
                said = _usage(error)
                if said == error.format_message():
                    raise
                raise click.UsageError(said, error.ctx) from None


def _check_folder() -> None:
    """Whatever is done is done somewhere. Raises GflowError where that folder is gone."""
    try:
        os.getcwd()
    except OSError as error:
        raise GflowError(f"the working folder is not there any more ({error.strerror}); cd elsewhere") from error


def _usage(error: click.UsageError) -> str:
    """What click says, no longer than a screen; of an override that looks like an option, how it is written."""
    said = error.format_message()
    if isinstance(error, click.NoSuchOption):
        from gflow_core.cli.words import without_dashes

        mend = without_dashes(error.option_name)
        said = said.rstrip(".") + mend if mend else said
    return shortened(said)


def _let_load(command: click.Command) -> None:
    """Every command can be told of a file of parts, and so can those below it."""
    for below in getattr(command, "commands", {}).values():
        _let_load(below)
    if any(parameter.name == "load" for parameter in command.params):
        return

    def take(_context: click.Context, _parameter: click.Parameter, files: tuple[str, ...]) -> None:
        if files:
            from gflow_core.parts.loading import name_files
            from gflow_core.parts.plugins import unload

            name_files([os.path.abspath(file) for file in files])
            unload()

    command.params.append(
        click.Option(
            ["--load"],
            multiple=True,
            metavar="FILE",
            expose_value=False,
            is_eager=True,  # kinds and names that other arguments hold may come from there
            callback=take,
            help="Load parts from this Python file, too; may be said several times.",
        )
    )


@contextmanager
def _files_of_this_command() -> Iterator[None]:
    """What `--load` names is for one command, also where several are called in one process."""
    before = os.environ.get("GFLOW_LOAD")
    try:
        yield
    finally:
        if os.environ.get("GFLOW_LOAD") != before:
            from gflow_core.parts.loading import forget_files

            forget_files(before)


@contextmanager
def reporting(
    quiet: bool = False, lost: int | None = None, elsewhere: Callable[[GflowError], object] = lambda _: None
) -> Iterator[None]:
    """Print a GflowError, one line a problem, and leave with its exit code; quietly where others speak.

    Ctrl-C, SIGTERM and SIGHUP end the work in hand with `interrupted`, a second one at once. GFLOW_DEBUG=1 shows the
    traceback instead. `lost` is the exit code, without a word, where another process of the run has ended: for those
    whose parent tells which. `elsewhere` is given what is not said here.
    """
    say = elsewhere if quiet else _print
    with interruptible("" if quiet else _INTERRUPTED):
        try:
            yield
        except GflowError as error:
            if error.exit_code == INTERRUPTED:
                end_at_once()
            if os.environ.get("GFLOW_DEBUG") == "1":
                raise
            say(error)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            end_at_once()
            if not quiet:
                click.echo(_INTERRUPTED, err=True, nl=False)
            sys.exit(INTERRUPTED)
        except (Exception, SystemExit) as error:
            if lost is not None and ended_elsewhere(error):
                sys.exit(lost)
            text = of_the_machine(error) or _of_others(error)
            if os.environ.get("GFLOW_DEBUG") == "1" or text is None:
                raise
            say(GflowError(text))
            sys.exit(2)


_INTERRUPTED = "interrupted\n"

_ALONE = 3.0  # seconds in which the first process would have failed, too, and launchers have ended the others


def _say_alone(error: GflowError) -> None:
    """Say what this process has met, unless the first one says it in the meantime: launchers then end this one."""
    if error.exit_code == INTERRUPTED:
        return
    end_at_once()
    time.sleep(_ALONE)  # connected, so that the first one does not hear of it before
    rank, world = os.environ.get("RANK", "?"), os.environ.get("WORLD_SIZE", "?")
    _print(GflowError(f"process {rank} of {world}: {error}"))


def _of_others(error: BaseException) -> str | None:
    """What code that is not gflow's has done to it: a plugin, or another package's damaged metadata. Else None."""
    from gflow_core.parts import plugins
    from gflow_core.parts.foreign import place
    from gflow_core.parts.installed import unreadable

    if text := plugins.blamed(error):
        return text
    if place(error, {"importlib"}) and (damaged := list(unreadable())):
        # torch itself reads the metadata of all packages.
        return f"{damaged[0]}; install that package again, or remove the folder"
    return None


def _module(command: str) -> str:
    return f"gflow_core.cli.{command.replace('-', '_')}"


_LINES = 40  # problems that are told; nobody mends more at once


def _print(error: GflowError) -> None:
    lines = [str(problem) for problem in error.problems] if isinstance(error, RecipeError) else [str(error)]
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"and {len(lines) - _LINES} problems more"]
    for line in lines:
        # File names need not be text, and nothing quoted may act upon the terminal.
        line = shortened(harmless(line))
        click.echo(line if error.exit_code == INTERRUPTED else f"error: {line}", err=True)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from gflow_core.parts.plugins import plugins

    with reporting():
        for line in dict.fromkeys(f"{record.dist} {record.version}" for record in plugins().records):
            click.echo(line)
    ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Versions of core and plugins.",
)
def main() -> None:
    """Adversarial and gradient-flow generative models, composed from plugins by TOML recipes."""
