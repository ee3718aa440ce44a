"""`forge status`: say what runs on a cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from forge.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from forge.run.slurm.overview import Entry
    from forge.store.base import Store


@click.command()
@click.argument("manifest", metavar="[MANIFEST]", required=False)
@options.store
@options.as_json
def command(*, manifest: str | None, store_path: str | None, as_json: bool) -> None:
    """Say how the jobs of MANIFEST do, or of every manifest of the store that is here."""
    import attrs

    from forge.run.slurm.client import Slurm
    from forge.run.slurm.overview import entries

    store, path = store_of(manifest, store_path)
    found = entries(store, Slurm.of(store), str(path) if path is not None else "")
    if as_json:
        document = {"jobs": [attrs.asdict(entry) for entry in found]}
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    _show(found)


def store_of(manifest: str | None, store_path: str | None) -> tuple[Store, Path | None]:
    """Return the store that is meant, and the manifest's absolute path where one is named."""
    from pathlib import Path

    from forge.plan.load import load

    if manifest is None:
        return options.open_store(store_path, Path.cwd(), made=True), None
    loaded = load(manifest)
    return options.open_store(store_path, loaded.root, made=True), loaded.path.absolute()


def _show(found: list[Entry]) -> None:
    from forge.cli.render import console, escape, grid

    out = console()
    if not found:
        out.print("no step was ever a job here")
        return
    table = grid("step", "job", "state", "time", "")
    for entry in found:
        cells = (entry.step, entry.job, entry.state, entry.time, entry.detail)
        table.add_row(*(escape(cell) for cell in cells))
    out.print(table)
    alive = sum(entry.alive for entry in found)
    out.print(f"\n{alive} job{'s' if alive != 1 else ''} in the queue")
