"""`forge plan`: say what would run, and why."""

from __future__ import annotations

import json

import click

from forge.cli import options

_WORDS = {"hit": "hit", "run": "run", "unknown": "run unless equal"}


@click.command()
@options.manifest
@click.argument("steps", nargs=-1, metavar="[STEP]…")
@options.as_json
def command(
    *, manifest: str, steps: tuple[str, ...], sets: tuple[str, ...], store_path: str | None, as_json: bool
) -> None:
    """Say what a build of MANIFEST would run, and why, without running it."""
    from rich.markup import escape

    from forge.cli.render import STYLES, console, grid
    from forge.plan.forecast import forecast

    project = options.open_project(manifest, sets, store_path, steps)
    entries = forecast(project.graph, project.store)
    if as_json:
        document = [
            {
                "name": e.step.name,
                "kind": e.step.kind,
                "use": e.step.use,
                "will": e.will,
                "because": e.because,
                "key": e.key,
                "moved": list(e.moved),
                "rows_last": e.last.rows_out if e.last else None,
                "seconds_last": e.last.seconds if e.last else None,
            }
            for e in entries.values()
        ]
        click.echo(json.dumps({"steps": document}, ensure_ascii=False, indent=1))
        return
    out = console()
    table = grid("step", "use", "will", "why", "last rows", "last seconds", right=("last rows", "last seconds"))
    for entry in entries.values():
        last = entry.record or entry.last
        table.add_row(
            escape(entry.step.name),
            escape(entry.step.use),
            f"[{STYLES[entry.will]}]{_WORDS[entry.will]}[/]",
            escape(entry.because),
            "" if last is None or last.rows_out is None else f"{last.rows_out:,}",
            "" if last is None or entry.will == "hit" else f"{last.seconds:.1f}",
        )
    out.print(table)
    run = sum(e.will != "hit" for e in entries.values())
    out.print(
        f"\n{run} of {len(entries)} steps would run" if run else f"\nnothing to do: all {len(entries)} steps are hits"
    )
