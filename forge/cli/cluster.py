"""Options that name a cluster, turned into what runs there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from forge.cli.project import Project
    from forge.cli.view import BuildView
    from forge.plan.profile import Profile
    from forge.run.local import LocalExecutor
    from forge.run.slurm.executor import SlurmExecutor


def on_cluster(project: Project, profile: Profile, local: LocalExecutor, view: BuildView) -> SlurmExecutor:
    """Return what runs a build's steps on a cluster, and the light ones through *local*."""
    from forge.run.slurm.client import Slurm
    from forge.run.slurm.executor import SlurmExecutor

    manifest = str(project.graph.manifest.path.absolute())
    return SlurmExecutor(
        project.store, profile, Slurm.of(project.store), local, manifest, lambda jobs: _ask(view, jobs)
    )


def check_cluster(project: Project, profile: Profile, patience: float) -> list[str]:
    """Return in lines what the cluster thinks of the jobs of a project; raise where it would refuse one."""
    from forge.core.errors import ManifestError
    from forge.run.slurm import preflight
    from forge.run.slurm.client import Slurm

    slurm = Slurm.of(project.store)
    refused = preflight.problems(project.graph, profile, slurm)
    if refused:
        raise ManifestError(refused)
    notes, count = preflight.check(project.graph, profile, slurm, project.store, patience)
    return [*notes, f"{count} steps are jobs: no problem found"]


def detached(project: Project, arguments: Sequence[str]) -> int:
    """Start the same build in the background and return; its words go into a file of the store."""
    from forge.store.process import birth

    log = project.store.root / "builds" / f"{project.graph.manifest.name}.{time.strftime('%Y%m%d-%H%M%S')}.log"
    words = [word for word in arguments if word != "--detach"]
    with log.open("ab") as file:
        started = subprocess.Popen(
            [sys.executable, "-m", "forge", *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    # so named, `forge status` finds it and knows whose it is
    log = log.rename(log.with_suffix(f".{started.pid}-{birth(started.pid)}.log"))
    print(f"building in the background as process {started.pid} of this machine, log: {log}", file=sys.stderr)  # noqa: T201
    print(_follow(project.graph.manifest.path), file=sys.stderr)  # noqa: T201
    return 0


def _ask(view: BuildView, steps: Sequence[str]) -> Literal["detach", "cancel"]:
    """Ask what becomes of jobs when a build is interrupted; where nobody can be asked they go on."""
    view.pause()
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(steps))
    what = f"{len(steps)} job{'s' if len(steps) > 1 else ''} of the cluster ({names})"
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(f"\n{what}: [d]etach and let them go on, or [c]ancel? ", end="", file=sys.stderr, flush=True)  # noqa: T201
        try:
            while (answer := sys.stdin.readline()) and answer.strip().lower()[:1] not in ("c", "d", ""):
                print("[d]etach or [c]ancel? ", end="", file=sys.stderr, flush=True)  # noqa: T201
            if answer.strip().lower().startswith("c"):
                return "cancel"
        except KeyboardInterrupt:
            pass
    print(f"\n{what} go on; the next build takes them up, `forge cancel` ends them", file=sys.stderr)  # noqa: T201
    return "detach"


def _follow(path: Path) -> str:
    shown = os.path.relpath(path)
    return f"`forge status {shown}` says how far it is, `forge logs {shown} STEP -f` what a step prints"
