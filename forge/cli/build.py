"""`forge build`: make what is missing."""

from __future__ import annotations

import json
import os
import sys
import time

import click

from forge.cli import options
from forge.cli.snapshot import take


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
    from forge.cli.render import BuildView, json_document
    from forge.run.build import Build
    from forge.run.local import LocalExecutor

    del executor  # one choice so far
    begun = time.time()
    project = options.open_project(manifest, sets, store_path, steps)
    count = jobs or os.cpu_count() or 1
    with BuildView(project.graph, quiet=as_json) as view:
        build = Build(project.graph, project.store, lambda: LocalExecutor(count), view.hear, offline)
        outcome = build.run()
    if outcome.exit_code == 0:
        take(click.get_current_context().find_root().obj, project, build, outcome, begun)
    if as_json:
        json.dump(json_document(project, outcome), sys.stdout, ensure_ascii=False, indent=1)
        print()  # noqa: T201
        view.failures(outcome)
    else:
        view.summary(project, outcome)
    return outcome.exit_code
