"""`forge check`: find problems before anything runs."""

from __future__ import annotations

import click

from forge.cli import options


@click.command()
@options.manifest
@options.executor
@options.profile
@click.option("--wait", default=120, show_default=True, help="Seconds that a probe job may wait for its turn.")
def command(
    *,
    manifest: str,
    sets: tuple[str, ...],
    store_path: str | None,
    executor: str | None,
    profile: str | None,
    wait: int,
) -> None:
    """Check MANIFEST: step types, parameters, inputs, files and packages. Nothing runs.

    With a cluster, also what its partitions would refuse, and by a probe job in each what differs on its nodes.
    """
    from forge.plan.secrets import require_secrets

    project = options.open_project(manifest, sets, store_path, (), executor, profile)
    require_secrets(project.graph)
    steps = project.graph.steps
    files = sum(len(found) for step in steps.values() for found in step.files.values())
    click.echo(f"{len(steps)} steps, {files:,} files: no problem found")
    if project.profile is not None:
        from forge.cli.cluster import check_cluster

        check_cluster(project, project.profile, wait)
