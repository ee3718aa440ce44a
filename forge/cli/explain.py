"""`forge explain`: say which part of a step's key moved."""

from __future__ import annotations

import json

import click

from forge.cli import options
from forge.core.step import split_reference


@click.command()
@options.manifest
@click.argument("step")
@options.as_json
def command(*, manifest: str, step: str, sets: tuple[str, ...], store_path: str | None, as_json: bool) -> None:
    """Say which part of STEP's action key moved since it was last built, and which earlier step moved first."""
    from forge.plan.forecast import forecast
    from forge.plan.origins import origins

    project = options.open_project(manifest, sets, store_path, (split_reference(step)[0],))
    name = project.step(step)
    entries = forecast(project.graph.closure([name]), project.store)
    entry = entries[name]
    first = [] if entry.will == "hit" else origins(entries, name, project.store)
    if as_json:
        document = {
            "step": name,
            "will": entry.will,
            "because": entry.because,
            "key": entry.key,
            "moved": list(entry.moved),
            "moved_first": [{"step": each.step, "moved": list(each.moved)} for each in first],
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    if entry.will == "hit":
        click.echo(f"`{name}` is a hit: key {entry.key}")
        return
    words = "would run unless what comes in is equal to what came in before" if entry.will == "unknown" else "would run"
    click.echo(f"`{name}` {words}: {entry.because}")
    for phrase in entry.moved:
        click.echo(f"  {phrase}")
    for each in first:
        click.echo(f"`{each.step}` moved first: {each.moved[0]}")
        for phrase in each.moved[1:]:
            click.echo(f"  {phrase}")
