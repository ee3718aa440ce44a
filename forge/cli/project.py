"""A manifest's graph and its store, opened for a command."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from forge.core.manifest import Manifest
    from forge.core.record import Record
    from forge.plan.graph import Graph
    from forge.plan.profile import Profile
    from forge.plugin.registry import StepType
    from forge.store.base import Store


@attrs.frozen
class Project:
    """Hold a manifest's graph and its store, and the options that were given, for hints.

    ``profile`` is the cluster's that its steps run on, None where they run here.
    """

    graph: Graph
    store: Store
    given: str = ""
    profile: Profile | None = None

    def step(self, name: str) -> str:
        """Return the name of a step without its part; raise UsageError if there is none, or several."""
        from forge.core.errors import UsageError
        from forge.core.step import split_reference
        from forge.core.suggest import did_you_mean
        from forge.plan.sweep import named

        step = split_reference(name)[0]
        meant = [each for each in named(self.graph.sweeps, step) if each in self.graph.steps]
        if len(meant) > 1:
            raise UsageError(f"`{step}` is a sweep of {len(meant)} points", hint=f"name one, such as `{meant[0]}`")
        if not meant:
            raise UsageError(f"there is no step `{step}`", hint=did_you_mean(step, self.graph.steps))
        return meant[0]

    def record(self, name: str) -> Record:
        """Return the record of a step as its inputs are now; raise UsageError if it is not built."""
        from forge.core.errors import UsageError
        from forge.plan.forecast import forecast

        entries = forecast(self.graph.closure([self.step(name)]), self.store)
        record = entries[self.step(name)].record
        if record is None:
            first = next(e for e in entries.values() if e.will == "run")
            raise UsageError(
                f"step `{name}` is not built as things are now: `{first.step.name}` would run ({first.because})",
                hint=f"run `forge build {self.graph.manifest.path} {self.step(name)}{self.given}`",
            )
        return record


def open_project(
    path: str,
    sets: tuple[str, ...],
    store_path: str | None,
    targets: tuple[str, ...] = (),
    executor: str | None = None,
    profile: str | None = None,
    read: Callable[[Manifest], object] = lambda _: None,
    noticed: Callable[[StepType], object] = lambda _: None,
) -> Project:
    """Read a manifest and open its store; *executor* and *profile* go before what the manifest says of them.

    *read* hears of the manifest before any plugin is imported, *noticed* of step types as they are found.
    """
    from forge.core.errors import ManifestError
    from forge.plan.load import load
    from forge.plan.resolve import resolve

    try:
        loaded = load(path, sets)
    except ManifestError as error:
        if error.partial is None:
            raise
        try:
            resolve(error.partial)
        except ManifestError as more:
            raise ManifestError([*error.problems, *more.problems]) from None
        raise
    read(loaded)
    given = "".join(f" --set {shlex.quote(each)}" for each in sets) + (f" --store {store_path}" if store_path else "")
    graph, store = resolve(loaded, targets=targets, noticed=noticed), open_store(store_path, loaded.root)
    _keep_apart(graph, store)
    if executor != "slurm" and not profile and not loaded.executor:
        return Project(graph, store, given)
    from forge.plan.profile import placed, read_profile

    found = read_profile(loaded, profile or "")
    if (executor or found.use) == "local":
        return Project(graph, store, given)
    return Project(placed(graph, found, profile or ""), store, given, found)


def _keep_apart(graph: Graph, store: Store) -> None:
    """Refuse steps that would read the store, which changes with every build."""
    from forge.core.errors import ManifestError, Problem
    from forge.plan.apart import would_read

    inside = f"{os.path.realpath(store.root)}{os.sep}"
    problems = []
    for table in graph.manifest.steps:
        step = graph.steps.get(table.name)
        for parameter, files in step.files.items() if step is not None else ():
            links = (file.path for file in files if os.path.islink(file.path))
            places = {os.path.join(file.path.parent, "") for file in files}.union(links)
            found = any(os.path.join(os.path.realpath(place), "").startswith(inside) for place in places)
            if found or would_read(files.pattern, graph.manifest.root, store.root):
                place = table.place_of(parameter)
                message = f"`{parameter}` takes in files of forge's own store, `{store.root}`"
                hint = "name the folders that hold your files, or keep the store elsewhere with `--store`"
                problems.append(Problem(message, place.file, place.line, table.name, hint))
    if problems:
        raise ManifestError(problems)


def open_store(store_path: str | None, root: Path, *, made: bool = False) -> Store:
    """Open the store named on the command line, by FORGE_STORE, or the project's own.

    With *made* it must be there already: looking at a store makes none.
    """
    from forge.core.errors import StoreError
    from forge.store.base import Store

    named = store_path or os.environ.get("FORGE_STORE")
    path = Path(named) if named else root / "store"
    if made and not (path / "format").exists():
        raise StoreError(f"there is no store at `{path}`", hint="name one with `--store`; `forge build` makes it")
    return Store.open(path)
