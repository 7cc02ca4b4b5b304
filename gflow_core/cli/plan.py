"""What a run would do, for `gflow run --dry-run`."""

from __future__ import annotations

from rich.console import Console as Rich
from rich.table import Table

from gflow_core.build import build
from gflow_core.cli.kinds import name_of
from gflow_core.recipe import Recipe

__all__ = ["print_plan"]


def print_plan(recipe: Recipe) -> None:
    """Build everything, print parts, parameter counts, data size, device and precision; train nothing."""
    spec = recipe.spec
    experiment = build(spec)
    rows: list[tuple[str, str, str]] = []
    if spec.dataset:
        data = experiment.data
        assert data is not None
        if data.cache is not None:
            rows.append(("decoded data", "kept in", str(data.cache)))
        rows.append(("dataset", name_of("dataset", spec.dataset), f"{len(data):,} items, {data.shape}"))
    for kind, module in (("sampler", experiment.sampler), ("discriminator", experiment.discriminator)):
        if module is not None:
            count = sum(p.numel() for p in module.parameters())
            rows.append((kind, name_of(kind, getattr(spec, kind)), f"{count:,} parameters"))
    if spec.objective and spec.train:
        clock = spec.train
        rows.append(
            (
                "objective",
                name_of("objective", spec.objective),
                f"{clock.steps:,} steps, batch {clock.batch_size}, "
                + (
                    f"{clock.replicas} replicas of seeds {spec.seeds[0]} to {spec.seeds[-1]}"
                    if clock.replicas > 1
                    else f"seed {clock.seed}"
                ),
            )
        )
    for name, optimizer in spec.optimizer.items():
        rows.append((f"optimizer.{name}", type(optimizer).__name__, f"lr {optimizer.lr:g}"))
    for analysis in spec.analyze:
        when = f"every {analysis.every} steps" if analysis.every else "at the end"
        rows.append(("analyze", name_of("analyzer", analysis.part), when))
    runtime = experiment.runtime
    processes = spec.train.devices if spec.train else 1
    rows.append(
        ("device", str(runtime.device), f"{runtime.precision}, {processes} process{'es' if processes > 1 else ''}")
    )
    table = Table(title=f"plan of {recipe.path}", title_justify="left")
    for column in ("what", "which", "size"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Rich(highlight=False).print(table)
