"""`forge logs`: print what a step has printed."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from forge.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from forge.store.base import Store

_LOOK = 0.5
"""Seconds between two looks at a log that is followed."""
_LOOKS = 4
"""Looks between two questions to the controller."""
_PIECE = 1 << 20


@click.command()
@click.argument("words", metavar="[MANIFEST] STEP", nargs=-1, required=True)
@click.option("--follow", "-f", is_flag=True, help="Go on while the step runs.")
@options.store
def command(*, words: tuple[str, ...], follow: bool, store_path: str | None) -> None:
    """Print the log of STEP's last run, wherever it runs."""
    from forge.cli.status import store_of
    from forge.core.errors import UsageError

    if len(words) > 2:  # noqa: PLR2004  # a manifest and a step
        raise UsageError("`forge logs` prints the log of one step")
    manifest = words[0] if len(words) > 1 else None
    store, path = store_of(manifest, store_path)
    step = words[-1]
    key = _key(store, step, path) or (_planned(manifest, step, store) if manifest is not None else None)
    if key is None:
        raise UsageError(f"no step `{step}` has run here", hint="`forge status` lists the jobs of a cluster")
    log = store.root / "logs" / f"{key}.log"
    at = _print(log, 0)
    if at == 0:
        for shell in sorted((store.root / "jobs" / key).glob("slurm*.log")):
            _print(shell, 0)
    while follow and _runs(store, key):
        for _ in range(_LOOKS):
            time.sleep(_LOOK)
            at = _print(log, at)
    _print(log, at)


def _key(store: Store, step: str, manifest: Path | None) -> str | None:
    """Return the action of a step that ran last: as a job, or in a build that remembers it."""
    from forge.run.slurm.overview import newest
    from forge.store.actions import Actions

    found = newest(store, step, str(manifest) if manifest is not None else "")
    if found is not None or manifest is not None:
        return found
    builds = sorted((store.root / "builds").glob("*.json"), key=lambda path: path.stat().st_mtime)
    keys = [Actions(store).last(path.stem).get(step) for path in builds]
    known = [key for key in keys if key is not None]
    return known[-1] if known else None


def _planned(manifest: str, step: str, store: Store) -> str | None:
    """Return the action that a step of one manifest is now, or was when it was last built here."""
    from forge.plan.forecast import forecast
    from forge.store.actions import Actions
    from forge.store.signatures import build_name

    project = options.open_project(manifest, (), str(store.root), (step,))
    key = forecast(project.graph, store)[project.step(step)].key
    if key is not None and (store.root / "logs" / f"{key}.log").exists():
        return key
    return Actions(store).last(build_name(project.graph.manifest.name, project.graph.manifest.path)).get(step)


def _runs(store: Store, key: str) -> bool:
    """Say whether the action is still being worked on, or waits for its turn."""
    from forge.run.slurm.client import Slurm
    from forge.store.actions import Actions

    if Actions(store).read(key) is not None:
        return False
    return any(job.alive and job.key == key for job in Slurm.of(store).jobs()) or key in Actions(store).claimed()


def _print(log: Path, at: int) -> int:
    """Print what stands behind *at*, and return where it ends."""
    try:
        with log.open("rb") as file:
            file.seek(at)
            while piece := file.read(_PIECE):
                sys.stdout.buffer.write(piece)
                at += len(piece)
    except FileNotFoundError:
        return at
    sys.stdout.flush()
    return at
