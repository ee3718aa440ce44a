"""Build what follows from changed data, where the manifest, the plugins and everything else are as they were.

The graph comes from what was kept beside the snapshot; neither TOML nor any plugin is read here.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from forge.cli.answer import summary
from forge.cli.note import graph_path, read_graph, retake
from forge.cli.project import Project
from forge.cli.view import BuildView
from forge.plan.frozen import thaw
from forge.run.build import Build, Outcome
from forge.run.events import StepResult
from forge.run.gate import Gate
from forge.run.local import LocalExecutor, prepare
from forge.store.base import Store

if TYPE_CHECKING:
    from forge.cli.snapshot import Snapshot
    from forge.plan.graph import Graph
    from forge.run.spawn import Process


def build_changed(arguments: list[str], snapshot: Snapshot, spares: list[Process]) -> int | None:
    """Build and print what `forge build` would, and return its exit code; None where that takes the full way."""
    begun = time.time()
    path = Path(graph_path(arguments))
    if "--json" in arguments:
        return None
    try:
        frozen = read_graph(str(path))
        changed = frozenset(n for n, paths in frozen["watched"].items() if not set(paths).isdisjoint(snapshot.changed))
        graph = thaw(frozen, changed)
        known = snapshot.known()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if graph is None or frozen["options"].get("slurm") or known.keys() != frozen["steps"].keys():
        return None
    if not snapshot.stands():
        return None
    prepare(spares, graph)
    project = Project(graph, Store.open(path.parent.parent))
    options = frozen["options"]
    with BuildView() as view:
        build = Build(
            graph,
            project.store,
            lambda: LocalExecutor(options["jobs"], spares),
            view.hear,
            options["offline"],
            known,
            changed,
            frozen["code"],
            Gate(lambda: _whole(arguments), project.store),
        )
        outcome = build.run()
    results = []
    for name, value in frozen["steps"].items():
        kind, use, *_ = value["step"]
        results.append(build.results.get(name) or StepResult(name, kind, use, "hit", known[name].key))
    whole = Outcome(tuple(results), outcome.seconds)
    sys.stdout.write(summary(project, whole, terminal=sys.stdout.isatty()))
    sys.stdout.flush()
    if outcome.exit_code == 0:
        retake(arguments, project, build, whole, begun, snapshot, frozen)
    view.failures(outcome)
    return outcome.exit_code


def _whole(arguments: list[str]) -> Graph:
    """Return the whole graph, plugins asked, as `forge build` with these arguments has it."""
    from forge.cli.build import command
    from forge.cli.project import open_project

    given = command.make_context("build", list(arguments)).params
    return open_project(given["manifest"], given["sets"], given["store_path"], given["steps"]).graph
