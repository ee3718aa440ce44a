"""Find keys that are not set before anything runs, rather than when the first request is sent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from forge.core.errors import ManifestError, Problem

if TYPE_CHECKING:
    from forge.plan.graph import Graph
    from forge.store.base import Store


def require_secrets(graph: Graph, store: Store | None = None) -> None:
    """Raise ManifestError for every environment variable that a step names in ``secrets()`` and that is not set.

    With a *store*, a step whose result lies in it needs none.
    """
    missing = {
        step.name: names
        for step in graph.steps.values()
        if callable(found := getattr(step.instance, "secrets", None))
        and (names := [name for name in found() if not os.environ.get(name, "").strip()])
    }
    if missing and store is not None:
        from forge.plan.forecast import forecast

        there = {name for name, entry in forecast(graph, store).items() if entry.will == "hit"}
        missing = {name: names for name, names in missing.items() if name not in there}
    if not missing:
        return
    problems = []
    for table in graph.manifest.steps:
        for name in missing.get(table.name, ()):
            place = table.place_of("key_env")
            message = f"the environment variable `{name}` is not set"
            hint = f"put the step's key into `{name}`"
            problems.append(Problem(message, place.file, place.line, table.name, hint))
    raise ManifestError(problems)
