"""`forge build`: make what is missing."""

from __future__ import annotations

import json
import os
import sys
import time

import click

from forge.cli import options


@click.command()
@options.manifest
@click.argument("steps", nargs=-1, metavar="[STEP]…")
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Run this many steps at once (default: the cores).")
@click.option("--executor", type=click.Choice(["local"]), default="local", show_default=True, help="Where steps run.")
@click.option("--offline", is_flag=True, help="Refuse steps that need the network.")
@options.as_json
def command(
    *,
    manifest: str,
    steps: tuple[str, ...],
    sets: tuple[str, ...],
    store_path: str | None,
    jobs: int | None,
    executor: str,
    offline: bool,
    as_json: bool,
) -> int:
    """Make what is missing of MANIFEST, or of the named STEPs and all they need."""
    from forge.cli.answer import document, summary
    from forge.cli.note import take
    from forge.cli.view import BuildView
    from forge.run.build import Build
    from forge.run.local import LocalExecutor

    del executor  # one choice so far
    begun = time.time()
    call = click.get_current_context().find_root().obj
    project = options.open_project(manifest, sets, store_path, steps)
    count = jobs or os.cpu_count() or 1
    with BuildView(quiet=as_json) as view:
        build = Build(
            project.graph, project.store, lambda: LocalExecutor(count, call.spare), view.hear, offline=offline
        )
        outcome = build.run()
    if as_json:
        text = json.dumps(document(project, outcome), ensure_ascii=False, indent=1) + "\n"
    else:
        text = summary(project, outcome, terminal=sys.stdout.isatty())
    sys.stdout.write(text)
    sys.stdout.flush()
    if outcome.exit_code == 0:
        take(call.arguments, project, build, outcome, begun, {"jobs": count, "offline": offline})
    view.failures(outcome)
    return outcome.exit_code
