"""`forge explain`: say which part of a step's key moved."""

from __future__ import annotations

import click

from forge.cli import options


@click.command()
@options.manifest
@click.argument("step")
def command(*, manifest: str, step: str, sets: tuple[str, ...], store_path: str | None) -> None:
    """Say which part of STEP's action key moved since it was last built."""
    from forge.plan.forecast import forecast

    project = options.open_project(manifest, sets, store_path, (step.partition(".")[0],))
    name = project.step(step)
    entry = forecast(project.graph.closure([name]), project.store)[name]
    if entry.will == "hit":
        click.echo(f"`{name}` is a hit: key {entry.key}")
        return
    click.echo(f"`{name}` would run: {entry.because}")
    for phrase in entry.moved:
        click.echo(f"  {phrase}")
