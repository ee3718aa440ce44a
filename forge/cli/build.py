"""`forge build`: make what is missing."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from forge.cli import options

if TYPE_CHECKING:
    from forge.plan.lock import Lock
    from forge.run.build import Outcome
    from forge.run.executor import Executor


@click.command()
@options.manifest
@click.argument("steps", nargs=-1, metavar="[STEP]…")
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Run this many steps at once (default: the cores).")
@options.executor
@options.profile
@click.option("--detach", is_flag=True, help="Build in the background; `forge status` says how far it is.")
@click.option("--offline", is_flag=True, help="Refuse steps that need the network.")
@click.option("--locked", is_flag=True, help="Refuse versions, files and steps that are not those of MANIFEST.lock.")
@click.option("--no-check", "unchecked", is_flag=True, help="Don't look ahead before the first heavy step.")
@options.as_json
def command(
    *,
    manifest: str,
    steps: tuple[str, ...],
    sets: tuple[str, ...],
    store_path: str | None,
    unchecked: bool,
    jobs: int | None,
    executor: str | None,
    profile: str | None,
    detach: bool,
    offline: bool,
    locked: bool,
    as_json: bool,
) -> int:
    """Make what is missing of MANIFEST, or of the named STEPs and all they need."""
    from forge.cli.answer import document, json_text, summary
    from forge.cli.note import take
    from forge.cli.view import BuildView
    from forge.plan.secrets import require_secrets
    from forge.run.build import Build
    from forge.run.gate import Gate
    from forge.run.local import LocalExecutor, prepare, prepare_early

    begun = time.time()
    call = click.get_current_context().find_root().obj
    count = jobs or os.cpu_count() or 1
    project = options.open_project(
        manifest,
        sets,
        store_path,
        steps,
        executor,
        profile,
        read=lambda found: call.spare(min(count, sum("from" not in table.values for table in found.steps))),
        noticed=lambda found: prepare_early(call.spares, found.verb),
    )
    prepare(call.spares, project.graph)
    require_secrets(project.graph, project.store)
    lock = _lock(project) if locked else None
    if detach:
        from forge.cli.cluster import detached

        return detached(project, call.arguments)
    with BuildView(quiet=as_json) as view:

        def make() -> Executor:
            local = LocalExecutor(count, call.spares)
            if project.profile is None:
                return local
            from forge.cli.cluster import on_cluster

            return on_cluster(project, project.profile, local, view)

        build = Build(
            project.graph,
            project.store,
            make,
            view.hear,
            offline=offline,
            gate=None if unchecked else Gate(lambda: project.graph, project.store, project.profile is not None),
        )
        outcome = build.run()
    text = json_text(document(project, outcome)) if as_json else summary(project, outcome, terminal=sys.stdout.isatty())
    sys.stdout.write(text)
    sys.stdout.flush()
    if outcome.exit_code == 0 and lock is None:  # a snapshot knows nothing of locks
        take(
            call.arguments,
            project,
            build,
            outcome,
            begun,
            {"jobs": count, "offline": offline, "slurm": project.profile is not None},
        )
    view.failures(outcome)
    if lock is not None:
        _compare(lock, outcome)
    return outcome.exit_code


def _lock(project: options.Project) -> Lock:
    """Return the manifest's lock; raise UsageError where what goes into the build is not what it says."""
    from forge.core.errors import UsageError
    from forge.plan.lock import environment_differences, input_differences, lock_path, read_lock, step_differences

    path = lock_path(project.graph.manifest.path)
    lock = read_lock(path)
    differences = [
        *environment_differences(lock, project.graph),
        *input_differences(lock, project.graph, project.store),
        *step_differences(lock, project.graph, project.store),
    ]
    if differences:
        listed = "".join(f"\n  {phrase}" for phrase in differences)
        hint = "build without `--locked`, and write the lock again with `forge lock`"
        raise UsageError(f"this is not what `{path}` locks:{listed}", hint=hint)
    return lock


def _compare(lock: Lock, outcome: Outcome) -> None:
    """Raise StepError where a step made something else than what is locked."""
    from forge.core.errors import StepError

    other = [
        f"\n  `{r.name}`: {lock.steps[r.name]['tree'][:16]}… → {r.record.tree[:16]}…"
        for r in outcome.results
        if r.record is not None and r.record.tree != lock.steps[r.name]["tree"]
    ]
    if other:
        hint = "`forge rebuild --verify` says where they differ"
        raise StepError(f"{len(other)} steps made other bytes than are locked:{''.join(other)}", hint=hint)
