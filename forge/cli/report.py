"""`forge report`: write one HTML page of all that the store has of a manifest."""

from __future__ import annotations

from pathlib import Path

import click

from forge.cli import options
from forge.cli.whole import whole
from forge.cli.words import seconds_of, size_of
from forge.core.errors import UsageError


@click.command()
@options.manifest
@click.argument("destination", metavar="[DEST]", required=False)
@click.option("--force", is_flag=True, help="Write over a file that is no report.")
def command(
    *, manifest: str, destination: str | None, sets: tuple[str, ...], store_path: str | None, force: bool
) -> None:
    """Write one HTML page that needs nothing else: graph, rows, statistics, samples, curves, receipts.

    DEST is a file or a folder; without one it is the manifest's name with .html, here. Nothing is built.
    """
    from forge.report.gather import gather
    from forge.report.page import GENERATOR, render

    project = options.open_project(manifest, sets, store_path)
    target = Path(destination or ".")
    if target.is_dir() or (destination or "").endswith("/"):
        target /= "".join(c if c.isalnum() or c in "-_." else "_" for c in project.graph.manifest.name) + ".html"
    try:
        if target.exists() and not force and GENERATOR not in target.read_bytes()[:2048].decode(errors="replace"):
            raise UsageError(f"`{target}` is there already and is no report", hint="`--force` writes over it")
        page = render(gather(project.graph, project.store), size=size_of, seconds=seconds_of).encode(errors="replace")
        with whole(target) as fresh:
            fresh.write_bytes(page)
    except OSError as error:
        raise UsageError(f"`{target}` can't be written: {error.strerror or error}") from None
    click.echo(f"{len(project.graph.steps)} steps, {size_of(len(page))} → {target}")
