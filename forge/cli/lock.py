"""`forge lock`: write down what a build was made with and what it made."""

from __future__ import annotations

from pathlib import Path

import click

from forge.cli import options
from forge.cli.whole import whole
from forge.core.errors import UsageError


@click.command()
@options.manifest
@click.option("--lock", "lock_file", metavar="FILE", help="Write it here instead of beside the manifest.")
def command(*, manifest: str, sets: tuple[str, ...], store_path: str | None, lock_file: str | None) -> None:
    """Write MANIFEST.lock: versions, digests of the files that came in, every step's key and artifact.

    Everything must be built. `forge build --locked` refuses what differs, `forge rebuild --verify` makes it all again.
    """
    from forge.plan.lock import lock_path, make_lock

    project = options.open_project(manifest, sets, store_path)
    lock = make_lock(project.graph, project.store, sets)
    path = Path(lock_file) if lock_file else lock_path(Path(manifest))
    try:
        with whole(path) as fresh:
            fresh.write_text(lock.dump(), encoding="ascii")
    except OSError as error:
        raise UsageError(f"`{path}` can't be written: {error.strerror or error}") from None
    files = sum(len(members) for step in lock.files.values() for members in step.values())
    click.echo(f"`{path}`: {len(lock.steps)} steps, {files:,} files, {len(lock.environment)} versions")
