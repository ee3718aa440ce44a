"""Say which results of a manifest travel: those that it has here, and those that a remote has for it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from forge.core.errors import ForgeError, StoreError
from forge.plan.forecast import forecast
from forge.plan.keys import Keys, last_results
from forge.store.actions import Actions
from forge.store.signatures import Signatures, build_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forge.core.artifact import Tree
    from forge.core.record import Record
    from forge.plan.graph import Graph
    from forge.store.base import Store
    from forge.store.pull import Pull


@attrs.frozen
class Shared:
    """Name the steps whose results are there, by their keys, and say why the others' are not."""

    keys: Mapping[str, str]
    missing: Mapping[str, str]


def built(graph: Graph, store: Store) -> tuple[Sequence[Record], Shared]:
    """Return the records of all steps that are built as things are now."""
    entries = forecast(graph, store)
    records = {entry.record.key: entry.record for entry in entries.values() if entry.record is not None}
    keys = {name: entry.record.key for name, entry in entries.items() if entry.record is not None}
    return list(records.values()), Shared(keys, {n: e.because for n, e in entries.items() if e.record is None})


def find(graph: Graph, store: Store, pull: Pull) -> Shared:
    """Look every step up at a remote as its inputs' digests become known, all that are ready at once.

    Only records and trees are read for it: the keys of the steps that follow need no more.
    """
    build = build_name(graph.manifest.name, graph.manifest.path)
    signatures = Signatures.load(store, build)
    keys = Keys(graph, signatures, recall=last_results(store, build))
    trees: dict[str, Tree] = {}
    known: dict[str, str] = {}
    missing: dict[str, str] = {}
    waiting = dict(graph.steps)
    while waiting:
        ready: dict[str, str] = {}
        for name, step in list(waiting.items()):
            lost = next((need for need in step.needs if need in missing), None)
            if lost is not None:
                missing[name] = f"after `{lost}`"
            elif all(need in trees for need in step.needs):
                try:
                    ready[name] = keys.action(step, trees).key
                except (ForgeError, OSError) as error:
                    missing[name] = str(error)
            else:
                continue
            del waiting[name]
        found = pull.find(dict.fromkeys(ready.values()))
        for name, key in ready.items():
            if key in found:
                known[name], trees[name] = key, found[key]
            else:
                missing[name] = "refused" if key in pull.rejected else "not at the remote"
    with suppress(StoreError):
        signatures.save()
    return Shared(known, {name: missing[name] for name in graph.steps if name in missing})


def remember(graph: Graph, store: Store, shared: Shared) -> None:
    """Note what was pulled as the manifest's last build, so that a collection leaves it for the build to find."""
    actions = Actions(store)
    here = {name: key for name, key in shared.keys.items() if actions.find(key) is not None}
    actions.remember(build_name(graph.manifest.name, graph.manifest.path), here)
