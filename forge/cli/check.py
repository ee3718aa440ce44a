"""`forge check`: find problems before anything runs."""

from __future__ import annotations

import click

from forge.cli import options


@click.command()
@options.manifest
def command(*, manifest: str, sets: tuple[str, ...], store_path: str | None) -> None:
    """Check MANIFEST: step types, parameters, inputs, files and packages. Nothing runs."""
    from forge.plan.secrets import require_secrets

    project = options.open_project(manifest, sets, store_path)
    require_secrets(project.graph)
    steps = project.graph.steps
    files = sum(len(found) for step in steps.values() for found in step.files.values())
    click.echo(f"{len(steps)} steps, {files:,} files: no problem found")
