"""`forge cancel`: end the jobs of a cluster."""

from __future__ import annotations

import click

from forge.cli import options


@click.command()
@click.argument("words", metavar="[MANIFEST] [STEP]…", nargs=-1)
@options.store
def command(*, words: tuple[str, ...], store_path: str | None) -> None:
    """End the jobs of MANIFEST, or of the named STEPs, or all of the store that is here.

    Checkpoints and replies are kept: the next build goes on from them.
    """
    from forge.cli.status import store_of
    from forge.core.errors import UsageError
    from forge.core.suggest import did_you_mean
    from forge.run.slurm.client import Slurm
    from forge.run.slurm.overview import entries

    manifest, steps = (words[0], words[1:]) if words and words[0].endswith(".toml") else (None, words)
    store, path = store_of(manifest, store_path)
    slurm = Slurm.of(store)
    found = [entry for entry in entries(store, slurm, str(path) if path is not None else "") if entry.alive]
    for step in steps:
        names = {entry.step for entry in found}
        if step not in names:
            raise UsageError(f"step `{step}` has no job in the queue", hint=did_you_mean(step, names))
    chosen = [entry for entry in found if not steps or entry.step in steps]
    slurm.cancel([entry.key for entry in chosen])
    for entry in chosen:
        click.echo(f"cancelled {entry.job} of step `{entry.step}`")
    if not chosen:
        click.echo("no job in the queue")
